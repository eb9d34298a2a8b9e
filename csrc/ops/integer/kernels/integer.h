/* integer.h: what the integer kernels share, and what they offer to integer.c. The arithmetic is
 * defined in csrc/README.md; every set gives the same bits.
 *
 * Each file here is compiled once for each integer instruction set, -DSQZ_INTEGER_SET=baseline,
 * avx2, avx2vnni, avx512 or avx512vnni. A vector is one pixel of one channel block: BLOCK numbers
 * of 32 bits. A sum grows by a step at a time: a word of 32 bits holds STEP terms of one pixel's
 * source, four bytes where there is an instruction that multiplies these by four weights (VNNI),
 * else two numbers of 16 bits, into which the bytes are widened before: the instruction for bytes
 * that AVX2 has saturates on the way. */
#ifndef SQZ_OPS_INTEGER_KERNELS_INTEGER_H
#define SQZ_OPS_INTEGER_KERNELS_INTEGER_H

#include "../../../base/part.h"
#include "../../ops.h"

#if defined(__x86_64__) && !defined(SQZ_ONLY_BASELINE)
#define SQZ_INTEGER_X86 1
#else
#define SQZ_INTEGER_X86 0
#endif

/* A convolution without borders: for every pixel of dst, a sum over the source's channel blocks,
 * the kernel's rows, and `inner` words that lie one behind the other in the source and in the
 * packed weights, [dst_blocks][src_blocks][kernel_h][inner][BLOCK] words. Distances are in bytes.
 */
typedef struct {
    void *dst;        /* [dst_blocks][dst_h][dst_w][BLOCK], of bytes, or of int32 if `sums` */
    size_t dst_block; /* elements from a block to the next: dst may be some rows of a taller one */
    const unsigned char *src;
    const int32_t *packed;
    const int32_t *bias;      /* [dst_blocks][BLOCK] */
    const float *multipliers; /* likewise; not used if `sums` */
    int dst_blocks, dst_h, dst_w;
    int src_blocks, kernel_h, inner;
    size_t src_block, src_row; /* from a block, a row to the next */
    size_t src_down;           /* from the source of a row of dst to that of the next one */
    bool patches; /* the next pixel's source is a patch further; else a block of terms */
    bool sums;
    bool relu; /* if `sums`: a requantised byte is never below 0 anyway */
} sqz_integer_conv;

/* Terms from a pixel's patch to the next one's; and those that a row of a patch may overwrite past
 * its last. */
enum { SQZ_INTEGER_PATCH = 160, SQZ_INTEGER_PATCH_ROW = 32 };

/* The patches of an RGB picture that a row of dst is made of, `count` pixels, one patch behind the
 * other, and in each its kernel_h rows of row_terms terms. What lies between a patch and the next
 * one is arbitrary: it meets weights of 0. */
typedef struct {
    int count, kernel_h;
    int row_terms;              /* 3 kernel_w, at most SQZ_INTEGER_PATCH_ROW */
    size_t src_row, src_across; /* bytes from a row of the picture, a patch to the next one */
    const uint8_t *end;         /* of the picture: nothing is read there */
} sqz_integer_patches;

/* Rows of a source as a convolution reads them, with zeros around and every term in the bytes that
 * it has in a word: [blocks][h][w][lanes] terms, of which row y is the source's row y - top. */
typedef struct {
    int blocks, lanes; /* lanes: terms a pixel */
    int in_h, in_w;    /* of the source */
    int h, w, top, left;
} sqz_integer_frame;

/* Blocks of dst that are computed together. */
enum { SQZ_INTEGER_GROUP = 2 };

/* Tiles of 2 x 2 pixels (winograd.c), `count` from `first` on of those of some rows of dst, row by
 * row. Products are [POSITIONS][GROUP][TILES][BLOCK], transformed terms
 * [POSITIONS][src_blocks][TILES][BLOCK]. */
