/* pool.c: what is done to bytes, and at last to sums, besides convolving: the largest of a window,
 * two added, the mean over all pixels. */
#include "integer.h"

#include <string.h>

/* Pixels of the source that are looked at together. */
enum { STRIP = 128 };

static int least(int a, int b) {
    return a < b ? a : b;
}

/* `out` pixels of a row, of `in` pixels of h rows: the largest of each column, then of `kernel`
 * columns. Nothing is less than 0, so zeros stand for columns that a window has no more, and the
 * last row for such rows. kernel and stride are constants where this is inlined. */
ALWAYS_INLINE void strip(uint8_t *restrict to, const uint8_t *restrict from, size_t row, int h,
                         int in, int out, int kernel, int stride) {
    uint8_t columns[STRIP * BLOCK];
    size_t end = (size_t)in * BLOCK, width = (size_t)((out - 1) * stride + kernel) * BLOCK;
    for (size_t i = 0; i < end; i++) {
        uint8_t largest = from[i];
        for (int y = 1; y < kernel; y++) {
            uint8_t value = from[(size_t)(y < h ? y : h - 1) * row + i];
            largest = value > largest ? value : largest;
        }
        columns[i] = largest;
    }
    memset(columns + end, 0, width - end);
    for (int x = 0; x < out; x++)
        for (int c = 0; c < BLOCK; c++) {
            const uint8_t *at = columns + x * stride * BLOCK + c;
            uint8_t largest = at[0];
            for (int j = 1; j < kernel; j++)
                largest = at[j * BLOCK] > largest ? at[j * BLOCK] : largest;
            to[x * BLOCK + c] = largest;
        }
}

void SQZ_INTEGER_KERNEL(integer_max_pool)(void *dst, uint8_t *argmax, const void *src,
                                          const sqz_pool_shape *shape, sqz_part part) {
    (void)argmax; /* inference alone */
    /* By rows, as convolutions are: whoever made them has them at hand. */
    sqz_span rows = sqz_part_span(part, (size_t)shape->out_h);
    int kernel = shape->kernel, stride = shape->stride, most = (STRIP - kernel) / stride + 1;
    size_t row = (size_t)shape->in_w * BLOCK, plane = (size_t)shape->in_h * row;
    for (int block = 0; block < shape->channels / BLOCK; block++)
        for (int y = (int)rows.begin; y < (int)rows.end; y++) {
            uint8_t *to = (uint8_t *)dst + ((size_t)block * (size_t)shape->out_h + (size_t)y) *
                                               (size_t)shape->out_w * BLOCK;
            int top = y * stride, h = least(shape->in_h - top, kernel);
            const uint8_t *from = (const uint8_t *)src + (size_t)block * plane + (size_t)top * row;
            for (int x = 0; x < shape->out_w; x += most) {
                int out = least(shape->out_w - x, most), left = x * stride;
                int in = least(shape->in_w - left, (out - 1) * stride + kernel);
                if (kernel == 3 && stride == 2) /* SqueezeNet's */
                    strip(to, from + (size_t)left * BLOCK, row, h, in, out, 3, 2);
                else
                    strip(to, from + (size_t)left * BLOCK, row, h, in, out, kernel, stride);
                to += (size_t)out * BLOCK;
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
