/* winograd.c: 3x3 convolutions by F(2x2, 3x3), exact in whole numbers: 2 x 2 pixels of 16
 * multiplications where the direct sum has 36. With 4 x 4 pixels d of the source and weights g,
 *
 *     4 y = A' [(H g H') * (B' d B)] A
 *
 *     B' = 1  0 -1  0     H = 2  0  0     A' = 1  1  1  0
 *          0  1  1  0         1  1  1          0  1 -1 -1
 *          0 -1  1  0         1 -1  1
 *          0  1  0 -1         0  0  2
 *
 * summed over the input channels before A. H is twice the usual matrix, so no half is lost: weights
 * stay within 9 x 127, transformed pixels within 4 x 255, and fill the numbers of 16 bits that are
 * multiplied where there is no instruction for bytes. (Where there is one, it does in one what this
 * does in two, and there would be nothing to gain.) */
#include "winograd.h"
#include "../../base/memory.h"

#include <limits.h>

enum { POSITIONS = SQZ_INTEGER_POSITIONS, TILES = SQZ_INTEGER_TILES, GROUP = SQZ_INTEGER_GROUP };
enum { MOST_WEIGHT = 9 * 127, MOST_TERM = 4 * 255 };
enum { MOST_CHANNELS = INT_MAX / (9 * MOST_WEIGHT * MOST_TERM) }; /* 9 products are added at last */

bool sqz_integer_winograd_suits(const sqz_conv_shape *shape, const sqz_integer_set *set) {
    return set->step == 2 && shape->kernel_h == 3 && shape->kernel_w == 3 && !shape->sums &&
           shape->in_channels <= MOST_CHANNELS;
}

static sqz_integer_frame frame_of(const sqz_conv_shape *shape, int tile_rows) {
    return (sqz_integer_frame){.blocks = shape->in_channels / shape->in_block,
                               .lanes = shape->in_block,
                               .in_h = shape->in_h,
                               .in_w = shape->in_w,
                               .h = 2 * tile_rows + 2,
                               .w = (shape->out_w + 1) / 2 * 2 + 2,
                               .top = shape->pad_h,
                               .left = shape->pad_w};
}

static size_t position_words(const sqz_conv_shape *shape) {
    return sqz_size_multiply((size_t)shape->out_channels, (size_t)shape->in_channels / 2);
}

size_t sqz_integer_winograd_words(const sqz_conv_shape *shape) {
    return sqz_size_multiply(POSITIONS, position_words(shape));
}

/* Of a worker: products, transformed pixels, the frame. */
static size_t product_count(const sqz_integer_set *set) {
    return (size_t)POSITIONS * GROUP * TILES * (size_t)set->block;
}

static size_t term_count(const sqz_conv_shape *shape) {
    return sqz_size_multiply((size_t)POSITIONS * TILES, (size_t)shape->in_channels);
}

size_t sqz_integer_winograd_bytes(const sqz_conv_shape *shape, const sqz_integer_set *set) {
    sqz_integer_frame frame = frame_of(shape, (shape->out_h + 1) / 2);
    size_t framed = sqz_size_multiply(sqz_size_multiply((size_t)frame.h, (size_t)frame.w),
                                      (size_t)shape->in_channels);
    return product_count(set) * sizeof(int32_t) +
           sqz_size_multiply(term_count(shape) + framed, sizeof(int16_t));
}

void sqz_integer_winograd_put(void *words, const sqz_conv_shape *shape, const sqz_integer_set *set,
                              const int8_t steps[9], int o, int c) {
    static const int h[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
    size_t block = (size_t)set->block, step = (size_t)set->step;
    size_t word = ((size_t)o / block * (size_t)shape->in_channels + (size_t)c) / step * block +
                  (size_t)o % block;
    int16_t *to = (int16_t *)words + word * step + (size_t)c % step;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++, to += position_words(shape) * step) {
            int sum = 0;
            for (int tap = 0; tap < 9; tap++)
                sum += h[i][tap / 3] * h[j][tap % 3] * steps[tap];
            *to = (int16_t)sum;
        }
}

/* All output channels of the tiles at hand. */
static void convolve_tiles(const sqz_integer_conv *call, sqz_integer_winograd *tiles, void *dst,
                           const sqz_conv_shape *shape, const sqz_integer_set *set,
                           int32_t *products, const int16_t *terms) {
    static const _Alignas(SQZ_ALIGNMENT) int32_t no_bias[GROUP * 16];
    size_t block = (size_t)set->block;
    size_t position_terms = (size_t)TILES * (size_t)shape->in_channels;
    size_t block_words = block * (size_t)shape->in_channels / 2;
    for (int first = 0; first < call->dst_blocks; first += GROUP) {
        int left = call->dst_blocks - first;
        sqz_integer_conv product = {.dst_block = TILES * block,
                                    .bias = no_bias,
                                    .dst_blocks = left < GROUP ? left : GROUP,
                                    .dst_h = 1,
                                    .dst_w = tiles->count,
                                    .src_blocks = call->src_blocks,
                                    .kernel_h = 1,
                                    .inner = set->block / 2,
                                    .src_block = TILES * block * sizeof *terms,
                                    .sums = true};
        for (int position = 0; position < POSITIONS; position++) {
            product.dst = products + (size_t)position * GROUP * TILES * block;
            product.src = (const unsigned char *)(terms + (size_t)position * position_terms);
            product.packed = call->packed + (size_t)position * position_words(shape) +
                             (size_t)first * block_words;
            set->convolve(&product);
        }
        tiles->dst = (uint8_t *)dst + (size_t)first * call->dst_block;
        tiles->dst_blocks = product.dst_blocks;
        tiles->bias = call->bias + (size_t)first * block;
        tiles->multipliers = call->multipliers + (size_t)first * block;
        set->winograd_result(products, tiles);
    }
}

void sqz_integer_winograd_forward(const sqz_integer_conv *call, void *dst, const void *src,
                                  const sqz_conv_shape *shape, const sqz_integer_set *set,
                                  void *memory, sqz_part part) {
    int32_t *products = memory;
    int16_t *terms = (int16_t *)(products + product_count(set));
    int16_t *framed = terms + term_count(shape);
    sqz_span rows = sqz_part_span(part, (size_t)(shape->out_h + 1) / 2);
    int begin = (int)rows.begin, count = (int)(rows.end - rows.begin);
    sqz_integer_frame frame = frame_of(shape, count);
    frame.top -= 2 * begin;
    set->frame(framed, src, &frame);
    size_t frame_row = (size_t)frame.w * (size_t)set->block;
    sqz_integer_winograd tiles = {.across = (shape->out_w + 1) / 2,
                                  .src_blocks = call->src_blocks,
                                  .src_row = frame_row,
                                  .src_block = (size_t)frame.h * frame_row,
                                  .dst_h = shape->out_h - 2 * begin,
                                  .dst_w = shape->out_w,
                                  .dst_block = call->dst_block};
    dst = (uint8_t *)dst + (size_t)(2 * begin * shape->out_w) * (size_t)set->block;
    int all = count * tiles.across;
    for (; tiles.first < all; tiles.first += TILES) {
        int left = all - tiles.first;
        tiles.count = left < TILES ? left : TILES;
        set->winograd_source(terms, framed, &tiles);
        convolve_tiles(call, &tiles, dst, shape, set, products, terms);
    }
}
