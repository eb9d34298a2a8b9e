/* conv_bfloat16.c: convolutions of bfloat16 activations. Winograd's convert inside their
 * transforms; direct ones go by way of float32's: what is read is widened into the worker's float32
 * arrays, what is written is rounded out of them. Each element is converted once where a
 * convolution uses it dozens of times, so this is hardly slower than float32; nor is it faster. It
 * serves to see, on any CPU, what bfloat16 does to a network.
 *
 * Packed weights are float32 of the float32 forms, holding bfloat16's values; the weights' gradient
 * is float32. */
#include "kernels.h"

static size_t src_count(const sqz_conv *conv) {
    const sqz_conv_shape *shape = &conv->shape;
    return (size_t)shape->in_channels * (size_t)shape->in_h * (size_t)shape->in_w;
}

static size_t dst_count(const sqz_conv *conv) {
    const sqz_conv_shape *shape = &conv->shape;
    return (size_t)shape->out_channels * (size_t)shape->out_h * (size_t)shape->out_w;
}

/* wide becomes src; the last elements of a planar source fill no vector. */
static void widen(float *wide, const element *src, size_t count) {
    size_t whole = count - count % BLOCK;
    for (size_t i = 0; i < whole; i += BLOCK)
        vec_store(wide + i, element_load(src + i));
    for (size_t i = whole; i < count; i++)
        wide[i] = sqz_bfloat16_widen(src[i]);
}

/* dst becomes wide, count elements, a multiple of BLOCK. */
static void narrow(element *dst, const float *wide, size_t count) {
    for (size_t i = 0; i < count; i += BLOCK)
        element_store(dst + i, vec_load(wide + i));
}

static const sqz_own_conv *own_of(const sqz_conv *conv) {
    return conv->state;
}

/* The weights, in bfloat16's values. */
static const float *rounded(const sqz_conv *conv, sqz_worker *worker, const float *weights) {
    const sqz_conv_shape *shape = &conv->shape;
    size_t count = (size_t)shape->out_channels * (size_t)shape->in_channels *
                   (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    for (size_t i = 0; i < count; i++)
        worker->wide_weights[i] = sqz_bfloat16_widen(sqz_bfloat16_round(weights[i]));
    return worker->wide_weights;
}

sqz_status SQZ_KERNEL(conv_pack_forward)(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                         const float *weights, sqz_error *error) {
    return SQZ_FLOAT_KERNEL(conv_pack_forward)(conv, worker, packed, rounded(conv, worker, weights),
                                               error);
}

sqz_status SQZ_KERNEL(conv_pack_backward)(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                          const float *weights, sqz_error *error) {
    return SQZ_FLOAT_KERNEL(conv_pack_backward)(conv, worker, packed,
                                                rounded(conv, worker, weights), error);
}

sqz_status SQZ_KERNEL(conv_unpack_gradient)(const sqz_conv *conv, sqz_worker *worker,
                                            float *d_weights, const float *gradient,
                                            sqz_error *error) {
    return SQZ_FLOAT_KERNEL(conv_unpack_gradient)(conv, worker, d_weights, gradient, error);
}

sqz_status SQZ_KERNEL(conv_forward)(const sqz_conv *conv, sqz_worker *worker, void *dst,
                                    const void *src, const void *packed, const float *bias,
                                    sqz_part part, sqz_error *error) {
    if (own_of(conv)->forward == SQZ_WINOGRAD)
        return SQZ_KERNEL(winograd_conv_forward)(conv, worker, dst, src, packed, bias, part, error);
    if (part.index > 0) /* the first does it all: threads have no speed to win here */
        return SQZ_OK;
    widen(worker->wide_src, src, src_count(conv));
    SQZ_TRY(SQZ_FLOAT_KERNEL(conv_forward)(conv, worker, worker->wide_dst, worker->wide_src, packed,
                                           bias, sqz_part_whole, error));
    narrow(dst, worker->wide_dst, dst_count(conv));
    return SQZ_OK;
}

sqz_status SQZ_KERNEL(conv_backward_data)(const sqz_conv *conv, sqz_worker *worker, void *d_src,
                                          const void *d_dst, const void *packed, bool accumulate,
                                          sqz_error *error) {
    if (own_of(conv)->backward_data == SQZ_WINOGRAD)
        return SQZ_KERNEL(winograd_conv_backward_data)(conv, worker, d_src, d_dst, packed,
                                                       accumulate, error);
    widen(worker->wide_dst, d_dst, dst_count(conv));
    if (accumulate)
        widen(worker->wide_src, d_src, src_count(conv));
    SQZ_TRY(SQZ_FLOAT_KERNEL(conv_backward_data)(conv, worker, worker->wide_src, worker->wide_dst,
                                                 packed, accumulate, error));
    narrow(d_src, worker->wide_src, src_count(conv));
    return SQZ_OK;
}

sqz_status SQZ_KERNEL(conv_backward_weights)(const sqz_conv *conv, sqz_worker *worker,
                                             float *gradient, const void *src, const void *d_dst,
                                             bool accumulate, sqz_error *error) {
    if (own_of(conv)->backward_weights == SQZ_WINOGRAD)
        return SQZ_KERNEL(winograd_conv_backward_weights)(conv, worker, gradient, src, d_dst,
                                                          accumulate, error);
    widen(worker->wide_src, src, src_count(conv));
    widen(worker->wide_dst, d_dst, dst_count(conv));
    return SQZ_FLOAT_KERNEL(conv_backward_weights)(conv, worker, gradient, worker->wide_src,
                                                   worker->wide_dst, accumulate, error);
}
