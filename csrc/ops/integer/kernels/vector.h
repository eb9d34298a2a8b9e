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

/* clamp(sum * multiplier, 0, 255), rounded half to even: to 2^23 a float has no fraction left. */
ALWAYS_INLINE void requantise(uint8_t *to, vec_int sum, vec multiplier) {
    const vec most = (vec){0} + 255.0f, whole = (vec){0} + 8388608.0f;
    vec value = __builtin_convertvector(sum, vec) * multiplier;
#if BLOCK == 16
    value = (vec)_mm512_max_ps(_mm512_min_ps((__m512)value, (__m512)most), _mm512_setzero_ps());
    _mm512_mask_cvtepi32_storeu_epi8(to, 0xFFFF, (__m512i)(value + whole));
#elif BLOCK == 8
    value = (vec)_mm256_max_ps(_mm256_min_ps((__m256)value, (__m256)most), _mm256_setzero_ps());
    /* the low bytes of each half's words, then both together */
    const __m256i low =
        _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, /* high */
                         0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i bytes = _mm256_shuffle_epi8((__m256i)(value + whole), low);
    __m128i both =
        _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    _mm_storel_epi64((__m128i *)(void *)to, both);
#else
    for (int i = 0; i < BLOCK; i++) {
        float one = value[i] < 255.0f ? value[i] : 255.0f;
        one = (one > 0.0f ? one : 0.0f) + whole[i];
        uint32_t bits;
        __builtin_memcpy(&bits, &one, sizeof bits);
        to[i] = (uint8_t)bits;
    }
    (void)most;
#endif
}

#endif
