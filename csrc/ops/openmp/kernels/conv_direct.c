/* conv_direct.c: the convolution itself, sqz_direct in kernels.h: a tile of one or two blocks of
 * output channels times up to PIXELS pixels of a row stays in registers through the whole sum. One
 * step of it loads a vector of weights for each block and multiplies it by one float of each
 * pixel's source. Two blocks use every such float twice; the pixels use every vector of weights. */
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

/* Weights up to this size stay in the second-level cache while all of them pass over a row. */
enum { RESIDENT_BYTES = 192 * 1024 };

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
            vec sum = sums[b][p];
            if (direct->relu)
                sum = vec_or_zero(~(sum < (vec){0}), sum); /* keeps NaN */
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

/* One row of one group of blocks, in tiles as equal as can be. */
static void direct_row(const sqz_direct *direct, const tile_family *family, int block, int blocks,
                       int y) {
    size_t terms = (size_t)direct->src_blocks * (size_t)direct->kernel_h * (size_t)direct->inner;
    const float *packed = direct->packed + (size_t)block * terms * BLOCK;
    const float *bias = direct->bias ? direct->bias + (size_t)block * BLOCK : NULL;
    const float *src = direct->src + (size_t)y * direct->src_down;
    float *dst = direct->dst + ((size_t)block * (size_t)direct->dst_h + (size_t)y) *
                                   (size_t)direct->dst_w * BLOCK;
    int tiles = (direct->dst_w + family->widest - 1) / family->widest;
    int narrow = direct->dst_w / tiles, wide_tiles = direct->dst_w % tiles;
    for (int i = 0; i < tiles; i++) {
        int pixels = narrow + (i < wide_tiles);
        family->functions[blocks - 1][pixels - 1](direct, dst, src, packed, bias);
        src += (size_t)pixels * direct->src_across;
        dst += (size_t)pixels * BLOCK;
    }
}

static int group_at(const sqz_direct *direct, int block) {
    return direct->dst_blocks - block < GROUP ? direct->dst_blocks - block : GROUP;
}

void SQZ_KERNEL(conv_direct)(const sqz_direct *direct) {
    const tile_family *family = direct->src_across == BLOCK ? &stride_1
                                : direct->src_across == 2   ? &planar_2
                                                            : &general;
    size_t weights_bytes = (size_t)direct->dst_blocks * (size_t)direct->src_blocks *
                           (size_t)direct->kernel_h * (size_t)direct->inner * sizeof(vec);
    if (weights_bytes <= RESIDENT_BYTES) {
        for (int y = 0; y < direct->dst_h; y++)
            for (int block = 0; block < direct->dst_blocks; block += GROUP)
                direct_row(direct, family, block, group_at(direct, block), y);
    } else {
        for (int block = 0; block < direct->dst_blocks; block += GROUP)
            for (int y = 0; y < direct->dst_h; y++)
                direct_row(direct, family, block, group_at(direct, block), y);
    }
}
