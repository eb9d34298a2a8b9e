/* average_pool.c: the mean over all pixels. Activations [blocks][pixels][BLOCK]; means are float32,
 * one a channel. */
#include "kernels.h"

void SQZ_KERNEL(average_pool_forward)(float *dst, const void *src, int blocks, int pixels) {
    /* A mean is a bias gradient divided: the sum over pixels is the same. */
    const sqz_nonlinearity none = {.relu = false};
    SQZ_KERNEL(nonlinearity_backward)((void *)src, dst, NULL, blocks, pixels, none, false);
    for (int block = 0; block < blocks; block++, dst += BLOCK)
        vec_store(dst, vec_load(dst) / (float)pixels);
}

void SQZ_KERNEL(average_pool_backward)(void *d_src, const float *d_dst, int blocks, int pixels) {
    element *to = d_src;
    for (int block = 0; block < blocks; block++, d_dst += BLOCK) {
        vec share = vec_load(d_dst) / (float)pixels;
        for (int p = 0; p < pixels; p++, to += BLOCK)
            element_store(to, share);
    }
}
