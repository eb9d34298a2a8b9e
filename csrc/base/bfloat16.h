/* bfloat16.h: bfloat16 as a form to store float32 in: its upper half. Sign and exponent are whole,
 * 8 bits of precision are left. */
#ifndef SQZ_BASE_BFLOAT16_H
#define SQZ_BASE_BFLOAT16_H

#include <stdint.h>
#include <string.h>

static inline float sqz_bfloat16_widen(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest, ties to even, past the largest to infinity; denormals are numbers like others,
 * and a NaN stays one (it becomes quiet, so that cutting its low half cannot make it infinite). */
static inline uint16_t sqz_bfloat16_round(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

#endif
