/* kernels.h: the loops over pixels that are worth compiling once per instruction set.
 *
 * Each file of this folder is compiled with -DSQZ_KERNEL_ISA=baseline, avx2 or avx512, like those
 * of ops/openmp/kernels, in portable C with GCC's and Clang's vectors. All arithmetic is of
 * integers: every set gives the same bytes. sqz_image_kernels_find (image/kernels.c) chooses. */
#ifndef SQZ_IMAGE_KERNELS_KERNELS_H
#define SQZ_IMAGE_KERNELS_KERNELS_H

#include "../../base/cpu.h"

typedef struct {
    /* The three steps of a JPEG that stb_image lets one replace, with its signatures. They round as
     * libjpeg's defaults do. The inverse DCT of one block of dequantised coefficients, aligned to
     * 16 bytes, to out[8][out_stride]; */
    void (*jpeg_inverse_dct)(uint8_t *out, int out_stride, short coefficients[64]);
    /* out[2 w], returned, of two rows of w chroma samples that are halved both ways: the one that
     * the output row lies in and the other one next to it; */
    uint8_t *(*jpeg_upsample)(uint8_t *out, uint8_t *near, uint8_t *far, int w, int unused);
    /* out[count][3], RGB; `step` is 3. */
    void (*jpeg_to_rgb)(uint8_t *out, const uint8_t *luma, const uint8_t *blue, const uint8_t *red,
                        int count, int step);
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

#define SQZ_JOIN_(a, b) a##b
#define SQZ_JOIN(a, b) SQZ_JOIN_(a, b)
#define SQZ_KERNEL(name) SQZ_JOIN(sqz_##name##_, SQZ_KERNEL_ISA)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* How vectors wider than the register are passed: they are not, all such functions are inlined. */
#pragma GCC diagnostic ignored "-Wpsabi"

void SQZ_KERNEL(jpeg_inverse_dct)(uint8_t *out, int out_stride, short coefficients[64]);
uint8_t *SQZ_KERNEL(jpeg_upsample)(uint8_t *out, uint8_t *near, uint8_t *far, int w, int unused);
void SQZ_KERNEL(jpeg_to_rgb)(uint8_t *out, const uint8_t *luma, const uint8_t *blue,
                             const uint8_t *red, int count, int step);

#endif
#endif
