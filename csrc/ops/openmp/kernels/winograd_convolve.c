/* winograd_convolve.c: forward and backward-data convolutions by Winograd's algorithm (winograd.h).
 *
 * Tiles are worked on in groups, so that what belongs to a group stays in the second-level cache:
 *
 *     v [POINTS][panel][src_blocks][PANEL][BLOCK]   the transformed source
 *     m [POINTS][chunk][tile][blocks][BLOCK]        the products, of a few output chunks at a time
 *
 * A panel is as many tiles, a chunk as many output blocks, as a matrix product keeps in registers.
 * Packed weights are [chunk][POINTS][src_blocks * BLOCK][blocks][BLOCK]. */

/* As in conv_direct.c. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-predictive-commoning")
#endif

#include "winograd.h"

#if BLOCK == 16
#define PANEL 14
#define EACH_PANEL(each)                                                                           \
    each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10) each(11)      \
        each(12) each(13) each(14)
#else
#define PANEL 6
#define EACH_PANEL(each) each(1) each(2) each(3) each(4) each(5) each(6)
#endif

/* Of v and of m, at a time. */
enum { SOURCE_BYTES = 256 * 1024, PRODUCT_BYTES = 64 * 1024 };

/* How far ahead the packed weights are asked for: a late layer's 2 MB come from the third-level
 * cache, each panel uses a vector of them a few times only, and the processor by itself does not
 * run far enough ahead. (Past their end it is a hint without an effect.) */
enum { AHEAD_BYTES = 8 * 1024 };

/* -- The matrix product at one point ----------------------------------------------------------- */

/* m[tile][block] = the sum over k of v[k][tile] * u[k][block]. All sizes but src_blocks are
 * constants where this is inlined. */
ALWAYS_INLINE void multiply(float *m, const float *v, const float *u, int src_blocks, int blocks,
                            int tiles) {
    vec sums[CHUNK][PANEL];
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 14
        for (int t = 0; t < tiles; t++)
            sums[b][t] = (vec){0};
    for (int src_block = 0; src_block < src_blocks; src_block++, v += (PANEL - 1) * BLOCK)
        for (int i = 0; i < BLOCK; i++, v++) {
            vec weight[CHUNK];
#pragma GCC unroll 2
            for (int b = 0; b < blocks; b++, u += BLOCK) {
                __builtin_prefetch(u + AHEAD_BYTES / sizeof *u);
                weight[b] = vec_load(u);
            }
#pragma GCC unroll 14
            for (int t = 0; t < tiles; t++) {
                float value = v[t * BLOCK];
#pragma GCC unroll 2
                for (int b = 0; b < blocks; b++)
                    sums[b][t] += weight[b] * value;
            }
        }
#pragma GCC unroll 14
    for (int t = 0; t < tiles; t++)
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++, m += BLOCK)
            vec_store(m, sums[b][t]);
}

typedef void (*multiply_function)(float *m, const float *v, const float *u, int src_blocks);

#define MULTIPLY(blocks, tiles)                                                                    \
    static void multiply_##blocks##_##tiles(float *m, const float *v, const float *u,              \
                                            int src_blocks) {                                      \
        multiply(m, v, u, src_blocks, blocks, tiles);                                              \
    }
#define MULTIPLY_1(tiles) MULTIPLY(1, tiles)
#define MULTIPLY_2(tiles) MULTIPLY(2, tiles)
EACH_PANEL(MULTIPLY_1)
EACH_PANEL(MULTIPLY_2)

#define NAME_1(tiles) multiply_1_##tiles,
#define NAME_2(tiles) multiply_2_##tiles,
static const multiply_function functions[CHUNK][PANEL] = {{EACH_PANEL(NAME_1)},
                                                          {EACH_PANEL(NAME_2)}};

/* -- Groups ------------------------------------------------------------------------------------ */

/* Tiles first..first + tiles - 1, cut into panels as equal as can be: the first `wide` of them have
 * narrow + 1 tiles. They are multiplied with `pass` output blocks at a time. */
typedef struct {
    int first, tiles, panels, narrow, wide, pass;
    size_t v_panel, v_point, m_block, m_point; /* floats from one to the next */
} group;

/* Tiles whose transformed source has SOURCE_BYTES, in whole panels; at least one. */
static int group_tiles(int src_blocks) {
    int panels = SOURCE_BYTES / (int)(POINTS * PANEL * BLOCK * sizeof(float)) / src_blocks;
    return PANEL * (panels > 1 ? panels : 1);
}

/* Output blocks whose products have PRODUCT_BYTES, in whole chunks; at least one. */
static int pass_blocks(int tiles, int dst_blocks) {
    int chunks = PRODUCT_BYTES / (int)(POINTS * CHUNK * BLOCK * sizeof(float)) / tiles;
    int blocks = CHUNK * (chunks > 1 ? chunks : 1);
    return blocks < dst_blocks ? blocks : dst_blocks;
}

