/* conv_scratch.c: how much scratch memory a convolution needs: the largest of what its parts do. */
#include "winograd.h"

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t forward_scratch(const sqz_conv *conv, sqz_algorithm algorithm) {
    if (algorithm == SQZ_WINOGRAD) {
        sqz_winograd winograd = sqz_winograd_forward(&conv->shape, BLOCK);
        return SQZ_KERNEL(winograd_convolve_count)(&winograd);
    }
    sqz_frame frame = sqz_frame_forward(&conv->shape);
    return sqz_frame_count(&frame);
}

static size_t backward_data_scratch(const sqz_conv *conv, sqz_algorithm algorithm) {
    if (algorithm == SQZ_WINOGRAD) {
        sqz_winograd winograd = sqz_winograd_backward(&conv->shape, BLOCK);
        return SQZ_KERNEL(winograd_convolve_count)(&winograd);
    }
    sqz_frame frame = sqz_frame_backward(&conv->shape, BLOCK);
    return sqz_frame_count(&frame);
}

static size_t backward_weights_scratch(const sqz_conv *conv, sqz_algorithm algorithm) {
    return algorithm == SQZ_WINOGRAD
               ? SQZ_KERNEL(winograd_backward_weights_count)(&conv->shape)
               : forward_scratch(conv, SQZ_DIRECT); /* it reads the same frame */
}

size_t SQZ_KERNEL(conv_scratch)(const sqz_conv *conv) {
    const sqz_own_conv *own = conv->state;
    size_t count = forward_scratch(conv, own->forward);
    if (conv->use != SQZ_CONV_FORWARD)
        count = larger(count, backward_weights_scratch(conv, own->backward_weights));
    if (conv->use == SQZ_CONV_BACKWARD)
        count = larger(count, backward_data_scratch(conv, own->backward_data));
    return count;
}
