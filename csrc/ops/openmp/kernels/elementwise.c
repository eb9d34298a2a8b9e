/* elementwise.c: ReLU's gradient, the bias's, and sums. Activations [blocks][pixels][BLOCK]. */
#include "kernels.h"

/* Sums that grow side by side, so that an addition need not wait for the one before. */
enum { CHAINS = 4 };

ALWAYS_INLINE void bias_store(float *d_bias, const vec chains[CHAINS], bool accumulate) {
    vec sum = (chains[0] + chains[1]) + (chains[2] + chains[3]);
    vec_store(d_bias, accumulate ? vec_load(d_bias) + sum : sum);
}

void SQZ_KERNEL(relu_backward)(float *d_dst, float *d_bias, const float *dst, int blocks,
                               int pixels, bool accumulate) {
    for (int block = 0; block < blocks; block++, d_bias += BLOCK) {
        vec chains[CHAINS] = {{0}};
        for (int p = 0; p < pixels; p++, d_dst += BLOCK, dst += BLOCK) {
            vec d = vec_or_zero(vec_load(dst) > (vec){0}, vec_load(d_dst));
            vec_store(d_dst, d);
            chains[p % CHAINS] += d;
        }
        bias_store(d_bias, chains, accumulate);
    }
}

void SQZ_KERNEL(bias_backward)(float *d_bias, const float *d_dst, int blocks, int pixels,
                               bool accumulate) {
    for (int block = 0; block < blocks; block++, d_bias += BLOCK) {
        vec chains[CHAINS] = {{0}};
        for (int p = 0; p < pixels; p++, d_dst += BLOCK)
            chains[p % CHAINS] += vec_load(d_dst);
        bias_store(d_bias, chains, accumulate);
    }
}

void SQZ_KERNEL(sum)(float *dst, const float *a, const float *b, size_t count) {
    for (size_t i = 0; i < count; i += BLOCK)
        vec_store(dst + i, vec_load(a + i) + vec_load(b + i));
}
