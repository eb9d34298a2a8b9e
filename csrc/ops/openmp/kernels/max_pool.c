/* max_pool.c: max pooling over [channels / BLOCK][h][w][BLOCK], a block of channels at a time.
 * argmax is a byte an element: the winner's row * kernel + column within its window. */
#include "kernels.h"

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* -- Forward ----------------------------------------------------------------------------------- */

/* A window of h x w pixels is smaller than the kernel only at the right and bottom edge. Strictly
 * greater wins, so that of equals the first does; but a NaN wins too and is never beaten by a
 * number, as in PyTorch.
 *
 * What comes from a ReLU has no sign, and then the bits, as whole numbers, are in the order of the
 * values, with NaN above all: so a window is done by whole numbers first, in the width of the
 * element and without converting bfloat16. It returns a vector with a sign where there was one. */
ALWAYS_INLINE vec_signed window_by_bits(element *dst, uint8_t *argmax, const element *src,
                                        size_t src_row, int h, int w, int kernel) {
    vec_signed best = bits_load(src), winner = {0}, seen = best;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            vec_signed value = bits_load(src + (size_t)y * src_row + (size_t)x * BLOCK);
            vec_signed greater = value > best;
            best = (value & greater) | (best & ~greater);
            seen |= value;
            if (argmax)
                winner = ((element_signed)(y * kernel + x) & greater) | (winner & ~greater);
        }
    bits_store(dst, best);
    if (argmax)
        bits_store_bytes(argmax, winner);
    return seen;
}

/* The same for numbers of either sign. */
ALWAYS_INLINE void window_by_value(element *dst, uint8_t *argmax, const element *src,
                                   size_t src_row, int h, int w, int kernel) {
    vec best = element_load(src);
    vec_int winner = {0};
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            vec value = element_load(src + (size_t)y * src_row + (size_t)x * BLOCK);
            vec_int greater = (value > best) | (value != value);
            best = vec_select(greater, value, best);
            winner = ((y * kernel + x) & greater) | (winner & ~greater);
        }
    element_store(dst, best);
    if (argmax)
        vec_store_bytes(argmax, winner);
}

ALWAYS_INLINE bool any_sign(vec_signed seen) {
    element_signed all = 0;
    for (int i = 0; i < BLOCK; i++)
        all |= seen[i];
    return all < 0;
}

ALWAYS_INLINE void forward_row(element *dst, uint8_t *argmax, const element *src, size_t src_row,
                               int h, const sqz_pool_shape *shape, int kernel) {
    vec_signed seen = {0};
    for (int x = 0; x < shape->out_w; x++) {
        int left = shape->in_w - x * shape->stride;
        const element *corner = src + (size_t)(x * shape->stride) * BLOCK;
        element *to = dst + (size_t)x * BLOCK;
        uint8_t *to_argmax = argmax ? argmax + (size_t)x * BLOCK : NULL;
        if (h == kernel && left >= kernel) /* constants, where the kernel is one */
            seen |= window_by_bits(to, to_argmax, corner, src_row, kernel, kernel, kernel);
        else
            seen |=
                window_by_bits(to, to_argmax, corner, src_row, h, smaller(left, kernel), kernel);
    }
    if (!any_sign(seen))
        return;
    for (int x = 0; x < shape->out_w; x++) {
        int left = shape->in_w - x * shape->stride;
        window_by_value(dst + (size_t)x * BLOCK, argmax ? argmax + (size_t)x * BLOCK : NULL,
                        src + (size_t)(x * shape->stride) * BLOCK, src_row, h,
                        smaller(left, kernel), kernel);
    }
}

void SQZ_KERNEL(max_pool_forward)(void *dst, uint8_t *argmax, const void *src,
                                  const sqz_pool_shape *shape, sqz_part part) {
    sqz_span blocks = sqz_part_span(part, (size_t)shape->channels / BLOCK);
    size_t src_row = (size_t)shape->in_w * BLOCK, dst_row = (size_t)shape->out_w * BLOCK;
    size_t first = blocks.begin * (size_t)shape->out_h * dst_row;
    element *to = (element *)dst + first;
    const element *at = (const element *)src + blocks.begin * (size_t)shape->in_h * src_row;
    argmax = argmax ? argmax + first : NULL;
    for (size_t block = blocks.begin; block < blocks.end; block++) {
        for (int y = 0; y < shape->out_h; y++, to += dst_row) {
            const element *from = at + (size_t)(y * shape->stride) * src_row;
            int h = smaller(shape->in_h - y * shape->stride, shape->kernel);
            if (shape->kernel == 3 && argmax)
                forward_row(to, argmax, from, src_row, h, shape, 3);
            else if (shape->kernel == 3)
                forward_row(to, NULL, from, src_row, h, shape, 3);
            else
                forward_row(to, argmax, from, src_row, h, shape, shape->kernel);
            argmax = argmax ? argmax + dst_row : NULL;
        }
        at += (size_t)shape->in_h * src_row;
    }
}

