/* conv_direct.c: the convolution itself, sqz_direct in kernels.h: a tile of one or two blocks of
 * output channels times up to PIXELS pixels of a row stays in registers through the whole sum. One
 * step of it loads a vector of weights for each block and multiplies it by one float of each
 * pixel's source. Two blocks use every such float twice; the pixels use every vector of weights. */

/* A pixel's source at one step is its neighbour's at another: GCC would keep such floats,
 * broadcast, from step to step, in registers that the sums need. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-predictive-commoning")
#endif

#include "kernels.h"

/* A tile's sums, the weights and the float at hand must fit into 32 or 16 registers. */
#if BLOCK == 16
#define PIXELS 14
#define EACH_PIXELS(each)                                                                          \
    each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10) each(11)      \
        each(12) each(13) each(14)
#else
#define PIXELS 6
#define EACH_PIXELS(each) each(1) each(2) each(3) each(4) each(5) each(6)
#endif
enum { GENERAL_PIXELS = 4, GROUP = 2 };

/* Of the source, at a time: a good part of a second-level cache. */
enum { NEAR_BYTES = 192 * 1024 };

/* The next tile's source: the caches cannot guess it where a tile reads a little of each of many
 * channel blocks. (Past the end of the source it is a hint without an effect.) */
ALWAYS_INLINE void prefetch(const float *from, size_t floats) {
    const size_t line = 64 / sizeof(float);
#pragma GCC unroll 14
    for (size_t i = 0; i < floats; i += line)
        __builtin_prefetch(from + i);
}

/* All of a tile's sizes are constants where this is inlined. */
ALWAYS_INLINE void tile(const sqz_direct *direct, float *dst, const float *src, const float *packed,
                        const float *bias, int blocks, int pixels, size_t across) {
    vec sums[GROUP][PIXELS];
    size_t dst_block = (size_t)direct->dst_h * (size_t)direct->dst_w * BLOCK;
    size_t terms = (size_t)direct->src_blocks * (size_t)direct->kernel_h * (size_t)direct->inner;
    const float *weights[GROUP] = {packed, packed + (blocks > 1 ? terms * BLOCK : 0)};
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 14
        for (int p = 0; p < pixels; p++)
            sums[b][p] = direct->accumulate ? vec_load(dst + (size_t)b * dst_block + p * BLOCK)
                         : bias             ? vec_load(bias + b * BLOCK)
                                            : (vec){0};
    for (int src_block = 0; src_block < direct->src_blocks; src_block++)
        for (int row = 0; row < direct->kernel_h; row++) {
            const float *from =
                src + (size_t)src_block * direct->src_block + (size_t)row * direct->src_row;
            prefetch(from + (size_t)pixels * across, (size_t)pixels * across);
            for (int i = 0; i < direct->inner; i++, from++) {
                vec weight[GROUP];
#pragma GCC unroll 2
                for (int b = 0; b < blocks; b++) {
                    weight[b] = vec_load(weights[b]);
                    weights[b] += BLOCK;
                }
#pragma GCC unroll 14
                for (int p = 0; p < pixels; p++) {
                    float value = from[(size_t)p * across];
#pragma GCC unroll 2
                    for (int b = 0; b < blocks; b++)
                        sums[b][p] += weight[b] * value;
                }
            }
        }
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 14
        for (int p = 0; p < pixels; p++) {
            vec sum = vec_nonlinearity(sums[b][p], direct->nonlinearity);
            vec_store(dst + (size_t)b * dst_block + p * BLOCK, sum);
        }
}

typedef void (*tile_function)(const sqz_direct *direct, float *dst, const float *src,
                              const float *packed, const float *bias);

#define TILE(name, blocks, pixels, across)                                                         \
    static void name(const sqz_direct *direct, float *dst, const float *src, const float *packed,  \
                     const float *bias) {                                                          \
        tile(direct, dst, src, packed, bias, blocks, pixels, across);                              \
    }

/* Three ways from a pixel's source to the next: a block (stride 1), two floats (the planar input at
 * stride 2), any other. Constants become parts of the instructions; the last needs registers. */
