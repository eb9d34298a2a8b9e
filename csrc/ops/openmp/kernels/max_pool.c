/* max_pool.c: max pooling over [channels / BLOCK][h][w][BLOCK], a block of channels at a time.
 * argmax is a byte an element: the winner's row * kernel + column within its window. */
#include "kernels.h"

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* -- Forward ----------------------------------------------------------------------------------- */

/* One window of h x w pixels, which is smaller than the kernel only at the right and bottom edge.
 * Strictly greater wins, so that of equals the first does. */
ALWAYS_INLINE void window(float *dst, uint8_t *argmax, const float *src, size_t src_row, int h,
                          int w, int kernel) {
    vec best = vec_load(src);
    vec_int winner = {0};
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            vec value = vec_load(src + (size_t)y * src_row + (size_t)x * BLOCK);
            vec_int greater = value > best;
            best = vec_select(greater, value, best);
            if (argmax)
                winner = ((y * kernel + x) & greater) | (winner & ~greater);
        }
    vec_store(dst, best);
    if (argmax)
        vec_store_bytes(argmax, winner);
}

ALWAYS_INLINE void forward_row(float *dst, uint8_t *argmax, const float *src, size_t src_row, int h,
                               const sqz_pool_shape *shape, int kernel) {
    for (int x = 0; x < shape->out_w; x++) {
        int left = shape->in_w - x * shape->stride;
        const float *corner = src + (size_t)(x * shape->stride) * BLOCK;
        uint8_t *to = argmax ? argmax + (size_t)x * BLOCK : NULL;
        if (h == kernel && left >= kernel) /* constants, where the kernel is one */
            window(dst + (size_t)x * BLOCK, to, corner, src_row, kernel, kernel, kernel);
        else
            window(dst + (size_t)x * BLOCK, to, corner, src_row, h, smaller(left, kernel), kernel);
    }
}

void SQZ_KERNEL(max_pool_forward)(float *dst, uint8_t *argmax, const float *src,
                                  const sqz_pool_shape *shape) {
    size_t src_row = (size_t)shape->in_w * BLOCK, dst_row = (size_t)shape->out_w * BLOCK;
    for (int block = 0; block < shape->channels / BLOCK; block++) {
        for (int y = 0; y < shape->out_h; y++, dst += dst_row) {
            const float *from = src + (size_t)(y * shape->stride) * src_row;
            int h = smaller(shape->in_h - y * shape->stride, shape->kernel);
            if (shape->kernel == 3 && argmax)
                forward_row(dst, argmax, from, src_row, h, shape, 3);
            else if (shape->kernel == 3)
                forward_row(dst, NULL, from, src_row, h, shape, 3);
            else
                forward_row(dst, argmax, from, src_row, h, shape, shape->kernel);
            argmax = argmax ? argmax + dst_row : NULL;
        }
        src += (size_t)shape->in_h * src_row;
    }
}

/* -- Backward ---------------------------------------------------------------------------------- */

/* The windows that see a row (or column): those from first to last. */
typedef struct {
    int first, last;
} windows;

static windows windows_over(int at, int kernel, int stride, int count) {
    int first = at < kernel ? 0 : (at - kernel) / stride + 1;
    return (windows){first, smaller(at / stride, count - 1)};
}

/* The gradient of one source pixel: that of every window it has won. */
ALWAYS_INLINE vec won(const float *d_dst, const uint8_t *argmax, const sqz_pool_shape *shape, int y,
                      int x, windows rows, windows columns) {
    vec sum = {0};
    for (int row = rows.first; row <= rows.last; row++)
        for (int column = columns.first; column <= columns.last; column++) {
            size_t at = ((size_t)row * (size_t)shape->out_w + (size_t)column) * BLOCK;
            int tap = (y - row * shape->stride) * shape->kernel + x - column * shape->stride;
            vec_int winner = vec_load_bytes(argmax + at);
            sum += vec_or_zero(winner == tap, vec_load(d_dst + at));
        }
    return sum;
}

void SQZ_KERNEL(max_pool_backward)(float *d_src, const float *d_dst, const uint8_t *argmax,
                                   const sqz_pool_shape *shape, bool accumulate) {
    size_t dst_block = (size_t)shape->out_h * (size_t)shape->out_w * BLOCK;
    for (int block = 0; block < shape->channels / BLOCK; block++) {
        for (int y = 0; y < shape->in_h; y++) {
            windows rows = windows_over(y, shape->kernel, shape->stride, shape->out_h);
            for (int x = 0; x < shape->in_w; x++, d_src += BLOCK) {
                windows columns = windows_over(x, shape->kernel, shape->stride, shape->out_w);
                vec sum = won(d_dst, argmax, shape, y, x, rows, columns);
                vec_store(d_src, accumulate ? vec_load(d_src) + sum : sum);
            }
        }
        d_dst += dst_block;
        argmax += dst_block;
    }
}
