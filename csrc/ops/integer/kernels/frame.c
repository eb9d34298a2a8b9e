/* frame.c: see sqz_integer_frame in integer.h. */
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
