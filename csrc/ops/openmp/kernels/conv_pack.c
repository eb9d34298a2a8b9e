/* conv_pack.c: weights [out_channels][in_channels][kernel_h][kernel_w] to and from the forms that
 * the convolutions read and write: see conv_forward.c and conv_backward_data.c. */
#include "kernels.h"

/* Where the weight (out, in, first tap) is in the form packed for forward, in floats; its other
 * taps follow at distances of in_block * BLOCK. */
static size_t forward_at(const sqz_conv_shape *shape, int out, int in) {
    size_t lanes = (size_t)shape->in_block, blocks = (size_t)shape->in_channels / lanes;
    size_t taps = (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    size_t block = (size_t)(out / BLOCK) * blocks + (size_t)in / lanes;
    return (block * taps * lanes + (size_t)in % lanes) * BLOCK + (size_t)(out % BLOCK);
}

static size_t backward_at(const sqz_conv_shape *shape, int out, int in) {
    size_t blocks = (size_t)(shape->out_channels / BLOCK);
    size_t taps = (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    size_t block = (size_t)(in / BLOCK) * blocks + (size_t)(out / BLOCK);
    return (block * taps * BLOCK + (size_t)(out % BLOCK)) * BLOCK + (size_t)(in % BLOCK);
}

sqz_status SQZ_KERNEL(conv_pack_forward)(const sqz_conv *conv, sqz_worker *worker, float *packed,
                                         const float *weights, sqz_error *error) {
    (void)worker;
    (void)error;
    const sqz_conv_shape *shape = &conv->shape;
    size_t taps = (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    size_t distance = (size_t)shape->in_block * BLOCK;
    for (int out = 0; out < shape->out_channels; out++)
        for (int in = 0; in < shape->in_channels; in++, weights += taps) {
            float *to = packed + forward_at(shape, out, in);
            for (size_t tap = 0; tap < taps; tap++)
                to[tap * distance] = weights[tap];
        }
    return SQZ_OK;
}

sqz_status SQZ_KERNEL(conv_pack_backward)(const sqz_conv *conv, sqz_worker *worker, float *packed,
                                          const float *weights, sqz_error *error) {
    (void)worker;
    (void)error;
    const sqz_conv_shape *shape = &conv->shape;
    size_t taps = (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    for (int out = 0; out < shape->out_channels; out++)
        for (int in = 0; in < shape->in_channels; in++, weights += taps) {
            float *to = packed + backward_at(shape, out, in);
            for (size_t tap = 0; tap < taps; tap++)
                to[tap * BLOCK * BLOCK] = weights[taps - 1 - tap];
        }
    return SQZ_OK;
}

sqz_status SQZ_KERNEL(conv_unpack_gradient)(const sqz_conv *conv, sqz_worker *worker,
                                            float *d_weights, const float *gradient,
                                            sqz_error *error) {
    (void)worker;
    (void)error;
    const sqz_conv_shape *shape = &conv->shape;
    size_t taps = (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    size_t distance = (size_t)shape->in_block * BLOCK;
    for (int out = 0; out < shape->out_channels; out++)
        for (int in = 0; in < shape->in_channels; in++, d_weights += taps) {
            const float *from = gradient + forward_at(shape, out, in);
            for (size_t tap = 0; tap < taps; tap++)
                d_weights[tap] = from[tap * distance];
        }
    return SQZ_OK;
}
