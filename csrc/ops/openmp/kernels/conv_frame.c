/* conv_frame.c: the source of a convolution with its padding written out, so that the inner loops
 * know no borders. The copy reads and writes each value once where the convolution uses it dozens
 * of times. See sqz_frame in kernels.h. */
#include "kernels.h"

#include <string.h>

/* The frame's columns first..end have a source, from the source's column `from` on. */
typedef struct {
    int first, end, from;
} inside;

static int clamp(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

static inside inside_row(const sqz_frame *frame) {
    int spacing = frame->spacing_w, from = frame->left < 0 ? -frame->left : 0;
    from = (from + spacing - 1) / spacing;
    int first = clamp(frame->left + from * spacing, 0, frame->w);
    int columns = frame->in_w > from ? (frame->in_w - from - 1) * spacing + 1 : 0;
    return (inside){first, clamp(first + columns, first, frame->w), from};
}

static void frame_row(float *row, const float *src_row, const sqz_frame *frame, inside in) {
    size_t lanes = (size_t)frame->lanes;
    if (frame->spacing_w != 1) {
        memset(row, 0, (size_t)frame->w * lanes * sizeof *row);
        for (int x = in.first, from = in.from; x < in.end; x += frame->spacing_w, from++)
            memcpy(row + (size_t)x * lanes, src_row + (size_t)from * lanes, lanes * sizeof *row);
        return;
    }
    memset(row, 0, (size_t)in.first * lanes * sizeof *row);
    memcpy(row + (size_t)in.first * lanes, src_row + (size_t)in.from * lanes,
           (size_t)(in.end - in.first) * lanes * sizeof *row);
    memset(row + (size_t)in.end * lanes, 0, (size_t)(frame->w - in.end) * lanes * sizeof *row);
}

void SQZ_KERNEL(conv_frame)(float *framed, const float *src, const sqz_frame *frame) {
    size_t row_floats = (size_t)frame->w * (size_t)frame->lanes;
    size_t src_row_floats = (size_t)frame->in_w * (size_t)frame->lanes;
    inside in = inside_row(frame);
    for (int block = 0; block < frame->blocks; block++) {
        for (int y = 0; y < frame->h; y++, framed += row_floats) {
            int distance = y - frame->top, from = distance / frame->spacing_h;
            if (distance < 0 || distance % frame->spacing_h || from >= frame->in_h)
                memset(framed, 0, row_floats * sizeof *framed);
            else
                frame_row(framed, src + (size_t)from * src_row_floats, frame, in);
        }
        src += (size_t)frame->in_h * src_row_floats;
    }
}
