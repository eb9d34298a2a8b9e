/* winograd_backward_weights.c: the gradient of a 3x3 convolution's weights by Winograd's algorithm
 * (winograd.h): at each of the 36 points a matrix product over the tiles, transformed at the end.
 *
 *     v   [group][POINTS][tile][in_channels]        the transformed source
 *     z   [chunk][POINTS][tile][blocks][BLOCK]      the transformed d_dst, of one group and pass
 *     d_u [chunk][POINTS][in_channels][blocks][BLOCK]   the products, of one pass
 *
 * A pass is some blocks of output channels, a group some tiles, so many that z, d_u and the group's
 * part of v stay in the second-level cache. The gradient has the form of direct's packed weights:
 * [out / BLOCK][in / BLOCK][3][3][BLOCK of in][BLOCK of out]. */

/* As in conv_direct.c. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-predictive-commoning")
#endif

#include "winograd.h"

#if BLOCK == 16
#define ROWS 14
#define EACH_ROWS(each)                                                                            \
    each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10) each(11)      \
        each(12) each(13) each(14)
#else
#define ROWS 6
#define EACH_ROWS(each) each(1) each(2) each(3) each(4) each(5) each(6)
#endif
enum { GROUP_BYTES = 224 * 1024, GRADIENT_BYTES = 128 * 1024 };

/* -- The matrix product at one point ----------------------------------------------------------- */

/* d_u[row][block] = (or +=) the sum over tiles of v[tile][row] * z[tile][block]. Blocks and rows
 * are constants where this is inlined. */
ALWAYS_INLINE void multiply(float *d_u, const float *v, const float *z, size_t channels, int tiles,
                            bool accumulate, int blocks, int rows) {
    vec sums[CHUNK][ROWS];
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++)
            sums[b][r] = accumulate ? vec_load(d_u + (r * blocks + b) * BLOCK) : (vec){0};
    for (int tile = 0; tile < tiles; tile++, v += channels) {
        vec d[CHUNK];
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++, z += BLOCK)
            d[b] = vec_load(z);
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            float value = v[r];
#pragma GCC unroll 2
            for (int b = 0; b < blocks; b++)
                sums[b][r] += d[b] * value;
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++)
            vec_store(d_u + (r * blocks + b) * BLOCK, sums[b][r]);
}

typedef void (*multiply_function)(float *d_u, const float *v, const float *z, size_t channels,
                                  int tiles, bool accumulate);

#define MULTIPLY(blocks, rows)                                                                     \
    static void multiply_##blocks##_##rows(float *d_u, const float *v, const float *z,             \
                                           size_t channels, int tiles, bool accumulate) {          \
        multiply(d_u, v, z, channels, tiles, accumulate, blocks, rows);                            \
    }
#define MULTIPLY_1(rows) MULTIPLY(1, rows)
#define MULTIPLY_2(rows) MULTIPLY(2, rows)
EACH_ROWS(MULTIPLY_1)
EACH_ROWS(MULTIPLY_2)

#define NAME_1(rows) multiply_1_##rows,
#define NAME_2(rows) multiply_2_##rows,
static const multiply_function functions[CHUNK][ROWS] = {{EACH_ROWS(NAME_1)}, {EACH_ROWS(NAME_2)}};

/* -- Sizes ------------------------------------------------------------------------------------- */

/* The whole picture's cut. Floats from one to the next are `..._point` for points. */
typedef struct {
    int tiles, groups, most; /* tiles of the picture; of the largest group */
    int channels, out_blocks, pass;
} cut;

static cut cut_of(const sqz_conv_shape *shape) {
    int channels = shape->in_channels, out_blocks = shape->out_channels / BLOCK;
    int chunks = GRADIENT_BYTES / (int)(POINTS * CHUNK * BLOCK * sizeof(float)) / channels;
    int pass = CHUNK * (chunks > 1 ? chunks : 1);
    pass = pass < out_blocks ? pass : out_blocks;
    int tiles = tile_count(shape->out_h, shape->out_w);
    int most = GROUP_BYTES / (int)(POINTS * sizeof(float)) / (channels + pass * BLOCK);
    most = most < 1 ? 1 : most < tiles ? most : tiles;
    int groups = (tiles + most - 1) / most;
    return (cut){tiles, groups, (tiles + groups - 1) / groups, channels, out_blocks, pass};
}

