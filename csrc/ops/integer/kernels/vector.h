/* vector.h: the two things that are done to one vector of sums. C has no form for them that
 * compilers make these instructions of, so here alone are intrinsics; a plain form stands beside.
 */
#ifndef SQZ_OPS_INTEGER_KERNELS_VECTOR_H
#define SQZ_OPS_INTEGER_KERNELS_VECTOR_H

#include "integer.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* sum + weights * word: in every lane the STEP products of its weights and the word's terms. */
ALWAYS_INLINE vec_int grow(vec_int sum, vec_int weights, int32_t word) {
#if BLOCK == 16 && STEP == 4
    return (vec_int)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(word), (__m512i)weights);
#elif BLOCK == 16
    return sum + (vec_int)_mm512_madd_epi16((__m512i)weights, _mm512_set1_epi32(word));
#elif BLOCK == 8 && STEP == 4
    return (vec_int)_mm256_dpbusd_avx_epi32((__m256i)sum, _mm256_set1_epi32(word),
                                            (__m256i)weights);
#elif BLOCK == 8
    return sum + (vec_int)_mm256_madd_epi16((__m256i)weights, _mm256_set1_epi32(word));
#elif defined(__SSE2__)
    return sum + (vec_int)_mm_madd_epi16((__m128i)weights, _mm_set1_epi32(word));
#else
    int16_t terms[2];
    __builtin_memcpy(terms, &word, sizeof terms);
    int16_t pairs[2 * BLOCK];
    __builtin_memcpy(pairs, &weights, sizeof pairs);
    for (int i = 0; i < BLOCK; i++)
        sum[i] += pairs[2 * i] * terms[0] + pairs[2 * i + 1] * terms[1];
    return sum;
#endif
}

/* Pixels whose bytes fill a register: they are requantised together. */
enum { TOGETHER = 4 };

/* Whether a product of a sum and one of the multipliers may be beyond 32 bits. */
ALWAYS_INLINE bool reaches_1(vec multiplier) {
#if BLOCK == 16
    return _mm512_cmp_ps_mask((__m512)multiplier, _mm512_set1_ps(1), _CMP_GE_OQ) != 0;
#elif BLOCK == 8
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)multiplier, _mm256_set1_ps(1), _CMP_GE_OQ));
#else
    return multiplier[0] >= 1 || multiplier[1] >= 1 || multiplier[2] >= 1 || multiplier[3] >= 1;
#endif
}

#if BLOCK > 4 || defined(__SSE2__)
/* sum * multiplier, rounded half to even. What is beyond 32 bits becomes the least of them; where
 * that may be (`far`), what is above 255 becomes 255 before. */
ALWAYS_INLINE vec_int whole(vec_int sum, vec multiplier, bool far) {
    vec value = __builtin_convertvector(sum, vec) * multiplier;
#if BLOCK == 16
    return (vec_int)_mm512_cvtps_epi32(far ? _mm512_min_ps((__m512)value, _mm512_set1_ps(255))
                                           : (__m512)value);
#elif BLOCK == 8
    return (vec_int)_mm256_cvtps_epi32(far ? _mm256_min_ps((__m256)value, _mm256_set1_ps(255))
                                           : (__m256)value);
#else
    return (vec_int)_mm_cvtps_epi32(far ? _mm_min_ps((__m128)value, _mm_set1_ps(255))
                                        : (__m128)value);
#endif
}

/* The bytes of four vectors, one behind the other, each number clamped to 0..255. */
ALWAYS_INLINE vec_int pack(vec_int a, vec_int b, vec_int c, vec_int d) {
#if BLOCK == 16
    __m512i low = _mm512_packs_epi32((__m512i)a, (__m512i)b);
    __m512i bytes = _mm512_packus_epi16(low, _mm512_packs_epi32((__m512i)c, (__m512i)d));
    /* each quarter has four channels of every pixel */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return (vec_int)_mm512_permutexvar_epi32(order, bytes);
#elif BLOCK == 8
    __m256i low = _mm256_packs_epi32((__m256i)a, (__m256i)b);
    __m256i bytes = _mm256_packus_epi16(low, _mm256_packs_epi32((__m256i)c, (__m256i)d));
    /* each half has four channels of every pixel */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return (vec_int)_mm256_permutevar8x32_epi32(bytes, order);
#else
    __m128i low = _mm_packs_epi32((__m128i)a, (__m128i)b);
    return (vec_int)_mm_packus_epi16(low, _mm_packs_epi32((__m128i)c, (__m128i)d));
#endif
}
#endif

/* clamp(sum * multiplier, 0, 255), rounded half to even, of 1 to TOGETHER pixels, which lie one
 * behind the other. Packing clamps; `far`: of reaches_1. */
ALWAYS_INLINE void requantise(uint8_t *to, const vec_int *sums, vec multiplier, int pixels,
                              bool far) {
#if BLOCK > 4 || defined(__SSE2__)
    vec_int a = whole(sums[0], multiplier, far), b = a, c = a, d = a;
    if (pixels > 1)
        b = whole(sums[1], multiplier, far);
    if (pixels > 2)
        c = whole(sums[2], multiplier, far);
    if (pixels > 3)
        d = whole(sums[3], multiplier, far);
    vec_int bytes = pack(a, b, c, d);
    __builtin_memcpy(to, &bytes, (size_t)pixels * BLOCK);
#else
    (void)far;
    for (int p = 0; p < pixels; p++, sums++, to += BLOCK)
        for (int i = 0; i < BLOCK; i++) {
            float one = (float)(*sums)[i] * multiplier[i];
            one = one < 255.0f ? one : 255.0f;
            one = (one > 0.0f ? one : 0.0f) + 8388608.0f; /* 2^23: no fraction is left */
            uint32_t bits;
            __builtin_memcpy(&bits, &one, sizeof bits);
            to[i] = (uint8_t)bits;
        }
#endif
}

#endif
