/* fit.c: from a picture of any shape to the network's square, by the tutorial's way or ImageNet's.
 *
 * Sides are computed in Pillow's and Python's own doubles, where int() cuts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/memory.h"
#include "resize.h"

/* A side of the picture in the tutorial's square. For some longer sides the longer side comes out
 * one short of `size`. */
static int padded_side(int side, double scale, int size) {
    int fitted = (int)(side * scale);
    return fitted < 1 ? 1 : fitted > size ? size : fitted;
}

static sqz_status pad(uint8_t *out, int size, const uint8_t *in, int in_h, int in_w,
                      sqz_error *error) {
    double scale = size / (double)(in_h > in_w ? in_h : in_w);
    int h = padded_side(in_h, scale, size), w = padded_side(in_w, scale, size);
    size_t fitted_bytes = sqz_size_multiply(3 * (size_t)w, (size_t)h);
    uint8_t *fitted = malloc(fitted_bytes);
    if (!fitted)
        return sqz_fail_memory(error, "a picture that is fitted", fitted_bytes);
    sqz_status status = sqz_image_resize(fitted, h, w, in, in_h, in_w, error);
    if (status == SQZ_OK) {
        size_t row_bytes = 3 * (size_t)size;
        memset(out, 0, row_bytes * (size_t)size);
        out += (size_t)((size - h) / 2) * row_bytes + 3 * (size_t)((size - w) / 2);
        for (int y = 0; y < h; y++)
            memcpy(out + (size_t)y * row_bytes, fitted + 3 * (size_t)w * (size_t)y, 3 * (size_t)w);
    }
    free(fitted);
    return status;
}

/* The middle `size` samples of a side that is resized so that the shorter one has `shorter`. The
 * whole may be far larger than memory, of a thin picture. */
static sqz_resize_part middle(int side, int shorter_side, int64_t shorter, int size) {
    int64_t whole = (int64_t)((double)(shorter * side) / shorter_side);
    return (sqz_resize_part){whole, llrint((double)(whole - size) / 2.0), size};
}

static sqz_status crop(uint8_t *out, int size, const uint8_t *in, int in_h, int in_w,
                       sqz_error *error) {
    int shorter_side = in_h < in_w ? in_h : in_w;
    int64_t shorter = (int64_t)size * 256 / 224;
    return sqz_image_resize_part(out, middle(in_h, shorter_side, shorter, size),
                                 middle(in_w, shorter_side, shorter, size), in, in_h, in_w, error);
}

sqz_status sqz_image_fit(uint8_t *out, int size, sqz_fit fit, const uint8_t *in, int in_h, int in_w,
                         sqz_error *error) {
    const int sides[] = {in_h, in_w, size};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        if (sides[i] < 1 || sides[i] > SQZ_IMAGE_MAX_SIDE)
            return sqz_fail(error, SQZ_INVALID,
                            "cannot fit %d x %d (h x w) into a square of %d: every side is 1 to %d",
                            in_h, in_w, size, SQZ_IMAGE_MAX_SIDE);
    if (in_h == size && in_w == size) {
        memcpy(out, in, 3 * (size_t)size * (size_t)size);
        return SQZ_OK;
    }
    return (fit == SQZ_FIT_CROP ? crop : pad)(out, size, in, in_h, in_w, error);
}
