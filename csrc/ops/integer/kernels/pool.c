/* pool.c: what is done to bytes, and at last to sums, besides convolving: the largest of a window,
 * two added, the mean over all pixels. */
#include "integer.h"

#include <string.h>

void SQZ_INTEGER_KERNEL(integer_max_pool)(void *dst, uint8_t *argmax, const void *src,
                                          const sqz_pool_shape *shape) {
    (void)argmax; /* inference alone */
    uint8_t *to = dst;
    size_t row = (size_t)shape->in_w * BLOCK, plane = (size_t)shape->in_h * row;
    for (int block = 0; block < shape->channels / BLOCK; block++)
        for (int y = 0; y < shape->out_h; y++) {
            int top = y * shape->stride;
            int h = shape->in_h - top < shape->kernel ? shape->in_h - top : shape->kernel;
            for (int x = 0; x < shape->out_w; x++, to += BLOCK) {
                int left = x * shape->stride;
                int w = shape->in_w - left < shape->kernel ? shape->in_w - left : shape->kernel;
                const uint8_t *window = (const uint8_t *)src + (size_t)block * plane +
                                        (size_t)top * row + (size_t)left * BLOCK;
                uint8_t largest[BLOCK] = {0};
                for (int i = 0; i < h; i++)
                    for (int j = 0; j < w; j++) {
                        const uint8_t *values = window + (size_t)i * row + (size_t)j * BLOCK;
                        for (int c = 0; c < BLOCK; c++)
                            largest[c] = values[c] > largest[c] ? values[c] : largest[c];
                    }
                memcpy(to, largest, BLOCK);
            }
        }
}

void SQZ_INTEGER_KERNEL(integer_sum)(void *dst, const void *a, const void *b, size_t count) {
    uint8_t *to = dst;
    const uint8_t *left = a, *right = b;
    for (size_t i = 0; i < count; i++) {
        int sum = left[i] + right[i];
        to[i] = (uint8_t)(sum < 255 ? sum : 255);
    }
}

void SQZ_INTEGER_KERNEL(integer_average_pool)(float *dst, const void *src, int blocks, int pixels,
                                              const float *scales) {
    const int32_t *from = src;
    for (int block = 0; block < blocks; block++, dst += BLOCK, scales += BLOCK) {
        int64_t totals[BLOCK] = {0};
        for (int p = 0; p < pixels; p++, from += BLOCK)
            for (int i = 0; i < BLOCK; i++)
                totals[i] += from[i];
        for (int i = 0; i < BLOCK; i++)
            dst[i] = (float)totals[i] * scales[i];
    }
}
