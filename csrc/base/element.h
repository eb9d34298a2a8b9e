/* element.h: the types that an array of activations can be of. */
#ifndef SQZ_BASE_ELEMENT_H
#define SQZ_BASE_ELEMENT_H

#include "bfloat16.h"

#include <stddef.h>

typedef enum {
    SQZ_ELEMENT_FLOAT32,
    SQZ_ELEMENT_BFLOAT16,
    SQZ_ELEMENT_UINT8,
    SQZ_ELEMENT_INT32
} sqz_element;

static inline size_t sqz_element_bytes(sqz_element element) {
    static const size_t bytes[] = {sizeof(float), sizeof(uint16_t), sizeof(uint8_t),
                                   sizeof(int32_t)};
    return bytes[element];
}

static inline const char *sqz_element_name(sqz_element element) {
    static const char *const names[] = {"float32", "bfloat16", "uint8", "int32"};
    return names[element];
}

/* Element `at` of an array, as float32: an int32 is rounded to the nearest, ties to even. */
static inline float sqz_element_get(sqz_element element, const void *array, size_t at) {
    switch (element) {
    case SQZ_ELEMENT_FLOAT32:
        break;
    case SQZ_ELEMENT_BFLOAT16:
        return sqz_bfloat16_widen(((const uint16_t *)array)[at]);
    case SQZ_ELEMENT_UINT8:
        return ((const uint8_t *)array)[at];
    case SQZ_ELEMENT_INT32:
        return (float)((const int32_t *)array)[at];
    }
    return ((const float *)array)[at];
}

/* Of the two that hold fractions; bfloat16 is rounded to. */
static inline void sqz_element_put(sqz_element element, void *array, size_t at, float value) {
    if (element == SQZ_ELEMENT_BFLOAT16)
        ((uint16_t *)array)[at] = sqz_bfloat16_round(value);
    else
        ((float *)array)[at] = value;
}

#endif