static group group_of(int first, int tiles, int src_blocks, int dst_blocks) {
    int panels = (tiles + PANEL - 1) / PANEL, pass = pass_blocks(tiles, dst_blocks);
    size_t v_panel = (size_t)src_blocks * PANEL * BLOCK, m_block = (size_t)tiles * BLOCK;
    return (group){.first = first,
                   .tiles = tiles,
                   .panels = panels,
                   .narrow = tiles / panels,
                   .wide = tiles % panels,
                   .pass = pass,
                   .v_panel = v_panel,
                   .v_point = (size_t)panels * v_panel + GAP,
                   .m_block = m_block,
                   .m_point = (size_t)pass * m_block + GAP};
}

static void transform_source(float *v, const sqz_winograd *winograd, const group *group) {
    size_t src_block = (size_t)winograd->src_h * (size_t)winograd->src_w * BLOCK;
    for (int block = 0; block < winograd->src_blocks; block++) {
        patch_source source = {(const element *)winograd->src + (size_t)block * src_block,
                               winograd->src_h, winograd->src_w, winograd->top, winograd->left};
        float *to = v + (size_t)block * PANEL * BLOCK;
        int panel = 0, in_panel = 0;
        for (int i = 0; i < group->tiles; i++) {
            transform_patch(to + (size_t)panel * group->v_panel + (size_t)in_panel * BLOCK,
                            group->v_point, &source,
                            tile_at(group->first + i, winograd->dst_h, winograd->dst_w));
            if (++in_panel == group->narrow + (panel < group->wide)) {
                in_panel = 0;
                panel++;
            }
        }
    }
}

/* Output blocks first..end of all tiles of the group. */
static void multiply_points(float *m, const float *v, const sqz_winograd *winograd,
                            const group *group, int first, int end) {
    size_t depth = (size_t)winograd->src_blocks * BLOCK;
    for (int point = 0; point < POINTS; point++)
        for (int block = first; block < end; block += CHUNK) {
            int blocks = end - block < CHUNK ? end - block : CHUNK;
            const float *u = winograd->packed + (size_t)block * BLOCK * POINTS * depth +
                             (size_t)point * depth * (size_t)blocks * BLOCK;
            const float *from = v + (size_t)point * group->v_point;
            float *to =
                m + (size_t)point * group->m_point + (size_t)(block - first) * group->m_block;
            for (int panel = 0; panel < group->panels; panel++, from += group->v_panel) {
                int tiles = group->narrow + (panel < group->wide);
                functions[blocks - 1][tiles - 1](to, from, u, winograd->src_blocks);
                to += (size_t)(tiles * blocks) * BLOCK;
            }
        }
}