#define TILES(pixels)                                                                              \
    TILE(tile_1_##pixels, 1, pixels, BLOCK)                                                        \
    TILE(tile_2_##pixels, 2, pixels, BLOCK)                                                        \
    TILE(planar_1_##pixels, 1, pixels, 2)                                                          \
    TILE(planar_2_##pixels, 2, pixels, 2)
EACH_PIXELS(TILES)
#define GENERAL_TILES(pixels)                                                                      \
    TILE(general_1_##pixels, 1, pixels, direct->src_across)                                        \
    TILE(general_2_##pixels, 2, pixels, direct->src_across)
GENERAL_TILES(1)
GENERAL_TILES(2)
GENERAL_TILES(3)
GENERAL_TILES(4)

typedef struct {
    int widest;
    tile_function functions[GROUP][PIXELS]; /* [blocks - 1][pixels - 1] */
} tile_family;

#define TILE_1(pixels) tile_1_##pixels,
#define TILE_2(pixels) tile_2_##pixels,
#define PLANAR_1(pixels) planar_1_##pixels,
#define PLANAR_2(pixels) planar_2_##pixels,
static const tile_family stride_1 = {PIXELS, {{EACH_PIXELS(TILE_1)}, {EACH_PIXELS(TILE_2)}}};
static const tile_family planar_2 = {PIXELS, {{EACH_PIXELS(PLANAR_1)}, {EACH_PIXELS(PLANAR_2)}}};
static const tile_family general = {GENERAL_PIXELS,
                                    {{general_1_1, general_1_2, general_1_3, general_1_4},
                                     {general_2_1, general_2_2, general_2_3, general_2_4}}};

/* A row is cut into tiles as equal as can be: the first `wide` of them have narrow + 1 pixels. */
typedef struct {
    int row_tiles, narrow, wide;
} row_cut;

/* Tiles first..end, counted through all rows, of one group of blocks. */
static void direct_tiles(const sqz_direct *direct, const tile_function *functions, row_cut cut,
                         int block, int first, int end) {
    size_t terms = (size_t)direct->src_blocks * (size_t)direct->kernel_h * (size_t)direct->inner;
    size_t dst_row = (size_t)direct->dst_w * BLOCK;
    const float *packed = direct->packed + (size_t)block * terms * BLOCK;
    const float *bias = direct->bias ? direct->bias + (size_t)block * BLOCK : NULL;
    float *dst = direct->dst + (size_t)block * (size_t)direct->dst_h * dst_row;
    int y = first / cut.row_tiles, in_row = first % cut.row_tiles;
    for (int index = first; index < end; index++) {
        int pixels = cut.narrow + (in_row < cut.wide);
        size_t x = (size_t)(in_row * cut.narrow + (in_row < cut.wide ? in_row : cut.wide));
        functions[pixels - 1](direct, dst + (size_t)y * dst_row + x * BLOCK,
                              direct->src + (size_t)y * direct->src_down + x * direct->src_across,
                              packed, bias);
        if (++in_row == cut.row_tiles) {
            in_row = 0;
            y++;
        }
    }
}

/* As many tiles at a time as have a source of NEAR_BYTES: all weights pass over those before the
 * next. A part is a range of tiles counted in that order: through a segment with one group of
 * blocks, then with the next group, then through the next segment. */
void SQZ_KERNEL(conv_direct)(const sqz_direct *direct, sqz_part part) {
    const tile_family *family = direct->src_across == BLOCK ? &stride_1
                                : direct->src_across == 2   ? &planar_2
                                                            : &general;
    int row_tiles = (direct->dst_w + family->widest - 1) / family->widest;
    row_cut cut = {row_tiles, direct->dst_w / row_tiles, direct->dst_w % row_tiles};
    size_t tile_bytes =
        (size_t)direct->src_blocks * direct->src_across * sizeof(float) * (size_t)family->widest;
    int tiles = row_tiles * direct->dst_h, segment = (int)(NEAR_BYTES / tile_bytes) + 1;
    int groups = (direct->dst_blocks + GROUP - 1) / GROUP;
    sqz_span span = sqz_part_span(part, (size_t)tiles * (size_t)groups);
    ptrdiff_t skip = (ptrdiff_t)span.begin, left = (ptrdiff_t)(span.end - span.begin);
    for (int first = 0; first < tiles && left > 0; first += segment) {
        int end = tiles - first < segment ? tiles : first + segment;
        for (int block = 0; block < direct->dst_blocks && left > 0; block += GROUP) {
            if (skip >= end - first) {
                skip -= end - first;
                continue;
            }
            int blocks = direct->dst_blocks - block < GROUP ? direct->dst_blocks - block : GROUP;
            int begin = first + (int)skip;
            int stop = left < end - begin ? begin + (int)left : end;
            direct_tiles(direct, family->functions[blocks - 1], cut, block, begin, stop);
            left -= stop - begin;
            skip = 0;
        }
    }
}
