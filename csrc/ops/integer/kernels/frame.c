/* frame.c: see sqz_integer_frame and sqz_integer_patches in integer.h. */
#include "integer.h"

#include <string.h>

#if STEP == 4
typedef uint8_t term;
#else
typedef int16_t term;
#endif

static void copy(term *to, const uint8_t *from, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

void SQZ_INTEGER_KERNEL(integer_frame)(void *framed, const uint8_t *src,
                                       const sqz_integer_frame *frame) {
    term *to = framed;
    size_t lanes = (size_t)frame->lanes, row = (size_t)frame->w * lanes;
    size_t before = (size_t)frame->left * lanes, in_row = (size_t)frame->in_w * lanes;
    size_t copied = in_row < row - before ? in_row : row - before;
    for (int block = 0; block < frame->blocks; block++, src += (size_t)frame->in_h * in_row)
        for (int y = 0; y < frame->h; y++, to += row) {
            int from = y - frame->top;
            if (from < 0 || from >= frame->in_h) {
                memset(to, 0, row * sizeof *to);
                continue;
            }
            memset(to, 0, before * sizeof *to);
            copy(to + before, src + (size_t)from * in_row, copied);
            memset(to + before + copied, 0, (row - before - copied) * sizeof *to);
        }
}

/* One row of every patch. A constant `copied`, more than the row has, makes a copy one or two
 * instructions; what is too much is overwritten by the patch's next row, or lies behind it. */
ALWAYS_INLINE void patch_rows(term *restrict to, const uint8_t *restrict from,
                              const sqz_integer_patches *shape, int copied) {
    for (int i = 0; i < shape->count; i++, to += SQZ_INTEGER_PATCH, from += shape->src_across)
        for (int j = 0; j < copied; j++)
            to[j] = from[j];
}

void SQZ_INTEGER_KERNEL(integer_patches)(void *patches, const uint8_t *src,
                                         const sqz_integer_patches *shape) {
    enum { SHORT = SQZ_INTEGER_PATCH_ROW / 2, LONG = SQZ_INTEGER_PATCH_ROW };
    term *to = patches;
    for (int row = 0; row < shape->kernel_h; row++, to += shape->row_terms, src += shape->src_row) {
        const uint8_t *last = src + (size_t)(shape->count - 1) * shape->src_across;
        size_t left = (size_t)(shape->end - last);
        if (shape->row_terms <= SHORT && left >= SHORT)
            patch_rows(to, src, shape, SHORT);
        else if (left >= LONG)
            patch_rows(to, src, shape, LONG);
        else
            patch_rows(to, src, shape, shape->row_terms);
    }
}