static int group_start(const cut *cut, int group) {
    return (int)((int64_t)cut->tiles * group / cut->groups);
}
static size_t v_point(const cut *cut) {
    return (size_t)cut->most * (size_t)cut->channels + GAP;
}
static size_t z_point(const cut *cut, int blocks) {
    return (size_t)(cut->most * blocks) * BLOCK + GAP;
}
static size_t d_u_point(const cut *cut, int blocks) {
    return (size_t)(cut->channels * blocks) * BLOCK + GAP;
}
/* Of a whole chunk, in z and in d_u: the last may be smaller. */
static size_t z_chunk(const cut *cut) {
    return POINTS * z_point(cut, CHUNK);
}
static size_t d_u_chunk(const cut *cut) {
    return POINTS * d_u_point(cut, CHUNK);
}
static int chunk_blocks(const cut *cut, int block) {
    return cut->out_blocks - block < CHUNK ? cut->out_blocks - block : CHUNK;
}
static size_t pass_chunks(const cut *cut) {
    return (size_t)(cut->pass + CHUNK - 1) / CHUNK;
}

size_t SQZ_KERNEL(winograd_backward_weights_count)(const sqz_conv_shape *shape) {
    cut cut = cut_of(shape);
    return (size_t)cut.groups * POINTS * v_point(&cut) +
           pass_chunks(&cut) * (z_chunk(&cut) + d_u_chunk(&cut));
}

/* -- Transforms -------------------------------------------------------------------------------- */

static void transform_source(float *v, const element *src, const sqz_conv_shape *shape,
                             const cut *cut) {
    size_t src_block = (size_t)shape->in_h * (size_t)shape->in_w * BLOCK;
    for (int group = 0; group < cut->groups; group++, v += POINTS * v_point(cut)) {
        int first = group_start(cut, group), end = group_start(cut, group + 1);
        for (int block = 0; block < cut->channels / BLOCK; block++) {
            patch_source source = {src + (size_t)block * src_block, shape->in_h, shape->in_w,
                                   shape->pad_h, shape->pad_w};
            float *to = v + (size_t)block * BLOCK;
            for (int tile = first; tile < end; tile++, to += cut->channels)
                transform_patch(to, v_point(cut), &source,
                                tile_at(tile, shape->out_h, shape->out_w));
        }
    }
}

/* z = A d_y A' of one tile of one block. */
ALWAYS_INLINE void transform_gradient(float *z, size_t z_step, const element *d_dst, size_t row,
                                      int h, int w) {
    vec half[SIDE][PATCH];
#pragma GCC unroll 4
    for (int i = 0; i < SIDE; i++) {
        vec d_y[SIDE];
#pragma GCC unroll 4
        for (int j = 0; j < SIDE; j++)
            d_y[j] = i < h && j < w ? element_load(d_dst + (size_t)i * row + (size_t)j * BLOCK)
                                    : (vec){0};
        gradient_line(half[i], d_y);
    }
#pragma GCC unroll 6
    for (int j = 0; j < PATCH; j++) {
        vec column[SIDE] = {half[0][j], half[1][j], half[2][j], half[3][j]}, line[PATCH];
        gradient_line(line, column);
#pragma GCC unroll 6
        for (int i = 0; i < PATCH; i++)
            vec_store(z + (size_t)(i * PATCH + j) * z_step, line[i]);
    }
}

/* Tiles first..end of output blocks block..block_end. */
static void transform_d_dst(float *z, const element *d_dst, const sqz_conv_shape *shape,
                            const cut *cut, int first, int end, int block, int block_end) {
    size_t row = (size_t)shape->out_w * BLOCK, picture = (size_t)shape->out_h * row;
    for (int i = block; i < block_end; i++) {
        int chunk = (i - block) / CHUNK, blocks = chunk_blocks(cut, block + chunk * CHUNK);
        size_t step = z_point(cut, blocks);
        float *to = z + (size_t)chunk * z_chunk(cut) + (size_t)((i - block) % CHUNK) * BLOCK;
        for (int tile = first; tile < end; tile++, to += (size_t)blocks * BLOCK) {
            tile_place place = tile_at(tile, shape->out_h, shape->out_w);
            const element *from =
                d_dst + (size_t)i * picture + (size_t)place.y * row + (size_t)place.x * BLOCK;
            if (place.h == SIDE && place.w == SIDE)
                transform_gradient(to, step, from, row, SIDE, SIDE);
            else
                transform_gradient(to, step, from, row, place.h, place.w);
        }
    }
}

