/* kernels.h: what the kernel files share, and what they offer to openmp.c.
 *
 * Each kernel file is compiled once per instruction set with -DSQZ_KERNEL_ISA=baseline, avx2 or
 * avx512. SQZ_KERNEL(conv_forward) is then sqz_conv_forward_avx512, and `vec` a vector as wide as
 * the register: BLOCK floats, one pixel of one channel block. The vectors are GCC's and Clang's
 * extension, so the same text serves every processor. A kernel works on one picture in one thread.
 */
#ifndef SQZ_OPS_OPENMP_KERNELS_KERNELS_H
#define SQZ_OPS_OPENMP_KERNELS_KERNELS_H

#include "../../ops.h"

/* Which sets this build has besides the baseline. */
#if defined(__x86_64__) && !defined(SQZ_ONLY_BASELINE)
#define SQZ_KERNELS_X86 1
#else
#define SQZ_KERNELS_X86 0
#endif

/* Scratch memory of one thread: the source of a convolution with its padding around it, or
 * transformed. */
struct sqz_worker {
    float *scratch;
};

/* How the parts of a convolution are computed, chosen by openmp.c: sqz_conv's state. */
typedef enum { SQZ_DIRECT, SQZ_WINOGRAD } sqz_algorithm;
typedef struct {
    sqz_algorithm forward, backward_data, backward_weights;
} sqz_own_conv;

/* A source laid out anew with the border, and for gradients of strided convolutions the gaps, that
 * a convolution is to see: [blocks][h][w][lanes]. Pixel (y, x) of the frame is the source's pixel
 * ((y - top) / spacing_h, (x - left) / spacing_w) where that is whole and inside, else zero. top
 * and left may be negative: then the frame cuts. */
typedef struct {
    int blocks, lanes; /* lanes: floats a pixel */
    int in_h, in_w;    /* of the source */
    int h, w, top, left, spacing_h, spacing_w;
} sqz_frame;

/* The frames that a convolution's forward and backward-weights, and its backward-data, read. */
sqz_frame sqz_frame_forward(const sqz_conv_shape *shape);
sqz_frame sqz_frame_backward(const sqz_conv_shape *shape, int block);
/* Floats of scratch memory: 0 if the source can be read where it is, SIZE_MAX if too many. */
size_t sqz_frame_count(const sqz_frame *frame);

/* A convolution without borders, forward or backward-data: a sum, for every pixel of dst, over the
 * source's channel blocks, the kernel's rows, and `inner` floats (columns times channels of a
 * block) that lie one behind the other in the source and in the packed weights,
 * [dst_blocks][src_blocks][kernel_h][inner][BLOCK]. */
typedef struct {
    float *dst; /* [dst_blocks][dst_h][dst_w][BLOCK] */
    const float *src, *packed;
    const float *bias; /* [dst_blocks][BLOCK], or NULL */
    int dst_blocks, dst_h, dst_w;
    int src_blocks, kernel_h, inner;
    size_t src_block, src_row;   /* floats from a block, a row to the next */
    size_t src_down, src_across; /* floats from a dst pixel's source to that of the next one */
    bool accumulate, relu;
} sqz_direct;

/* A 3x3 convolution of stride 1 by Winograd's algorithm: forward, or backward-data with source and
 * destination exchanged. Packed weights: winograd_pack.c. */
typedef struct {
    float *dst; /* [dst_blocks][dst_h][dst_w][BLOCK] */
    const float *src, *packed;
    const float *bias; /* [dst_blocks][BLOCK], or NULL */
    int dst_blocks, dst_h, dst_w;
    int src_blocks, src_h, src_w;
    int top, left; /* the padding */
    bool accumulate, relu;
} sqz_winograd;

/* All but the arrays: of the forward convolution, and of the one that gives d_src. */
sqz_winograd sqz_winograd_forward(const sqz_conv_shape *shape, int block);
sqz_winograd sqz_winograd_backward(const sqz_conv_shape *shape, int block);

/* Every kernel, as kernel(result, name, arguments). Those named like a function of the op table do
 * what ops.h says; conv_frame writes frame into `framed`; those named winograd overwrite, or add to
 * the gradient if `accumulate`, and use scratch memory; conv_scratch counts the floats of it that a
 * convolution needs. Laid out by hand: a list, not an
 * expression. */
