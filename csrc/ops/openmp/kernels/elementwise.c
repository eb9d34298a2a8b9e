/* elementwise.c: ReLU's gradient, the bias's, sums, and rounding. Activations
 * [blocks][pixels][BLOCK]. */
#include "kernels.h"

/* Sums that grow side by side, so that an addition need not wait for the one before. */
enum { CHAINS = 4 };

ALWAYS_INLINE void bias_store(float *d_bias, const vec chains[CHAINS], bool accumulate) {
    vec sum = (chains[0] + chains[1]) + (chains[2] + chains[3]);
    vec_store(d_bias, accumulate ? vec_load(d_bias) + sum : sum);
}

static void relu_backward(void *d_dst, float *d_bias, const void *dst, int blocks, int pixels,
                          bool accumulate) {
    element *d_at = d_dst;
    const element *at = dst;
    for (int block = 0; block < blocks; block++, d_bias += BLOCK) {
        vec chains[CHAINS] = {{0}};
        for (int p = 0; p < pixels; p++, d_at += BLOCK, at += BLOCK) {
            vec_signed d = bits_load(d_at) & bits_positive(bits_load(at));
            bits_store(d_at, d);
            chains[p % CHAINS] += bits_value(d);
        }
        bias_store(d_bias, chains, accumulate);
    }
}

static void bias_backward(float *d_bias, const void *d_dst, int blocks, int pixels,
                          bool accumulate) {
    const element *d_at = d_dst;
    for (int block = 0; block < blocks; block++, d_bias += BLOCK) {
        vec chains[CHAINS] = {{0}};
        int p = 0;
        for (; p + CHAINS <= pixels; p += CHAINS)
            for (int i = 0; i < CHAINS; i++, d_at += BLOCK)
                chains[i] += element_load(d_at);
        for (int i = 0; p < pixels; p++, i++, d_at += BLOCK)
            chains[i] += element_load(d_at);
        bias_store(d_bias, chains, accumulate);
    }
}

void SQZ_KERNEL(nonlinearity_backward)(void *d_dst, float *d_bias, const void *dst, int blocks,
                                       int pixels, sqz_nonlinearity nonlinearity, bool accumulate) {
    if (nonlinearity.relu)
        relu_backward(d_dst, d_bias, dst, blocks, pixels, accumulate);
    else
        bias_backward(d_bias, d_dst, blocks, pixels, accumulate);
}

void SQZ_KERNEL(sum)(void *dst, const void *a, const void *b, size_t count) {
    element *to = dst;
    const element *left = a, *right = b;
    for (size_t i = 0; i < count; i += BLOCK)
        element_store_sum(to + i, element_load(left + i) + element_load(right + i));
}

void SQZ_KERNEL(round)(void *dst, const float *src, size_t count) {
    element *to = dst;
    size_t whole = count - count % BLOCK;
    for (size_t i = 0; i < whole; i += BLOCK)
        element_store(to + i, *(const vec_anywhere *)(src + i));
    for (size_t i = whole; i < count; i++)
        to[i] = element_of(src[i]);
}
