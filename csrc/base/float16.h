/* float16.h: IEEE 754 binary16 as a form to store float32 in: 1 sign, 5 exponent (bias 15) and 10
 * fraction bits. */
#ifndef SQZ_BASE_FLOAT16_H
#define SQZ_BASE_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline float sqz_float16_widen(uint16_t half) {
    uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 0x3FFu;
    uint32_t bits = sign | (exponent + 127 - 15) << 23 | fraction << 13;
    float value;
    if (exponent == 0) /* zero, subnormal: fraction * 2^-24, exact in float32 */
        return (sign ? -0x1p-24f : 0x1p-24f) * (float)fraction;
    if (exponent == 31) /* infinity, NaN */
        bits = sign | 0x7F800000u | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest, ties to even, past the largest to infinity; a NaN stays one, and becomes quiet.
 */
static inline uint16_t sqz_float16_round(float value) {
    uint32_t bits, sign, size;
    memcpy(&bits, &value, sizeof bits);
    sign = bits >> 16 & 0x8000u;
    size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u | (size >> 13 & 0x3FFu));
    if (size >= 0x477FF000u) /* 65520, half way past the largest */
        return (uint16_t)(sign | 0x7C00u);
    if (size < 0x38800000u) { /* 2^-14, the smallest normal: 0.5 + size rounds to 2^-24 */
        float rounded;
        memcpy(&rounded, &size, sizeof rounded);
        rounded += 0.5f;
        memcpy(&size, &rounded, sizeof size);
        return (uint16_t)(sign | (size - 0x3F000000u));
    }
    return (uint16_t)(sign | (size + 0xFFF + (size >> 13 & 1) - ((127 - 15) << 23)) >> 13);
}

#endif
