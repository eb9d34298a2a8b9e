/* conv_backward_weights.c: the gradient of a convolution's weights, in the form of the weights
 * packed for forward: [out / BLOCK][in / in_block][kernel_h][kernel_w][in_block][BLOCK].
 *
 * One row of that, a vector, is the sum over pixels of d_dst's vector times one float of the
 * source. A tile of several rows (which lie one behind the other in the source too) times one, two
 * or four blocks of output channels stays in registers while a strip of the picture passes; strips
 * are as small as keeps their d_dst and source near, and come in order, so that the sum does. */
#include "kernels.h"

/* Rows a tile may have for 1, 2 and 4 blocks. */
#if BLOCK == 16
enum { ROWS_1 = 16, ROWS_2 = 12, ROWS_4 = 6 };
#define EACH_ROWS_1(each) EACH_ROWS_2(each) each(13) each(14) each(15) each(16)
#define EACH_ROWS_2(each) EACH_ROWS_4(each) each(7) each(8) each(9) each(10) each(11) each(12)
#define EACH_ROWS_4(each) each(1) each(2) each(3) each(4) each(5) each(6)
#else
enum { ROWS_1 = 8, ROWS_2 = 6, ROWS_4 = 3 };
#define EACH_ROWS_1(each) EACH_ROWS_2(each) each(7) each(8)
#define EACH_ROWS_2(each) EACH_ROWS_4(each) each(4) each(5) each(6)
#define EACH_ROWS_4(each) each(1) each(2) each(3)
#endif
enum { GROUP = 4, STRIP_PIXELS = 192 };

/* What all tiles of a strip share. */
typedef struct {
    const float *src, *d_dst; /* at the strip's first pixel */
    int h, w;                 /* of the strip, in d_dst's pixels */
    size_t src_down, src_across;
    size_t d_dst_block, gradient_block;
    bool accumulate;
} strip;

/* All of a tile's sizes are constants where this is inlined. */
ALWAYS_INLINE void tile(const strip *strip, float *gradient, const float *src, const float *d_dst,
                        int blocks, int rows) {
    vec sums[GROUP][ROWS_1];
#pragma GCC unroll 4
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            sums[b][r] = strip->accumulate
                             ? vec_load(gradient + (size_t)b * strip->gradient_block + r * BLOCK)
                             : (vec){0};
    for (int y = 0; y < strip->h; y++) {
        const float *from = src + (size_t)y * strip->src_down;
        const float *d_row = d_dst + (size_t)y * (size_t)strip->w * BLOCK;
        for (int x = 0; x < strip->w; x++, from += strip->src_across, d_row += BLOCK) {
            vec d[GROUP];
#pragma GCC unroll 4
            for (int b = 0; b < blocks; b++)
                d[b] = vec_load(d_row + (size_t)b * strip->d_dst_block);
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++) {
                float value = from[r];
#pragma GCC unroll 4
                for (int b = 0; b < blocks; b++)
                    sums[b][r] += d[b] * value;
            }
        }
    }
#pragma GCC unroll 4
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            vec_store(gradient + (size_t)b * strip->gradient_block + r * BLOCK, sums[b][r]);
}

typedef void (*tile_function)(const strip *strip, float *gradient, const float *src,
                              const float *d_dst);

#define TILE(blocks, rows)                                                                         \
    static void tile_##blocks##_##rows(const strip *strip, float *gradient, const float *src,      \
                                       const float *d_dst) {                                       \
        tile(strip, gradient, src, d_dst, blocks, rows);                                           \
    }
#define TILE_1(rows) TILE(1, rows)
#define TILE_2(rows) TILE(2, rows)
#define TILE_4(rows) TILE(4, rows)
EACH_ROWS_1(TILE_1)
EACH_ROWS_2(TILE_2)
EACH_ROWS_4(TILE_4)

#define NAME_1(rows) tile_1_##rows,
#define NAME_2(rows) tile_2_##rows,
#define NAME_4(rows) tile_4_##rows,
static const tile_function tiles_1[] = {EACH_ROWS_1(NAME_1)};
static const tile_function tiles_2[] = {EACH_ROWS_2(NAME_2)};
static const tile_function tiles_4[] = {EACH_ROWS_4(NAME_4)};