enum { SQZ_INTEGER_POSITIONS = 16, SQZ_INTEGER_TILES = 24 };
typedef struct {
    int first, count, across; /* across: tiles in a row */
    int src_blocks;
    size_t src_row, src_block; /* of the framed source, in terms */
    uint8_t *dst;              /* the rows' first pixel */
    int dst_blocks, dst_h, dst_w;
    size_t dst_block;
    const int32_t *bias;
    const float *multipliers;
} sqz_integer_winograd;

/* clang-format off */
#define SQZ_INTEGER_KERNELS(kernel)                                                                \
    kernel(void, integer_frame,                                                                    \
           (void *framed, const uint8_t *src, const sqz_integer_frame *frame))                     \
    kernel(void, integer_patches,                                                                  \
           (void *patches, const uint8_t *src, const sqz_integer_patches *shape))                  \
    kernel(void, integer_convolve, (const sqz_integer_conv *conv))                                 \
    kernel(void, integer_winograd_source,                                                          \
           (int16_t *transformed, const int16_t *framed, const sqz_integer_winograd *tiles))       \
    kernel(void, integer_winograd_result,                                                          \
           (const int32_t *products, const sqz_integer_winograd *tiles))                           \
    kernel(void, integer_max_pool,                                                                 \
           (void *dst, uint8_t *argmax, const void *src, const sqz_pool_shape *shape,              \
            sqz_part part))                                                                        \
    kernel(void, integer_sum, (void *dst, const void *a, const void *b, size_t count))             \
    kernel(void, integer_average_pool,                                                             \
           (float *dst, const void *src, int blocks, int pixels, const float *scales))
/* clang-format on */

#define SQZ_INTEGER_DECLARE_baseline(result, name, arguments)                                      \
    result sqz_##name##_baseline arguments;
SQZ_INTEGER_KERNELS(SQZ_INTEGER_DECLARE_baseline)
#if SQZ_INTEGER_X86
#define SQZ_INTEGER_DECLARE_x86(result, name, arguments)                                           \
    result sqz_##name##_avx2 arguments;                                                            \
    result sqz_##name##_avx2vnni arguments;                                                        \
    result sqz_##name##_avx512 arguments;                                                          \
    result sqz_##name##_avx512vnni arguments;
SQZ_INTEGER_KERNELS(SQZ_INTEGER_DECLARE_x86)
#endif

/* What differs between the sets. */
typedef struct {
    const char *name;
    int block, step; /* terms in a word */
    void (*frame)(void *framed, const uint8_t *src, const sqz_integer_frame *frame);
    void (*patches)(void *patches, const uint8_t *src, const sqz_integer_patches *shape);
    void (*convolve)(const sqz_integer_conv *conv);
    void (*winograd_source)(int16_t *transformed, const int16_t *framed,
                            const sqz_integer_winograd *tiles);
    void (*winograd_result)(const int32_t *products, const sqz_integer_winograd *tiles);
} sqz_integer_set;

#ifdef SQZ_INTEGER_SET /* within a kernel file */

#define SQZ_INTEGER_NAME_(name, set) sqz_##name##_##set
#define SQZ_INTEGER_NAME(name, set) SQZ_INTEGER_NAME_(name, set)
#define SQZ_INTEGER_KERNEL(name) SQZ_INTEGER_NAME(name, SQZ_INTEGER_SET)

#if defined(__AVX512BW__)
#define BLOCK 16
#elif defined(__AVX2__)
#define BLOCK 8
#else
#define BLOCK 4
#endif
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define STEP 4
#else
#define STEP 2
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef int32_t vec_int __attribute__((vector_size(4 * BLOCK)));
typedef float vec __attribute__((vector_size(4 * BLOCK)));
typedef uint8_t vec_byte __attribute__((vector_size(BLOCK)));

/* Arrays are arrays of numbers first: through these types a vector of them is met. */
typedef vec_int vec_int_memory __attribute__((may_alias));
typedef vec vec_memory __attribute__((may_alias));
typedef vec_byte vec_byte_memory __attribute__((may_alias));

#endif
#endif