/* One tile of one output block, as far as it exists. */
ALWAYS_INLINE void transform_tile(element *dst, size_t dst_row, const float *m, size_t m_point,
                                  vec bias, sqz_nonlinearity nonlinearity, bool accumulate, int h,
                                  int w) {
    vec half[SIDE][PATCH];
#pragma GCC unroll 6
    for (int j = 0; j < PATCH; j++) {
        vec column[PATCH], line[SIDE];
#pragma GCC unroll 6
        for (int i = 0; i < PATCH; i++)
            column[i] = vec_load(m + (size_t)(i * PATCH + j) * m_point);
        tile_line(line, column);
#pragma GCC unroll 4
        for (int i = 0; i < SIDE; i++)
            half[i][j] = line[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < SIDE; i++) {
        vec line[SIDE];
        tile_line(line, half[i]);
        if (i >= h)
            break;
#pragma GCC unroll 4
        for (int j = 0; j < SIDE; j++) {
            if (j >= w)
                break;
            element *to = dst + (size_t)i * dst_row + (size_t)j * BLOCK;
            vec sum = line[j] + (accumulate ? element_load(to) : bias);
            element_store(to, vec_nonlinearity(sum, nonlinearity));
        }
    }
}

static void transform_tiles(const sqz_winograd *winograd, const float *m, const group *group,
                            int first, int end) {
    size_t dst_row = (size_t)winograd->dst_w * BLOCK;
    for (int block = first; block < end; block++) {
        int chunk = (block - first) / CHUNK * CHUNK, in_chunk = block - first - chunk;
        int blocks = end - first - chunk < CHUNK ? end - first - chunk : CHUNK;
        const float *from = m + (size_t)chunk * group->m_block + (size_t)in_chunk * BLOCK;
        vec bias = winograd->bias ? vec_load(winograd->bias + (size_t)block * BLOCK) : (vec){0};
        for (int i = 0; i < group->tiles; i++, from += (size_t)blocks * BLOCK) {
            tile_place place = tile_at(group->first + i, winograd->dst_h, winograd->dst_w);
            element *dst = (element *)winograd->dst +
                           (size_t)block * (size_t)winograd->dst_h * dst_row +
                           (size_t)place.y * dst_row + (size_t)place.x * BLOCK;
            if (place.h == SIDE && place.w == SIDE)
                transform_tile(dst, dst_row, from, group->m_point, bias, winograd->nonlinearity,
                               winograd->accumulate, SIDE, SIDE);
            else
                transform_tile(dst, dst_row, from, group->m_point, bias, winograd->nonlinearity,
                               winograd->accumulate, place.h, place.w);
        }
    }
}

/* -- The whole, and parts of it ---------------------------------------------------------------- */

/* A part's tiles and output blocks: some tiles and all blocks while there are tiles enough for two
 * panels a part, else some blocks (whole chunks) and all tiles, whose source each part transforms
 * for itself. No bit depends on it. */
typedef struct {
    int first_tile, end_tile, first_block, end_block;
} share;

static share share_of(const sqz_winograd *winograd, sqz_part part) {
    int tiles = tile_count(winograd->dst_h, winograd->dst_w), blocks = winograd->dst_blocks;
    if (tiles >= 2 * PANEL * part.count || part.count == 1) {
        sqz_span span = sqz_part_span(part, (size_t)tiles);
        return (share){(int)span.begin, (int)span.end, 0, blocks};
    }
    sqz_span span = sqz_part_span(part, (size_t)((blocks + CHUNK - 1) / CHUNK));
    int end = (int)span.end * CHUNK;
    return (share){0, span.end > span.begin ? tiles : 0, (int)span.begin * CHUNK,
                   end < blocks ? end : blocks};
}

/* Group `i` of as few groups as there may be, as equal as can be; false after the last. */
static bool group_cut(group *result, const sqz_winograd *winograd, const share *share, int i) {
    int all = share->end_tile - share->first_tile, most = group_tiles(winograd->src_blocks);
    int groups = (all + most - 1) / most;
    if (i == groups)
        return false;
    int first = (int)((int64_t)all * i / groups), end = (int)((int64_t)all * (i + 1) / groups);
    *result = group_of(share->first_tile + first, end - first, winograd->src_blocks,
                       winograd->dst_blocks);
    return true;
}

/* The most that a group of any size needs: how large they are depends on the part. */
size_t SQZ_KERNEL(winograd_convolve_count)(const sqz_winograd *winograd) {
    int all = tile_count(winograd->dst_h, winograd->dst_w);
    int largest = group_tiles(winograd->src_blocks);
    size_t most = 0;
    for (int tiles = 1; tiles <= all && tiles <= largest; tiles++) {
        group group = group_of(0, tiles, winograd->src_blocks, winograd->dst_blocks);
        size_t count = POINTS * (group.v_point + group.m_point);
        most = count > most ? count : most;
    }
    return most;
}

static void convolve(const sqz_winograd *winograd, float *scratch, sqz_part part) {
    share share = share_of(winograd, part);
    group group;
    for (int i = 0; group_cut(&group, winograd, &share, i); i++) {
        float *v = scratch, *m = scratch + POINTS * group.v_point;
        transform_source(v, winograd, &group);
        for (int block = share.first_block; block < share.end_block; block += group.pass) {
            int left = share.end_block - block;
            int end = block + (left < group.pass ? left : group.pass);
            multiply_points(m, v, winograd, &group, block, end);
            transform_tiles(winograd, m, &group, block, end);
        }
    }
}

/* -- Its two directions ------------------------------------------------------------------------ */

sqz_status SQZ_KERNEL(winograd_conv_forward)(const sqz_conv *conv, sqz_worker *worker, void *dst,
                                             const void *src, const void *packed, const float *bias,
                                             sqz_part part, sqz_error *error) {
    (void)error;
    sqz_winograd winograd = sqz_winograd_forward(&conv->shape, BLOCK);
    winograd.dst = dst;
    winograd.src = src;
    winograd.packed = packed;
    winograd.bias = bias;
    convolve(&winograd, worker->scratch, part);
    return SQZ_OK;
}

sqz_status SQZ_KERNEL(winograd_conv_backward_data)(const sqz_conv *conv, sqz_worker *worker,
                                                   void *d_src, const void *d_dst,
                                                   const void *packed, bool accumulate,
                                                   sqz_error *error) {
    (void)error;
    sqz_winograd winograd = sqz_winograd_backward(&conv->shape, BLOCK);
    winograd.dst = d_src;
    winograd.src = d_dst;
    winograd.packed = packed;
    winograd.accumulate = accumulate;
    convolve(&winograd, worker->scratch, sqz_part_whole);
    return SQZ_OK;
}