/* Tiles of `blocks` blocks by at most `highest` rows. */
typedef struct {
    int blocks, highest;
    const tile_function *functions;
} tile_family;
static const tile_family families[] = {
    {4, ROWS_4, tiles_4}, {2, ROWS_2, tiles_2}, {1, ROWS_1, tiles_1}};

/* Four blocks pay only where there are few rows. */
static const tile_family *family_for(int blocks_left, int rows) {
    if (blocks_left >= 4 && rows <= ROWS_4)
        return &families[0];
    return blocks_left >= 2 ? &families[1] : &families[2];
}

/* `rows` rows of the gradient, one behind the other, of one group of blocks: in tiles as equal as
 * can be. */
static void gradient_rows(const strip *strip, const tile_family *family, float *gradient,
                          const float *src, const float *d_dst, int rows) {
    int tiles = (rows + family->highest - 1) / family->highest;
    int low = rows / tiles, high_tiles = rows % tiles;
    for (int i = 0; i < tiles; i++) {
        int count = low + (i < high_tiles);
        family->functions[count - 1](strip, gradient, src, d_dst);
        gradient += (size_t)count * BLOCK;
        src += count;
    }
}

static void gradient_strip(const strip *strip, float *gradient, const sqz_conv_shape *shape,
                           size_t src_block, size_t src_row) {
    int rows = shape->kernel_w * shape->in_block, blocks = shape->out_channels / BLOCK;
    const tile_family *family;
    for (int block = 0; block < blocks; block += family->blocks) {
        family = family_for(blocks - block, rows);
        const float *d_dst = strip->d_dst + (size_t)block * strip->d_dst_block;
        float *target = gradient + (size_t)block * strip->gradient_block;
        for (int in = 0; in < shape->in_channels / shape->in_block; in++)
            for (int k = 0; k < shape->kernel_h; k++, target += (size_t)rows * BLOCK)
                gradient_rows(strip, family, target,
                              strip->src + (size_t)in * src_block + (size_t)k * src_row, d_dst,
                              rows);
    }
}

sqz_status SQZ_KERNEL(conv_backward_weights)(const sqz_conv *conv, sqz_worker *worker,
                                             float *gradient, const void *src, const void *d_dst,
                                             bool accumulate, sqz_error *error) {
    const sqz_conv_shape *shape = &conv->shape;
    const sqz_own_conv *own = conv->state;
    if (own->backward_weights == SQZ_WINOGRAD)
        return SQZ_KERNEL(winograd_conv_backward_weights)(conv, worker, gradient, src, d_dst,
                                                          accumulate, error);
    sqz_frame frame = sqz_frame_forward(shape);
    bool framed = sqz_frame_count(&frame) != 0;
    if (framed)
        SQZ_KERNEL(conv_frame)(worker->scratch, src, &frame);
    const float *from = framed ? worker->scratch : src, *d_from = d_dst;
    size_t lanes = (size_t)shape->in_block;
    size_t src_row = (size_t)(framed ? frame.w : shape->in_w) * lanes;
    size_t src_block = (size_t)(framed ? frame.h : shape->in_h) * src_row;
    int strip_h = STRIP_PIXELS / shape->out_w > 1 ? STRIP_PIXELS / shape->out_w : 1;
    for (int y = 0; y < shape->out_h; y += strip_h) {
        strip strip = {.src = from + (size_t)(y * shape->stride_h) * src_row,
                       .d_dst = d_from + (size_t)y * (size_t)shape->out_w * BLOCK,
                       .h = shape->out_h - y < strip_h ? shape->out_h - y : strip_h,
                       .w = shape->out_w,
                       .src_down = (size_t)shape->stride_h * src_row,
                       .src_across = (size_t)shape->stride_w * lanes,
                       .d_dst_block = (size_t)shape->out_h * (size_t)shape->out_w * BLOCK,
                       .gradient_block = (size_t)shape->in_channels * (size_t)shape->kernel_h *
                                         (size_t)shape->kernel_w * BLOCK,
                       .accumulate = accumulate || y > 0};
        gradient_strip(&strip, gradient, shape, src_block, src_row);
    }
    return SQZ_OK;
}
