/* pool.c: what is done to bytes, and at last to sums, besides convolving: the largest of a window,
 * two added, the mean over all pixels. */
#include "integer.h"

#include <string.h>

/* The largest of h x w pixels of a channel block; of constants where this is inlined. */
ALWAYS_INLINE void window(uint8_t *to, const uint8_t *from, size_t row, int h, int w) {
    uint8_t largest[BLOCK];
    memcpy(largest, from, BLOCK);
#pragma GCC unroll 3
    for (int y = 0; y < h; y++)
#pragma GCC unroll 3
        for (int x = 0; x < w; x++) {
            const uint8_t *values = from + (size_t)y * row + (size_t)x * BLOCK;
            for (int c = 0; c < BLOCK; c++)
                largest[c] = values[c] > largest[c] ? values[c] : largest[c];
        }
    memcpy(to, largest, BLOCK);
}

static int least(int a, int b) {
    return a < b ? a : b;
}

void SQZ_INTEGER_KERNEL(integer_max_pool)(void *dst, uint8_t *argmax, const void *src,
                                          const sqz_pool_shape *shape) {
    (void)argmax; /* inference alone */
    uint8_t *to = dst;
    size_t row = (size_t)shape->in_w * BLOCK, plane = (size_t)shape->in_h * row;
    for (int block = 0; block < shape->channels / BLOCK; block++)
        for (int y = 0; y < shape->out_h; y++) {
            int top = y * shape->stride, h = least(shape->in_h - top, shape->kernel);
            const uint8_t *from = (const uint8_t *)src + (size_t)block * plane + (size_t)top * row;
            for (int x = 0; x < shape->out_w; x++, to += BLOCK) {
                int left = x * shape->stride, w = least(shape->in_w - left, shape->kernel);
                if (h == 3 && w == 3) /* nearly all of SqueezeNet's */
                    window(to, from + (size_t)left * BLOCK, row, 3, 3);
                else
                    window(to, from + (size_t)left * BLOCK, row, h, w);
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