/* gradient[3][3][BLOCK of in] = (or +=) G' d_u G of one source channel and output block. */
ALWAYS_INLINE void transform_product(float *gradient, const float *d_u, size_t d_u_step,
                                     bool accumulate) {
    vec half[3][PATCH];
#pragma GCC unroll 6
    for (int j = 0; j < PATCH; j++) {
        vec column[PATCH], line[3];
#pragma GCC unroll 6
        for (int i = 0; i < PATCH; i++)
            column[i] = vec_load(d_u + (size_t)(i * PATCH + j) * d_u_step);
        kernel_gradient_line(line, column);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++)
            half[i][j] = line[i];
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        vec line[3];
        kernel_gradient_line(line, half[i]);
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            float *to = gradient + (size_t)(i * 3 + j) * BLOCK * BLOCK;
            vec_store(to, accumulate ? vec_load(to) + line[j] : line[j]);
        }
    }
}

static void transform_products(float *gradient, const float *d_u, const cut *cut, int block,
                               int block_end, bool accumulate) {
    for (int i = block; i < block_end; i++) {
        int chunk = (i - block) / CHUNK, blocks = chunk_blocks(cut, block + chunk * CHUNK);
        const float *from =
            d_u + (size_t)chunk * d_u_chunk(cut) + (size_t)((i - block) % CHUNK) * BLOCK;
        for (int channel = 0; channel < cut->channels; channel++, from += (size_t)blocks * BLOCK) {
            size_t tile = (size_t)i * (size_t)(cut->channels / BLOCK) + (size_t)(channel / BLOCK);
            float *to = gradient + (tile * 9 * BLOCK + (size_t)(channel % BLOCK)) * BLOCK;
            transform_product(to, from, d_u_point(cut, blocks), accumulate);
        }
    }
}

/* -- The whole --------------------------------------------------------------------------------- */

/* One group's share of the products of one pass. */
static void multiply_points(float *d_u, const float *v, const float *z, const cut *cut, int tiles,
                            int block, int block_end, bool accumulate) {
    int row_tiles = (cut->channels + ROWS - 1) / ROWS;
    int narrow = cut->channels / row_tiles, wide = cut->channels % row_tiles;
    for (int point = 0; point < POINTS; point++)
        for (int i = block; i < block_end; i += CHUNK) {
            int chunk = (i - block) / CHUNK, blocks = chunk_blocks(cut, i);
            float *to =
                d_u + (size_t)chunk * d_u_chunk(cut) + (size_t)point * d_u_point(cut, blocks);
            const float *d =
                z + (size_t)chunk * z_chunk(cut) + (size_t)point * z_point(cut, blocks);
            const float *from = v + (size_t)point * v_point(cut);
            for (int row_tile = 0; row_tile < row_tiles; row_tile++) {
                int rows = narrow + (row_tile < wide);
                functions[blocks - 1][rows - 1](to, from, d, (size_t)cut->channels, tiles,
                                                accumulate);
                to += (size_t)(rows * blocks) * BLOCK;
                from += rows;
            }
        }
}

sqz_status SQZ_KERNEL(winograd_conv_backward_weights)(const sqz_conv *conv, sqz_worker *worker,
                                                      float *gradient, const void *src,
                                                      const void *d_dst, bool accumulate,
                                                      sqz_error *error) {
    (void)error;
    const sqz_conv_shape *shape = &conv->shape;
    cut cut = cut_of(shape);
    float *v = worker->scratch, *z = v + (size_t)cut.groups * POINTS * v_point(&cut);
    float *d_u = z + pass_chunks(&cut) * z_chunk(&cut);
    transform_source(v, src, shape, &cut);
    for (int block = 0; block < cut.out_blocks; block += cut.pass) {
        int left = cut.out_blocks - block, end = block + (left < cut.pass ? left : cut.pass);
        for (int group = 0; group < cut.groups; group++) {
            int first = group_start(&cut, group), tiles = group_start(&cut, group + 1) - first;
            transform_d_dst(z, d_dst, shape, &cut, first, first + tiles, block, end);
            multiply_points(d_u, v + (size_t)group * POINTS * v_point(&cut), z, &cut, tiles, block,
                            end, group > 0);
        }
        transform_products(gradient, d_u, &cut, block, end, accumulate);
    }
    return SQZ_OK;
}
