/* kernels.h: what the kernel files share, and what they offer to openmp.c.
 *
 * Each kernel file is compiled once per instruction set with -DSQZ_KERNEL_ISA=baseline, avx2 or
 * avx512. `vec` is then a vector as wide as the register: BLOCK floats, one pixel of one channel
 * block. The vectors are GCC's and Clang's extension, so the same text serves every processor. A
 * kernel works on one picture in one thread.
 *
 * Activations are arrays of `element`, which -DSQZ_KERNEL_ELEMENT=float32 (the default) or bfloat16
 * makes float or uint16_t; arithmetic is float32 in both. Most files are compiled for both, and
 * Winograd's convolutions, which convert inside their transforms; direct ones for float32 alone,
 * as conv_bfloat16.c does with them what bfloat16 asks for (csrc/sources.py has the list).
 * SQZ_KERNEL(sum) is sqz_sum_avx512_bfloat16. */
#ifndef SQZ_OPS_OPENMP_KERNELS_KERNELS_H
#define SQZ_OPS_OPENMP_KERNELS_KERNELS_H

#include "../../../base/bfloat16.h"
#include "../../ops.h"

/* Which sets this build has besides the baseline. */
#if defined(__x86_64__) && !defined(SQZ_ONLY_BASELINE)
#define SQZ_KERNELS_X86 1
#else
#define SQZ_KERNELS_X86 0
#endif

/* Scratch memory of one thread: the source of a convolution with its padding around it, or
 * transformed; and in a bfloat16 table one convolution's weights and, if it is direct, its arrays
 * in float32. */
struct sqz_worker {
    float *scratch;
    float *wide_src, *wide_dst, *wide_weights;
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
    bool accumulate;
    sqz_nonlinearity nonlinearity;
} sqz_direct;

/* A 3x3 convolution of stride 1 by Winograd's algorithm: forward, or backward-data with source and
 * destination exchanged. Packed weights: winograd_pack.c. */
typedef struct {
    void *dst;       /* elements: [dst_blocks][dst_h][dst_w][BLOCK] */
    const void *src; /* elements */
    const float *packed;
    const float *bias; /* [dst_blocks][BLOCK], or NULL */
    int dst_blocks, dst_h, dst_w;
    int src_blocks, src_h, src_w;
    int top, left; /* the padding */
    bool accumulate;
    sqz_nonlinearity nonlinearity;
} sqz_winograd;

/* All but the arrays: of the forward convolution, and of the one that gives d_src. */
sqz_winograd sqz_winograd_forward(const sqz_conv_shape *shape, int block);
sqz_winograd sqz_winograd_backward(const sqz_conv_shape *shape, int block);

/* The kernels for float32 alone, as kernel(result, name, arguments): conv_frame writes frame into
 * `framed`; conv_scratch counts the floats of scratch memory that a convolution needs. Laid out by
 * hand: lists, not expressions. */
/* clang-format off */
#define SQZ_FLOAT_KERNELS(kernel)                                                                  \
    kernel(void, conv_frame, (float *framed, const float *src, const sqz_frame *frame))            \
    kernel(void, conv_direct, (const sqz_direct *direct, sqz_part part))                           \
    kernel(void, winograd_pack_forward,                                                            \
           (float *packed, const float *weights, const sqz_conv_shape *shape))                     \
    kernel(void, winograd_pack_backward,                                                           \
           (float *packed, const float *weights, const sqz_conv_shape *shape))                     \
    kernel(size_t, conv_scratch, (const sqz_conv *conv))

/* The kernels of the op table, as kernel(name): each has the type of the table's member of that
 * name, and does what ops.h says. */
#define SQZ_KERNELS(kernel)                                                                        \
    kernel(conv_forward) kernel(conv_backward_data) kernel(conv_backward_weights)                  \
    kernel(conv_pack_forward) kernel(conv_pack_backward) kernel(conv_unpack_gradient)              \
    kernel(nonlinearity_backward) kernel(max_pool_forward) kernel(max_pool_backward)               \
    kernel(average_pool_forward) kernel(average_pool_backward)                                     \
    kernel(dropout_forward) kernel(dropout_backward)                                               \
    kernel(sum) kernel(round)

/* Those of a convolution by Winograd's algorithm: sqz_winograd_conv_forward_avx2_float32 has the type
 * of the table's conv_forward. And the floats of scratch memory that they use, of either element. */
#define SQZ_WINOGRAD_KERNELS(kernel)                                                               \
    kernel(conv_forward) kernel(conv_backward_data) kernel(conv_backward_weights)
#define SQZ_WINOGRAD_COUNTS(kernel)                                                                \
    kernel(size_t, winograd_convolve_count, (const sqz_winograd *winograd))                        \
    kernel(size_t, winograd_backward_weights_count, (const sqz_conv_shape *shape))
/* clang-format on */

