/* kernels.h: the loops over pixels that are worth compiling once per instruction set.
 *
 * Each file of this folder is compiled with -DSQZ_KERNEL_ISA=baseline, avx2 or avx512, like those
 * of ops/openmp/kernels, in portable C with GCC's and Clang's vectors. All arithmetic is of
 * integers: every set gives the same bytes. sqz_image_kernels_find (image/kernels.c) chooses. */
#ifndef SQZ_IMAGE_KERNELS_KERNELS_H
#define SQZ_IMAGE_KERNELS_KERNELS_H

#include "../../base/cpu.h"

/* Weights of a resize have 22 fractional bits: 32 less 8 of the sample and 2 for sums of weights
 * that overshoot 1. Rows are resized four at a time. */
enum { SQZ_RESIZE_BITS = 32 - 8 - 2, SQZ_RESIZE_ROWS = 4 };

/* Output pixel x is the sum over vectors[x] * sqz_image_kernels.lanes samples from pixel first[x]
 * of the input on, each times the weight at its place from weights[x * stride] on: a pixel's weight
 * three times, for its three channels, then 0 as far as the vectors reach. */
typedef struct {
    int *first, *vectors;
    int32_t *weights;
    size_t stride;
} sqz_row_filter;

typedef struct {
    int lanes; /* samples in a vector of this set */
    /* The three steps of a JPEG that stb_image lets one replace, with its signatures. They round as
     * libjpeg's defaults do. The inverse DCT of one block of dequantised coefficients, which
     * are overwritten, to out[8][out_stride]; */
    void (*jpeg_inverse_dct)(uint8_t *out, int out_stride, short coefficients[64]);
    /* out[2 w], returned, of two rows of w chroma samples that are halved both ways: the one that
     * the output row lies in and the other one next to it; */
    uint8_t *(*jpeg_upsample)(uint8_t *out, uint8_t *near, uint8_t *far, int w, int unused);
    /* out[count][3], RGB; `step` is 3. */
    void (*jpeg_to_rgb)(uint8_t *out, const uint8_t *luma, const uint8_t *blue, const uint8_t *red,
                        int count, int step);
    /* out[i][out_w][3] of in[i], which can be read as far as the filter's vectors reach. */
    void (*resize_rows)(uint8_t *const out[SQZ_RESIZE_ROWS],
                        const uint8_t *const in[SQZ_RESIZE_ROWS], int out_w,
                        const sqz_row_filter *filter);
    /* out[row_bytes], of in[count][row_bytes] times weights[count]. */
    void (*resize_column)(uint8_t *out, const uint8_t *in, size_t row_bytes, const int32_t *weights,
                          int count);
} sqz_image_kernels;

extern const sqz_image_kernels sqz_image_kernels_baseline;
#if defined(__x86_64__) && !defined(SQZ_ONLY_BASELINE)
#define SQZ_IMAGE_KERNELS_X86 1
extern const sqz_image_kernels sqz_image_kernels_avx2, sqz_image_kernels_avx512;
#else
#define SQZ_IMAGE_KERNELS_X86 0
#endif

/* Those of the instruction set in use. SQZ_INVALID as sqz_cpu_isa. */
sqz_status sqz_image_kernels_find(const sqz_image_kernels **kernels, sqz_error *error);

#ifdef SQZ_KERNEL_ISA /* within a kernel file */

#include <string.h>

#define SQZ_JOIN_(a, b) a##b
#define SQZ_JOIN(a, b) SQZ_JOIN_(a, b)
#define SQZ_KERNEL(name) SQZ_JOIN(sqz_##name##_, SQZ_KERNEL_ISA)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* How vectors wider than the register are passed: they are not, all such functions are inlined. */
#pragma GCC diagnostic ignored "-Wpsabi"

/* LANES integers in a register, or half of it, or a quarter. (AVX-512 brings nothing here.) */
#define SQZ_LANES_baseline 4
#define SQZ_LANES_avx2 8
#define SQZ_LANES_avx512 8
#define LANES SQZ_JOIN(SQZ_LANES_, SQZ_KERNEL_ISA)
typedef int32_t vec __attribute__((vector_size(4 * LANES)));
typedef int16_t vec_short __attribute__((vector_size(2 * LANES)));
typedef uint8_t vec_byte __attribute__((vector_size(LANES)));
typedef uint8_t uint8x16 __attribute__((vector_size(16)));
typedef int16_t int16x8 __attribute__((vector_size(16)));
typedef int32_t int32x4 __attribute__((vector_size(16)));

/* Lanes of two vectors of a type, counted through both: GCC 11 has not Clang's builtin, and Clang
 * not GCC's. `lanes` is a vector type of integers, as many and as wide. */
#ifdef __clang__
#define SHUFFLE(lanes, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(lanes, a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})
#endif

/* Samples as integers. In this form GCC 12 makes one instruction of it with AVX2, three with SSE2.
 */
#if LANES == 8
ALWAYS_INLINE vec load_samples(const uint8_t *in) {
    vec_byte v;
    memcpy(&v, in, sizeof v);
    return (vec){v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
}
#else
ALWAYS_INLINE vec load_samples(const uint8_t *in) { /* interleaved with zeros twice */
    int32_t four;
    memcpy(&four, in, sizeof four);
    uint8x16 bytes = (uint8x16)(vec){four}, none = {0};
    bytes = SHUFFLE(uint8x16, bytes, none, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return (vec)SHUFFLE(int16x8, (int16x8)bytes, (int16x8)none, 0, 8, 1, 9, 2, 10, 3, 11);
}
#endif

/* Limited to 0..255. */
ALWAYS_INLINE vec limit_samples(vec samples) {
    samples &= ~(samples >> 31);
    return (samples | (samples > 255)) & 255;
}

void SQZ_KERNEL(jpeg_inverse_dct)(uint8_t *out, int out_stride, short coefficients[64]);
uint8_t *SQZ_KERNEL(jpeg_upsample)(uint8_t *out, uint8_t *near, uint8_t *far, int w, int unused);
void SQZ_KERNEL(jpeg_to_rgb)(uint8_t *out, const uint8_t *luma, const uint8_t *blue,
                             const uint8_t *red, int count, int step);
void SQZ_KERNEL(resize_rows)(uint8_t *const out[SQZ_RESIZE_ROWS],
                             const uint8_t *const in[SQZ_RESIZE_ROWS], int out_w,
                             const sqz_row_filter *filter);
void SQZ_KERNEL(resize_column)(uint8_t *out, const uint8_t *in, size_t row_bytes,
                               const int32_t *weights, int count);

#endif
#endif
