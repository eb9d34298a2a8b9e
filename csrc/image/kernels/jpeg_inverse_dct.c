/* jpeg_inverse_dct.c: 64 coefficients of a JPEG to 8x8 samples.
 *
 * Along the columns, then along the rows, in 13-bit constants with two more bits between. Each pass
 * is the one-dimensional transform of Loeffler, Ligtenberg & Moschytz 1989, "Practical fast 1-D DCT
 * algorithms with 11 multiplications", with their products multiplied out: more of them, but of 16
 * bits, which processors have many of. The samples are equal to those of libjpeg's default ("slow
 * integer") transform. A damaged file's may be anything. */
#include "kernels.h"

typedef uint64_t uint64x2 __attribute__((vector_size(16)));
typedef uint8_t uint8x8 __attribute__((vector_size(8)));

enum { CONSTANT_BITS = 13, BETWEEN_BITS = 2 };

/* The paper's constants, rounded to CONSTANT_BITS; named by their first digits. */
enum {
    C0298 = 2446,
    C0390 = 3196,
    C0541 = 4433,
    C0765 = 6270,
    C0899 = 7373,
    C1175 = 9633,
    C1501 = 12299,
    C1847 = 15137,
    C1961 = 16069,
    C2053 = 16819,
    C2562 = 20995,
    C3072 = 25172
};

/* One pass down all columns of block[8][8]: frequencies before, samples after. No sum overflows,
 * since the constants in one add up to less than 2^16. The compiler makes vectors of the loop. */
ALWAYS_INLINE void transform_columns(int16_t *block, int shift) {
    for (int x = 0; x < 8; x++) {
        int16_t *f = block + x;
        int16_t f0 = f[0], f1 = f[8], f2 = f[16], f3 = f[24];
        int16_t f4 = f[32], f5 = f[40], f6 = f[48], f7 = f[56];
        int half = 1 << (shift - 1);
        int sum = (f0 + f4) * (1 << CONSTANT_BITS) + half;
        int difference = (f0 - f4) * (1 << CONSTANT_BITS) + half;
        int outer = f2 * (C0541 + C0765) + f6 * C0541;
        int inner = f2 * C0541 + f6 * (C0541 - C1847);
        int even0 = sum + outer, even3 = sum - outer;
        int even1 = difference + inner, even2 = difference - inner;
        int odd0 = f1 * (C1501 - C0899 + C1175 - C0390) + f3 * C1175 + f5 * (C1175 - C0390) +
                   f7 * (C1175 - C0899);
        int odd1 = f1 * C1175 + f3 * (C3072 - C2562 + C1175 - C1961) + f5 * (C1175 - C2562) +
                   f7 * (C1175 - C1961);
        int odd2 = f1 * (C1175 - C0390) + f3 * (C1175 - C2562) +
                   f5 * (C2053 - C2562 + C1175 - C0390) + f7 * C1175;
        int odd3 = f1 * (C1175 - C0899) + f3 * (C1175 - C1961) + f5 * C1175 +
                   f7 * (C0298 - C0899 + C1175 - C1961);
        f[0] = (int16_t)((even0 + odd0) >> shift);
        f[8] = (int16_t)((even1 + odd1) >> shift);
        f[16] = (int16_t)((even2 + odd2) >> shift);
        f[24] = (int16_t)((even3 + odd3) >> shift);
        f[32] = (int16_t)((even3 - odd3) >> shift);
        f[40] = (int16_t)((even2 - odd2) >> shift);
        f[48] = (int16_t)((even1 - odd1) >> shift);
        f[56] = (int16_t)((even0 - odd0) >> shift);
    }
}

/* Three perfect shuffles of eight rows of eight transpose them. */
ALWAYS_INLINE void transpose(int16_t *block) {
    int16x8 rows[8];
    memcpy(rows, block, sizeof rows);
    for (int round = 0; round < 3; round++) {
        int16x8 shuffled[8];
        for (int i = 0; i < 4; i++) {
            shuffled[2 * i] = SHUFFLE(int16x8, rows[i], rows[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            shuffled[2 * i + 1] =
                SHUFFLE(int16x8, rows[i], rows[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
        memcpy(rows, shuffled, sizeof rows);
    }
    memcpy(block, rows, sizeof rows);
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
    int16_t *block = coefficients;
    transform_columns(block, CONSTANT_BITS - BETWEEN_BITS);
    transpose(block);
    transform_columns(block, CONSTANT_BITS + BETWEEN_BITS + 3); /* two passes' sqrt(8) are 3 bits */
    transpose(block);
    memcpy(rows, block, sizeof rows);
    for (int y = 0; y < 8; y++, out += out_stride) {
        int16x8 samples = rows[y] + 128;
        samples &= ~(samples >> 15);                 /* at least 0 */
        samples = (samples | (samples > 255)) & 255; /* at most 255 */
        uint8x8 bytes = __builtin_convertvector(samples, uint8x8);
        memcpy(out, &bytes, sizeof bytes);
    }
}