/* clang-format off */
#define SQZ_KERNELS(kernel)                                                                        \
    kernel(void, conv_frame, (float *framed, const float *src, const sqz_frame *frame))            \
    kernel(void, conv_direct, (const sqz_direct *direct, sqz_part part))                           \
    kernel(void, winograd_convolve,                                                                \
           (const sqz_winograd *winograd, float *scratch, sqz_part part))                          \
    kernel(size_t, winograd_convolve_count, (const sqz_winograd *winograd))                        \
    kernel(void, winograd_backward_weights,                                                        \
           (float *gradient, float *scratch, const float *src, const float *d_dst,                 \
            const sqz_conv_shape *shape, bool accumulate))                                         \
    kernel(size_t, winograd_backward_weights_count, (const sqz_conv_shape *shape))                 \
    kernel(void, winograd_pack_forward,                                                            \
           (float *packed, const float *weights, const sqz_conv_shape *shape))                     \
    kernel(void, winograd_pack_backward,                                                           \
           (float *packed, const float *weights, const sqz_conv_shape *shape))                     \
    kernel(size_t, conv_scratch, (const sqz_conv *conv))                                           \
    kernel(sqz_status, conv_forward,                                                               \
           (const sqz_conv *conv, sqz_worker *worker, float *dst, const float *src,                \
            const float *packed, const float *bias, sqz_part part, sqz_error *error))              \
    kernel(sqz_status, conv_backward_data,                                                         \
           (const sqz_conv *conv, sqz_worker *worker, float *d_src, const float *d_dst,            \
            const float *packed, bool accumulate, sqz_error *error))                               \
    kernel(sqz_status, conv_backward_weights,                                                      \
           (const sqz_conv *conv, sqz_worker *worker, float *gradient, const float *src,           \
            const float *d_dst, bool accumulate, sqz_error *error))                                \
    kernel(sqz_status, conv_pack_forward,                                                          \
           (const sqz_conv *conv, sqz_worker *worker, float *packed, const float *weights,         \
            sqz_error *error))                                                                     \
    kernel(sqz_status, conv_pack_backward,                                                         \
           (const sqz_conv *conv, sqz_worker *worker, float *packed, const float *weights,         \
            sqz_error *error))                                                                     \
    kernel(sqz_status, conv_unpack_gradient,                                                       \
           (const sqz_conv *conv, sqz_worker *worker, float *d_weights, const float *gradient,     \
            sqz_error *error))                                                                     \
    kernel(void, relu_backward,                                                                    \
           (float *d_dst, float *d_bias, const float *dst, int blocks, int pixels,                 \
            bool accumulate))                                                                      \
    kernel(void, bias_backward,                                                                    \
           (float *d_bias, const float *d_dst, int blocks, int pixels, bool accumulate))           \
    kernel(void, max_pool_forward,                                                                 \
           (float *dst, uint8_t *argmax, const float *src, const sqz_pool_shape *shape))           \
    kernel(void, max_pool_backward,                                                                \
           (float *d_src, const float *d_dst, const uint8_t *argmax, const sqz_pool_shape *shape,  \
            bool accumulate))                                                                      \
    kernel(void, average_pool_forward, (float *dst, const float *src, int blocks, int pixels))     \
    kernel(void, average_pool_backward, (float *d_src, const float *d_dst, int blocks, int pixels))\
    kernel(void, dropout_forward,                                                                  \
           (float *dst, uint8_t *mask, const float *src, int blocks, int pixels,                   \
            const sqz_dropout *dropout))                                                           \
    kernel(void, dropout_backward,                                                                 \
           (float *d_src, const float *d_dst, const uint8_t *mask, int blocks, int pixels,         \
            const sqz_dropout *dropout))                                                           \
    kernel(void, sum, (float *dst, const float *a, const float *b, size_t count))
/* clang-format on */

#define SQZ_DECLARE_BASELINE(result, name, arguments) result sqz_##name##_baseline arguments;
SQZ_KERNELS(SQZ_DECLARE_BASELINE)
#if SQZ_KERNELS_X86
#define SQZ_DECLARE_AVX2(result, name, arguments) result sqz_##name##_avx2 arguments;
#define SQZ_DECLARE_AVX512(result, name, arguments) result sqz_##name##_avx512 arguments;
SQZ_KERNELS(SQZ_DECLARE_AVX2)
SQZ_KERNELS(SQZ_DECLARE_AVX512)
#endif

#ifdef SQZ_KERNEL_ISA /* within a kernel file */

#define SQZ_JOIN_(a, b) a##b
#define SQZ_JOIN(a, b) SQZ_JOIN_(a, b)
#define SQZ_KERNEL(name) SQZ_JOIN(sqz_##name##_, SQZ_KERNEL_ISA)

#define SQZ_BLOCK_baseline 4
#define SQZ_BLOCK_avx2 8
#define SQZ_BLOCK_avx512 16
#define BLOCK SQZ_JOIN(SQZ_BLOCK_, SQZ_KERNEL_ISA)

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A pixel of a channel block; what comparing two gives (0 or -1 a lane); and a byte a lane. GCC
 * converts between the last two lane by lane unless it goes by way of shorts. */
typedef float vec __attribute__((vector_size(4 * BLOCK)));
typedef int32_t vec_int __attribute__((vector_size(4 * BLOCK)));
typedef uint16_t vec_short __attribute__((vector_size(2 * BLOCK)));
typedef uint8_t vec_byte __attribute__((vector_size(BLOCK)));

/* Arrays are arrays of float or uint8_t first: through these types a vector of them is met. */
typedef vec vec_memory __attribute__((may_alias));
typedef vec_byte vec_byte_memory __attribute__((may_alias));

ALWAYS_INLINE vec vec_load(const float *from) {
    return *(const vec_memory *)from;
}
ALWAYS_INLINE void vec_store(float *to, vec value) {
    *(vec_memory *)to = value;
}
ALWAYS_INLINE vec_int vec_load_bytes(const uint8_t *from) {
    vec_byte bytes = *(const vec_byte_memory *)from;
    return __builtin_convertvector(__builtin_convertvector(bytes, vec_short), vec_int);
}
ALWAYS_INLINE void vec_store_bytes(uint8_t *to, vec_int value) {
    vec_short shorts = __builtin_convertvector(value, vec_short);
    *(vec_byte_memory *)to = __builtin_convertvector(shorts, vec_byte);
}
/* yes where the mask is -1, no where it is 0. */
ALWAYS_INLINE vec vec_select(vec_int mask, vec yes, vec no) {
    return (vec)(((vec_int)yes & mask) | ((vec_int)no & ~mask));
}
ALWAYS_INLINE vec vec_or_zero(vec_int mask, vec yes) {
    return (vec)((vec_int)yes & mask);
}

#endif
#endif