#if SQZ_KERNELS_X86
#define SQZ_DECLARE(type, name, element)                                                           \
    __typeof__(type) sqz_##name##_baseline_##element, sqz_##name##_avx2_##element,                 \
        sqz_##name##_avx512_##element;
#else
#define SQZ_DECLARE(type, name, element) __typeof__(type) sqz_##name##_baseline_##element;
#endif
#define SQZ_DECLARE_FLOAT(result, name, arguments) SQZ_DECLARE(result arguments, name, float32)
#define SQZ_DECLARE_BOTH(name)                                                                     \
    SQZ_DECLARE(*((sqz_ops *)0)->name, name, float32)                                              \
    SQZ_DECLARE(*((sqz_ops *)0)->name, name, bfloat16)
#define SQZ_DECLARE_WINOGRAD(name)                                                                 \
    SQZ_DECLARE(*((sqz_ops *)0)->name, winograd_##name, float32)                                   \
    SQZ_DECLARE(*((sqz_ops *)0)->name, winograd_##name, bfloat16)
#define SQZ_DECLARE_COUNT(result, name, arguments)                                                 \
    SQZ_DECLARE(result arguments, name, float32)                                                   \
    SQZ_DECLARE(result arguments, name, bfloat16)
SQZ_FLOAT_KERNELS(SQZ_DECLARE_FLOAT)
SQZ_KERNELS(SQZ_DECLARE_BOTH)
SQZ_WINOGRAD_KERNELS(SQZ_DECLARE_WINOGRAD)
SQZ_WINOGRAD_COUNTS(SQZ_DECLARE_COUNT)

#ifdef SQZ_KERNEL_ISA /* within a kernel file */

#ifndef SQZ_KERNEL_ELEMENT
#define SQZ_KERNEL_ELEMENT float32
#endif

#define SQZ_JOIN_(a, b) a##b
#define SQZ_JOIN(a, b) SQZ_JOIN_(a, b)
#define SQZ_NAME_(name, isa, element) sqz_##name##_##isa##_##element
#define SQZ_NAME(name, isa, element) SQZ_NAME_(name, isa, element)
#define SQZ_KERNEL(name) SQZ_NAME(name, SQZ_KERNEL_ISA, SQZ_KERNEL_ELEMENT)
/* The kernel for float32, from one for bfloat16. */
#define SQZ_FLOAT_KERNEL(name) SQZ_NAME(name, SQZ_KERNEL_ISA, float32)

#define SQZ_BLOCK_baseline 4
#define SQZ_BLOCK_avx2 8
#define SQZ_BLOCK_avx512 16
#define BLOCK SQZ_JOIN(SQZ_BLOCK_, SQZ_KERNEL_ISA)

#define SQZ_ELEMENT_BYTES_float32 4
#define SQZ_ELEMENT_BYTES_bfloat16 2
#define ELEMENT_BYTES SQZ_JOIN(SQZ_ELEMENT_BYTES_, SQZ_KERNEL_ELEMENT)

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A pixel of a channel block; what comparing two gives (0 or -1 a lane); and shorts of one pixel or
 * of two, and a byte a lane. */
typedef float vec __attribute__((vector_size(4 * BLOCK)));
typedef int32_t vec_int __attribute__((vector_size(4 * BLOCK)));
typedef uint32_t vec_bits __attribute__((vector_size(4 * BLOCK)));
typedef uint16_t vec_short __attribute__((vector_size(2 * BLOCK)));
typedef uint16_t vec_shorts __attribute__((vector_size(4 * BLOCK)));
typedef uint8_t vec_byte __attribute__((vector_size(BLOCK)));

/* Arrays are arrays of float, uint16_t or uint8_t first: through these types a vector of them is
 * met. */
typedef vec vec_memory __attribute__((may_alias));
typedef vec vec_anywhere __attribute__((may_alias, aligned(4)));
typedef vec_short vec_short_memory __attribute__((may_alias));
typedef vec_shorts vec_shorts_anywhere __attribute__((may_alias, aligned(2)));
typedef vec_byte vec_byte_memory __attribute__((may_alias));

ALWAYS_INLINE vec vec_load(const float *from) {
    return *(const vec_memory *)from;
}
ALWAYS_INLINE void vec_store(float *to, vec value) {
    *(vec_memory *)to = value;
}
/* Lane by lane and through memory: GCC makes one instruction of such a loop, where it converts a
 * vector of 512 bits by halves. */
ALWAYS_INLINE vec_bits shorts_widen(vec_short shorts) {
    uint16_t from[BLOCK];
    uint32_t to[BLOCK];
    __builtin_memcpy(from, &shorts, sizeof from);
    for (int i = 0; i < BLOCK; i++)
        to[i] = from[i];
    vec_bits bits;
    __builtin_memcpy(&bits, to, sizeof bits);
    return bits;
}
ALWAYS_INLINE vec_short shorts_narrow(vec_bits bits) {
    uint32_t from[BLOCK];
    uint16_t to[BLOCK];
    __builtin_memcpy(from, &bits, sizeof from);
    for (int i = 0; i < BLOCK; i++)
        to[i] = (uint16_t)from[i];
    vec_short shorts;
    __builtin_memcpy(&shorts, to, sizeof shorts);
    return shorts;
}
ALWAYS_INLINE vec_int vec_load_bytes(const uint8_t *from) {
    int32_t to[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        to[i] = from[i];
    vec_int value;
    __builtin_memcpy(&value, to, sizeof value);
    return value;
}
/* By way of shorts: else GCC converts to bytes lane by lane. */
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
/* What a convolution's sum becomes at the end; NaN stays. */
ALWAYS_INLINE vec vec_nonlinearity(vec sum, sqz_nonlinearity nonlinearity) {
    return nonlinearity.relu ? vec_or_zero(~(sum < (vec){0}), sum) : sum;
}

/* A pixel of a channel block of an activation, as numbers (element_) or as its bits, whole numbers
 * with a sign (bits_), which are chosen among and compared without being converted. bfloat16 as in
 * base/bfloat16.h. */
#if ELEMENT_BYTES == 2
typedef uint16_t element;
typedef int16_t element_signed;
typedef int16_t vec_signed __attribute__((vector_size(2 * BLOCK)));
ALWAYS_INLINE vec element_load(const element *from) {
    vec_short halves = *(const vec_short_memory *)from;
    return (vec)(shorts_widen(halves) << 16);
}
ALWAYS_INLINE element element_of(float value) {
    return sqz_bfloat16_round(value);
}
ALWAYS_INLINE void element_store(element *to, vec value) {
    vec_bits bits = (vec_bits)value, nan = (vec_bits)(value != value);
    vec_bits nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    vec_bits quiet = bits >> 16 | 0x40;
    *(vec_short_memory *)to = shorts_narrow((quiet & nan) | (nearest & ~nan));
}
/* The same of a sum of elements: a NaN in it has an empty lower half, and cannot overflow. */
ALWAYS_INLINE vec_bits sum_nearest(vec sum) {
    vec_bits bits = (vec_bits)sum;
    return bits + 0x7FFF + (bits >> 16 & 1);
}
ALWAYS_INLINE void element_store_sum(element *to, vec sum) {
    *(vec_short_memory *)to = shorts_narrow(sum_nearest(sum) >> 16);
}
/* And of two, one pixel after the other: the upper halves of both are one vector. */
ALWAYS_INLINE void element_store_sums(element *to, vec first, vec second) {
#ifdef __clang__
    element_store_sum(to, first);
    element_store_sum(to + BLOCK, second);
#else
    vec_shorts upper;
    for (int i = 0; i < 2 * BLOCK; i++)
        upper[i] = (uint16_t)(2 * i + 1);
    *(vec_shorts_anywhere *)to =
        __builtin_shuffle((vec_shorts)sum_nearest(first), (vec_shorts)sum_nearest(second), upper);
#endif
}
ALWAYS_INLINE vec bits_value(vec_signed bits) {
    return (vec)(shorts_widen((vec_short)bits) << 16);
}
ALWAYS_INLINE void bits_store_bytes(uint8_t *to, vec_signed value) {
    *(vec_byte_memory *)to = __builtin_convertvector(value, vec_byte);
}
/* -1 where the number is greater than 0, which NaN is not: where the bits are from 1 to 0x7F80,
 * infinity's. Adding 0x7FFF makes of these -0x8000 to -0x81, and no others: one comparison. */
ALWAYS_INLINE vec_signed bits_positive(vec_signed bits) {
    return (vec_signed)((vec_short)bits + 0x7FFF) < -0x80;
}
#else
typedef float element;
typedef int32_t element_signed;
typedef vec_int vec_signed;
ALWAYS_INLINE vec element_load(const element *from) {
    return vec_load(from);
}
ALWAYS_INLINE element element_of(float value) {
    return value;
}
ALWAYS_INLINE void element_store(element *to, vec value) {
    vec_store(to, value);
}
ALWAYS_INLINE void element_store_sum(element *to, vec sum) {
    vec_store(to, sum);
}
ALWAYS_INLINE void element_store_sums(element *to, vec first, vec second) {
    vec_store(to, first);
    vec_store(to + BLOCK, second);
}
ALWAYS_INLINE vec bits_value(vec_signed bits) {
    return (vec)bits;
}
ALWAYS_INLINE void bits_store_bytes(uint8_t *to, vec_signed value) {
    vec_store_bytes(to, value);
}
ALWAYS_INLINE vec_signed bits_positive(vec_signed bits) {
    return (vec)bits > (vec){0};
}
#endif
typedef vec_signed vec_signed_memory __attribute__((may_alias));
ALWAYS_INLINE vec_signed bits_load(const element *from) {
    return *(const vec_signed_memory *)from;
}
ALWAYS_INLINE void bits_store(element *to, vec_signed bits) {
    *(vec_signed_memory *)to = bits;
}

#endif
#endif