/* -- Backward ---------------------------------------------------------------------------------- */

ALWAYS_INLINE void put(element *d_src, vec sum, bool accumulate) {
    element_store_sum(d_src, accumulate ? element_load(d_src) + sum : sum);
}

/* The windows that see a row (or column): those from first to last. */
typedef struct {
    int first, last;
} windows;

static windows windows_over(int at, int kernel, int stride, int count) {
    int first = at < kernel ? 0 : (at - kernel) / stride + 1;
    return (windows){first, smaller(at / stride, count - 1)};
}

/* The gradient of one source pixel: that of every window it has won. */
ALWAYS_INLINE vec won(const element *d_dst, const uint8_t *argmax, const sqz_pool_shape *shape,
                      int y, int x, windows rows, windows columns) {
    vec sum = {0};
    for (int row = rows.first; row <= rows.last; row++)
        for (int column = columns.first; column <= columns.last; column++) {
            size_t at = ((size_t)row * (size_t)shape->out_w + (size_t)column) * BLOCK;
            int tap = (y - row * shape->stride) * shape->kernel + x - column * shape->stride;
            vec_int winner = vec_load_bytes(argmax + at);
            sum += vec_or_zero(winner == tap, element_load(d_dst + at));
        }
    return sum;
}

static void general_row(element *d_src, const element *d_dst, const uint8_t *argmax,
                        const sqz_pool_shape *shape, int y, bool accumulate) {
    windows rows = windows_over(y, shape->kernel, shape->stride, shape->out_h);
    for (int x = 0; x < shape->in_w; x++) {
        windows columns = windows_over(x, shape->kernel, shape->stride, shape->out_w);
        vec sum = won(d_dst, argmax, shape, y, x, rows, columns);
        put(d_src + (size_t)x * BLOCK, sum, accumulate);
    }
}

/* Kernel 3, stride 2, SqueezeNet's: a window shares its last column with the next one's first, so
 * that column's sum is carried over. One or two rows of windows, from `first` on, see row y. */
ALWAYS_INLINE void row_3_2(element *d_src, const element *d_dst, const uint8_t *argmax,
                           const sqz_pool_shape *shape, int y, int first, int rows,
                           bool accumulate) {
    size_t dst_row = (size_t)shape->out_w * BLOCK, at = (size_t)first * dst_row;
    vec carried = {0};
    for (int x = 0; x < shape->out_w; x++, at += BLOCK, d_src += 2 * BLOCK) {
        vec left = carried, middle = {0};
        carried = (vec){0};
        for (int row = 0; row < rows; row++) {
            int tap = (y - 2 * (first + row)) * 3;
            vec_int winner = vec_load_bytes(argmax + at + (size_t)row * dst_row);
            vec d = element_load(d_dst + at + (size_t)row * dst_row);
            left += vec_or_zero(winner == tap, d);
            middle += vec_or_zero(winner == tap + 1, d);
            carried += vec_or_zero(winner == tap + 2, d);
        }
        if (accumulate)
            left += element_load(d_src);
        if (2 * x + 1 == shape->in_w) {
            element_store_sum(d_src, left);
            break;
        }
        if (accumulate)
            middle += element_load(d_src + BLOCK);
        element_store_sums(d_src, left, middle);
    }
    if (2 * shape->out_w < shape->in_w)
        put(d_src, carried, accumulate);
}

void SQZ_KERNEL(max_pool_backward)(void *d_src, const void *d_dst, const uint8_t *argmax,
                                   const sqz_pool_shape *shape, bool accumulate) {
    element *to = d_src;
    const element *from = d_dst;
    size_t dst_block = (size_t)shape->out_h * (size_t)shape->out_w * BLOCK;
    for (int block = 0; block < shape->channels / BLOCK; block++) {
        for (int y = 0; y < shape->in_h; y++, to += (size_t)shape->in_w * BLOCK) {
            windows rows = windows_over(y, shape->kernel, shape->stride, shape->out_h);
            if (shape->kernel != 3 || shape->stride != 2)
                general_row(to, from, argmax, shape, y, accumulate);
            else if (rows.first == rows.last)
                row_3_2(to, from, argmax, shape, y, rows.first, 1, accumulate);
            else
                row_3_2(to, from, argmax, shape, y, rows.first, 2, accumulate);
        }
        from += dst_block;
        argmax += dst_block;
    }
}
