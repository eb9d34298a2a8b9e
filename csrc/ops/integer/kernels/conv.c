/* conv.c: the integer convolution, sqz_integer_conv: a tile of one or two blocks of output channels
 * times up to PIXELS pixels of a row stays in registers through the whole sum. A step loads a
 * vector of weights for each block and multiplies it by one word of each pixel's source. */

/* A pixel's source at one step is its neighbour's at another: GCC would keep such words,
 * broadcast, from step to step, in registers that the sums need. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-predictive-commoning")
#endif

#include "integer.h"
#include "vector.h"

/* A tile's sums, the weights and the word at hand must fit into 32 or 16 registers. */
#if BLOCK == 16
#define PIXELS 14
#define EACH_PIXELS(each)                                                                          \
    each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10) each(11)      \
        each(12) each(13) each(14)
#else
#define PIXELS 6
#define EACH_PIXELS(each) each(1) each(2) each(3) each(4) each(5) each(6)
#endif
enum { GROUP = SQZ_INTEGER_GROUP };

/* -- One tile ---------------------------------------------------------------------------------- */

ALWAYS_INLINE int32_t word_at(const unsigned char *from) {
    int32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

ALWAYS_INLINE void tile_requantise(uint8_t *to, const vec_int *sums, vec multiplier, int pixels,
                                   bool far) {
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p += TOGETHER)
        requantise(to + (size_t)p * BLOCK, sums + p, multiplier,
                   pixels - p < TOGETHER ? pixels - p : TOGETHER, far);
}

/* Where the tile's results go, of one block. */
ALWAYS_INLINE void tile_store(const sqz_integer_conv *conv, size_t at, const vec_int *sums,
                              const vec_memory *multipliers, int pixels) {
    if (conv->sums) {
        int32_t *to = (int32_t *)conv->dst + at;
#pragma GCC unroll 14
        for (int p = 0; p < pixels; p++)
            *(vec_int_memory *)(to + (size_t)p * BLOCK) =
                conv->relu ? sums[p] & (sums[p] > (vec_int){0}) : sums[p];
        return;
    }
    uint8_t *to = (uint8_t *)conv->dst + at;
    vec multiplier = *multipliers;
    if (reaches_1(multiplier)) /* no sum is 2^31 */
        tile_requantise(to, sums, multiplier, pixels, true);
    else
        tile_requantise(to, sums, multiplier, pixels, false);
}

/* All of a tile's sizes are constants where this is inlined. `block` is the first one, `pixel` the
 * first pixel of dst. */
ALWAYS_INLINE void tile(const sqz_integer_conv *conv, const unsigned char *src, int block,
                        size_t pixel, int blocks, int pixels, size_t across) {
    vec_int sums[GROUP][PIXELS];
    size_t terms = (size_t)conv->src_blocks * (size_t)conv->kernel_h * (size_t)conv->inner * BLOCK;
    const int32_t *weights = conv->packed + (size_t)block * terms;
    const vec_int_memory *bias = (const vec_int_memory *)(conv->bias + (size_t)block * BLOCK);
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++)
#pragma GCC unroll 14
        for (int p = 0; p < pixels; p++)
            sums[b][p] = bias[b];
    for (int src_block = 0; src_block < conv->src_blocks; src_block++)
        for (int row = 0; row < conv->kernel_h; row++) {
            const unsigned char *from =
                src + (size_t)src_block * conv->src_block + (size_t)row * conv->src_row;
            for (int i = 0; i < conv->inner; i++, from += 4, weights += BLOCK) {
                vec_int weight[GROUP];
#pragma GCC unroll 2
                for (int b = 0; b < blocks; b++)
                    weight[b] = *(const vec_int_memory *)(weights + (b ? terms : 0));
#pragma GCC unroll 14
                for (int p = 0; p < pixels; p++) {
                    int32_t word = word_at(from + (size_t)p * across);
#pragma GCC unroll 2
                    for (int b = 0; b < blocks; b++)
                        sums[b][p] = grow(sums[b][p], weight[b], word);
                }
            }
        }
    const vec_memory *multipliers = (const vec_memory *)(conv->multipliers + (size_t)block * BLOCK);
#pragma GCC unroll 2
    for (int b = 0; b < blocks; b++)
        tile_store(conv, (size_t)(block + b) * conv->dst_block + pixel * BLOCK, sums[b],
                   multipliers + b, pixels);
}

typedef void (*tile_function)(const sqz_integer_conv *conv, const unsigned char *src, int block,
                              size_t pixel);

/* Two ways from a pixel's source to the next: a block of terms, or a patch of the picture.
 * Constants become parts of the instructions. */
enum { TERM_BYTES = 4 / STEP };
enum { NEXT_BLOCK = BLOCK * TERM_BYTES, NEXT_PATCH = SQZ_INTEGER_PATCH * TERM_BYTES };

#define TILE(name, blocks, pixels, across)                                                         \
    static void name(const sqz_integer_conv *conv, const unsigned char *src, int block,            \
                     size_t pixel) {                                                               \
        tile(conv, src, block, pixel, blocks, pixels, across);                                     \
    }
#define TILES(pixels)                                                                              \
    TILE(block_1_##pixels, 1, pixels, NEXT_BLOCK)                                                  \
    TILE(block_2_##pixels, 2, pixels, NEXT_BLOCK)                                                  \
    TILE(patch_1_##pixels, 1, pixels, NEXT_PATCH)                                                  \
    TILE(patch_2_##pixels, 2, pixels, NEXT_PATCH)
EACH_PIXELS(TILES)

typedef tile_function tile_family[GROUP][PIXELS]; /* [blocks - 1][pixels - 1] */

#define BLOCK_1(pixels) block_1_##pixels,
#define BLOCK_2(pixels) block_2_##pixels,
#define PATCH_1(pixels) patch_1_##pixels,
#define PATCH_2(pixels) patch_2_##pixels,
static const tile_family next_block = {{EACH_PIXELS(BLOCK_1)}, {EACH_PIXELS(BLOCK_2)}};
static const tile_family next_patch = {{EACH_PIXELS(PATCH_1)}, {EACH_PIXELS(PATCH_2)}};

/* -- All of them ------------------------------------------------------------------------------- */

/* A row is cut into tiles as equal as can be: the first `wide` of them have narrow + 1 pixels. */
void SQZ_INTEGER_KERNEL(integer_convolve)(const sqz_integer_conv *conv) {
    const tile_family *family = conv->patches ? &next_patch : &next_block;
    size_t across = conv->patches ? NEXT_PATCH : NEXT_BLOCK;
    int row_tiles = (conv->dst_w + PIXELS - 1) / PIXELS;
    int narrow = conv->dst_w / row_tiles, wide = conv->dst_w % row_tiles;
    for (int block = 0; block < conv->dst_blocks; block += GROUP) {
        int blocks = conv->dst_blocks - block < GROUP ? 1 : GROUP;
        for (int y = 0; y < conv->dst_h; y++) {
            size_t x = 0;
            for (int index = 0; index < row_tiles; index++) {
                int pixels = narrow + (index < wide);
                (*family)[blocks - 1][pixels - 1](
                    conv, conv->src + (size_t)y * conv->src_down + x * across, block,
                    (size_t)y * (size_t)conv->dst_w + x);
                x += (size_t)pixels;
            }
        }
    }
}
