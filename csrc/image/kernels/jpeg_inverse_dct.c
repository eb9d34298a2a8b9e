/* jpeg_inverse_dct.c: 64 coefficients of a JPEG to 8x8 samples.
 *
 * The factorisation of Loeffler, Ligtenberg & Moschytz 1989, "Practical fast 1-D DCT algorithms
 * with 11 multiplications", first along the columns, then along the rows, in 13-bit constants with
 * two more bits between: with these choices the samples are equal to those of libjpeg's default
 * ("slow integer") transform. A lane of a vector is a column; between the passes the block is
 * transposed. Sums wrap: only a damaged file's are that large, and any byte will do there. */
#include "kernels.h"

typedef uint32_t vec_sum __attribute__((vector_size(4 * LANES)));
typedef uint8_t uint8x8 __attribute__((vector_size(8)));
typedef uint64_t uint64x2 __attribute__((vector_size(16)));

enum { CONSTANT_BITS = 13, BETWEEN_BITS = 2 };

/* A constant of the paper in fixed point. */
#define FIXED(x) ((uint32_t)((x) * (1 << CONSTANT_BITS) + 0.5))

/* (sum / 2^shift), rounded, as 16 bits. */
ALWAYS_INLINE vec_short descale(vec_sum sum, int shift) {
    return __builtin_convertvector((vec)(sum + (1u << (shift - 1))) >> shift, vec_short);
}

ALWAYS_INLINE vec_sum load(const short *in) {
    vec_short row;
    memcpy(&row, in, sizeof row);
    return (vec_sum)widen(row);
}

ALWAYS_INLINE void store(short *out, vec_short row) {
    memcpy(out, &row, sizeof row);
}

/* One pass down LANES columns of block[8][8]: frequencies before, samples after. */
ALWAYS_INLINE void transform_part(short *block, int shift) {
    vec_sum f0 = load(block), f1 = load(block + 8), f2 = load(block + 16), f3 = load(block + 24);
    vec_sum f4 = load(block + 32), f5 = load(block + 40), f6 = load(block + 48);
    vec_sum f7 = load(block + 56);

    vec_sum turned = (f2 + f6) * FIXED(0.541196100);
    vec_sum sum = (f0 + f4) << CONSTANT_BITS, difference = (f0 - f4) << CONSTANT_BITS;
    vec_sum outer = turned + f2 * FIXED(0.765366865), inner = turned - f6 * FIXED(1.847759065);
    vec_sum even[4] = {sum + outer, difference + inner, difference - inner, sum - outer};

    vec_sum all = (f1 + f3 + f5 + f7) * FIXED(1.175875602);
    vec_sum f37 = all - (f3 + f7) * FIXED(1.961570560);
    vec_sum f15 = all - (f1 + f5) * FIXED(0.390180644);
    vec_sum f17 = (f1 + f7) * FIXED(0.899976223), f35 = (f3 + f5) * FIXED(2.562915447);
    vec_sum odd[4] = {f1 * FIXED(1.501321110) - f17 + f15, f3 * FIXED(3.072711026) - f35 + f37,
                      f5 * FIXED(2.053119869) - f35 + f15, f7 * FIXED(0.298631336) - f17 + f37};

    for (int y = 0; y < 4; y++) {
        store(block + 8 * y, descale(even[y] + odd[y], shift));
        store(block + 8 * (7 - y), descale(even[y] - odd[y], shift));
    }
}

ALWAYS_INLINE void transform_columns(int16x8 rows[8], int shift) {
    short block[64];
    memcpy(block, rows, sizeof block);
    for (int x = 0; x < 8; x += LANES)
        transform_part(block + x, shift);
    memcpy(rows, block, sizeof block);
}

/* Three perfect shuffles of eight rows of eight transpose them. */
ALWAYS_INLINE void transpose(int16x8 rows[8]) {
    for (int round = 0; round < 3; round++) {
        int16x8 shuffled[8];
        for (int i = 0; i < 4; i++) {
            shuffled[2 * i] =
                __builtin_shuffle(rows[i], rows[i + 4], (int16x8){0, 8, 1, 9, 2, 10, 3, 11});
            shuffled[2 * i + 1] =
                __builtin_shuffle(rows[i], rows[i + 4], (int16x8){4, 12, 5, 13, 6, 14, 7, 15});
        }
        for (int i = 0; i < 8; i++)
            rows[i] = shuffled[i];
    }
}

/* A constant block, as many in a photograph's dark and smooth parts are. */
static void fill_block(uint8_t *out, int out_stride, int mean) {
    int sample = ((mean * (1 << BETWEEN_BITS) + 16) >> 5) + 128;
    sample = sample < 0 ? 0 : sample > 255 ? 255 : sample;
    for (int y = 0; y < 8; y++, out += out_stride)
        memset(out, sample, 8);
}

void SQZ_KERNEL(jpeg_inverse_dct)(uint8_t *out, int out_stride, short coefficients[64]) {
    int16x8 rows[8];
    memcpy(rows, coefficients, sizeof rows);
    int16x8 set = (rows[0] & (int16x8){0, -1, -1, -1, -1, -1, -1, -1}) | rows[1];
    for (int y = 2; y < 8; y++)
        set |= rows[y];
    if ((((uint64x2)set)[0] | ((uint64x2)set)[1]) == 0) {
        fill_block(out, out_stride, coefficients[0]);
        return;
    }
    transform_columns(rows, CONSTANT_BITS - BETWEEN_BITS);
    transpose(rows);
    transform_columns(rows, CONSTANT_BITS + BETWEEN_BITS + 3); /* two passes' sqrt(8) are 3 bits */
    transpose(rows);
    for (int y = 0; y < 8; y++, out += out_stride) {
        int16x8 samples = rows[y] + 128;
        samples &= ~(samples >> 15);                 /* at least 0 */
        samples = (samples | (samples > 255)) & 255; /* at most 255 */
        uint8x8 bytes = __builtin_convertvector(samples, uint8x8);
        memcpy(out, &bytes, sizeof bytes);
    }
}
