/* winograd.c: the two transforms of a tile, ../winograd.c has the matrices. */
#include "integer.h"
#include "vector.h"

typedef int16_t vec_term __attribute__((vector_size(2 * BLOCK)));
typedef vec_term vec_term_memory __attribute__((may_alias));

enum { TILES = SQZ_INTEGER_TILES };

/* A tile's first pixel. */
typedef struct {
    int y, x;
} place;

ALWAYS_INLINE place first_place(const sqz_integer_winograd *tiles) {
    return (place){2 * (tiles->first / tiles->across), 2 * (tiles->first % tiles->across)};
}

ALWAYS_INLINE void next_place(place *at, const sqz_integer_winograd *tiles) {
    at->x += 2;
    if (at->x == 2 * tiles->across)
        *at = (place){at->y + 2, 0};
}

/* B' of four vectors that are `apart` from each other; with it and again of its results, B' d B. */
ALWAYS_INLINE void source_line(vec_term *to, const vec_term *from, int apart) {
    vec_term a = from[0], b = from[apart], c = from[2 * apart], d = from[3 * apart];
    to[0] = a - c;
    to[apart] = b + c;
    to[2 * apart] = c - b;
    to[3 * apart] = b - d;
}

void SQZ_INTEGER_KERNEL(integer_winograd_source)(int16_t *transformed, const int16_t *framed,
                                                 const sqz_integer_winograd *tiles) {
    size_t position = (size_t)tiles->src_blocks * TILES * BLOCK;
    for (int block = 0; block < tiles->src_blocks; block++, framed += tiles->src_block) {
        int16_t *to = transformed + (size_t)block * TILES * BLOCK;
        place at = first_place(tiles);
        for (int i = 0; i < tiles->count; i++, to += BLOCK, next_place(&at, tiles)) {
            const int16_t *from = framed + (size_t)at.y * tiles->src_row + (size_t)at.x * BLOCK;
            vec_term d[16];
#pragma GCC unroll 16
            for (int p = 0; p < 16; p++)
                d[p] = *(const vec_term_memory *)(from + (size_t)(p / 4) * tiles->src_row +
                                                  (size_t)(p % 4) * BLOCK);
#pragma GCC unroll 4
            for (int column = 0; column < 4; column++)
                source_line(d + column, d + column, 4);
#pragma GCC unroll 4
            for (int row = 0; row < 4; row++)
                source_line(d + 4 * row, d + 4 * row, 1);
#pragma GCC unroll 16
            for (int p = 0; p < 16; p++)
                *(vec_term_memory *)(to + (size_t)p * position) = d[p];
        }
    }
}

/* A' of four vectors that are `apart`. */
ALWAYS_INLINE void result_line(vec_int *to, const vec_int *from, int apart) {
    vec_int b = from[apart], c = from[2 * apart];
    to[0] = from[0] + b + c;
    to[apart] = b - c - from[3 * apart];
}

/* A tile's two rows of up to two pixels. */
ALWAYS_INLINE void tile_result(uint8_t *to, size_t row, int rows, int pixels, const int32_t *from,
                               vec_int bias, vec multiplier, bool far) {
    vec_int m[16];
#pragma GCC unroll 16
    for (int p = 0; p < 16; p++)
        m[p] = *(const vec_int_memory *)(from + (size_t)p * SQZ_INTEGER_GROUP * TILES * BLOCK);
#pragma GCC unroll 4
    for (int column = 0; column < 4; column++)
        result_line(m + column, m + column, 4);
#pragma GCC unroll 2
    for (int y = 0; y < 2; y++) {
        result_line(m + 4 * y, m + 4 * y, 1);
        vec_int sums[2] = {(m[4 * y] >> 2) + bias, (m[4 * y + 1] >> 2) + bias};
        if (y < rows && pixels == 2)
            requantise(to + (size_t)y * row, sums, multiplier, 2, far);
        else if (y < rows)
            requantise(to + (size_t)y * row, sums, multiplier, 1, far);
    }
}

void SQZ_INTEGER_KERNEL(integer_winograd_result)(const int32_t *products,
                                                 const sqz_integer_winograd *tiles) {
    size_t row = (size_t)tiles->dst_w * BLOCK;
    for (int block = 0; block < tiles->dst_blocks; block++) {
        vec_int bias = *(const vec_int_memory *)(tiles->bias + block * BLOCK);
        vec multiplier = *(const vec_memory *)(tiles->multipliers + block * BLOCK);
        uint8_t *dst = tiles->dst + (size_t)block * tiles->dst_block;
        bool far = reaches_1(multiplier);
        place at = first_place(tiles);
        for (int i = 0; i < tiles->count; i++, products += BLOCK, next_place(&at, tiles)) {
            uint8_t *to = dst + (size_t)at.y * row + (size_t)at.x * BLOCK;
            int rows = tiles->dst_h - at.y, pixels = tiles->dst_w - at.x < 2 ? 1 : 2;
            if (far)
                tile_result(to, row, rows, pixels, products, bias, multiplier, true);
            else
                tile_result(to, row, rows, pixels, products, bias, multiplier, false);
        }
        products += (TILES - tiles->count) * BLOCK;
    }
}
