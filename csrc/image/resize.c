/* resize.c: bicubic resampling, equal in every byte to Pillow's Image.resize, or to a part of it.
 *
 * Each output sample is a weighted sum of the input samples under a kernel that widens with the
 * scale when shrinking (so that no input sample is passed over). Rows first, then columns, with
 * 8-bit samples between; or, since Pillow 13, columns first where that is less work (the two differ
 * by roundings). To meet Pillow in every byte the weights are made in doubles, in its order of
 * operations, then rounded to integers of 22 fractional bits, and all sums are of integers, exact
 * in any order; only how they are laid out for speed is ours. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/memory.h"
#include "kernels/kernels.h"
#include "resize.h"

/* Output sample i of the part that is wanted is the sum over j of weights[i * stride + j] *
 * input[first[i] + j], 0 <= j < count[i]. */
typedef struct {
    int *first, *count;
    int32_t *weights;
    size_t stride;
} resize_filter;

/* Keys 1981, "Cubic convolution interpolation for digital image processing", with a = -0.5. */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static void filter_free(resize_filter *filter) {
    free(filter->first);
    free(filter->count);
    free(filter->weights);
}

/* The weights of output sample i, which is sample `place` of the whole, in doubles (room for
 * `stride` of them) and then rounded. */
static void fill_weights(resize_filter *filter, double *exact, int i, int64_t place, double scale,
                         int in_size) {
    double widening = scale < 1.0 ? 1.0 : scale;
    double support = 2.0 * widening, narrowing = 1.0 / widening;
    double centre = ((double)place + 0.5) * scale;
    int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > in_size ? in_size : end;
    double sum = 0.0;
    for (int j = first; j < end; j++) {
        exact[j - first] = bicubic((j - centre + 0.5) * narrowing);
        sum += exact[j - first];
    }
    filter->first[i] = first;
    filter->count[i] = end - first;
    int32_t *weights = filter->weights + (size_t)i * filter->stride;
    for (int j = 0; j < end - first; j++) {
        double weight = (sum != 0.0 ? exact[j] / sum : exact[j]) * (1 << SQZ_RESIZE_BITS);
        weights[j] = (int32_t)(weight < 0.0 ? weight - 0.5 : weight + 0.5);
    }
}

/* From in_size samples to those of `out`. */
static sqz_status filter_create(resize_filter *filter, sqz_resize_part out, int in_size,
                                sqz_error *error) {
    double scale = (double)in_size / (double)out.whole;
    filter->stride = 2 * (size_t)ceil(2.0 * (scale < 1.0 ? 1.0 : scale)) + 1;
    size_t outputs = (size_t)out.count, weights = sqz_size_multiply(outputs, filter->stride);
    filter->first = calloc(outputs, sizeof *filter->first);
    filter->count = calloc(outputs, sizeof *filter->count);
    filter->weights = calloc(weights, sizeof *filter->weights);
    double *exact = calloc(filter->stride, sizeof *exact);
    if (!filter->first || !filter->count || !filter->weights || !exact) {
        free(exact);
        filter_free(filter);
        return sqz_fail_memory(error, "resampling weights",
                               sqz_size_multiply(weights, sizeof *filter->weights));
    }
    for (int i = 0; i < out.count; i++)
        fill_weights(filter, exact, i, out.first + i, scale, in_size);
    free(exact);
    return SQZ_OK;
}

static void row_filter_free(sqz_row_filter *rows) {
    free(rows->first);
    free(rows->vectors);
    free(rows->weights);
}

/* The filter, laid out for a row's interleaved channels. */
static sqz_status row_filter_create(sqz_row_filter *rows, const resize_filter *filter, int out_w,
                                    int vector_lanes, sqz_error *error) {
    size_t outputs = (size_t)out_w, lanes = (size_t)vector_lanes;
    rows->stride = (3 * filter->stride + lanes - 1) / lanes * lanes;
    size_t weights = sqz_size_multiply(outputs, rows->stride);
    rows->first = calloc(outputs, sizeof *rows->first);
    rows->vectors = calloc(outputs, sizeof *rows->vectors);
    rows->weights = calloc(weights, sizeof *rows->weights);
    if (!rows->first || !rows->vectors || !rows->weights) {
        row_filter_free(rows);
        return sqz_fail_memory(error, "resampling weights",
                               sqz_size_multiply(weights, sizeof *rows->weights));
    }
    for (size_t x = 0; x < outputs; x++) {
        size_t count = 3 * (size_t)filter->count[x];
        rows->first[x] = filter->first[x];
        rows->vectors[x] = (int)((count + lanes - 1) / lanes);
        for (size_t i = 0; i < count; i++)
            rows->weights[x * rows->stride + i] = filter->weights[x * filter->stride + i / 3];
    }
    return SQZ_OK;
}

/* out[rows][out_w][3] of in[rows][in_w][3]. */
static sqz_status resize_rows(uint8_t *out, int out_w, const uint8_t *in, int in_w, int rows,
                              const resize_filter *filter, const sqz_image_kernels *kernels,
                              sqz_error *error) {
    size_t in_bytes = 3 * (size_t)in_w, out_bytes = 3 * (size_t)out_w;
    sqz_row_filter row_filter;
    SQZ_TRY(row_filter_create(&row_filter, filter, out_w, kernels->lanes, error));
    /* The kernel reads up to a vector past a row's end: the rows that have less than that behind
     * them, the last one and of a narrow picture more, are moved to where they have. */
    size_t lanes = (size_t)kernels->lanes, moved = 1 + (lanes - 1) / in_bytes;
    int kept = moved < (size_t)rows ? rows - (int)moved : 0;
    size_t moved_bytes = (size_t)(rows - kept) * in_bytes;
    uint8_t *last_rows = calloc(moved_bytes + lanes, 1);
    if (!last_rows) {
        row_filter_free(&row_filter);
        return sqz_fail_memory(error, "the last rows of a picture", moved_bytes + lanes);
    }
    memcpy(last_rows, in + (size_t)kept * in_bytes, moved_bytes);
    for (int y = 0; y < rows; y += SQZ_RESIZE_ROWS) {
        const uint8_t *from[SQZ_RESIZE_ROWS];
        uint8_t *to[SQZ_RESIZE_ROWS];
        for (int i = 0; i < SQZ_RESIZE_ROWS; i++) {
            int row = y + i < rows ? y + i : rows - 1; /* the last one may be made more than once */
            from[i] = row < kept ? in + (size_t)row * in_bytes
                                 : last_rows + (size_t)(row - kept) * in_bytes;
            to[i] = out + (size_t)row * out_bytes;
        }
        kernels->resize_rows(to, from, out_w, &row_filter);
    }
    free(last_rows);
    row_filter_free(&row_filter);
    return SQZ_OK;
}

/* out[out_h][w][3] of in[..][w][3], whose first row is row `first_row` of the filter's input. */
static void resize_columns(uint8_t *out, int out_h, const uint8_t *in, int first_row, int w,
                           const resize_filter *filter, const sqz_image_kernels *kernels) {
    size_t row_bytes = 3 * (size_t)w;
    for (int y = 0; y < out_h; y++)
        kernels->resize_column(out + (size_t)y * row_bytes,
                               in + (size_t)(filter->first[y] - first_row) * row_bytes, row_bytes,
                               filter->weights + (size_t)y * filter->stride, filter->count[y]);
}

/* Does Pillow take the columns first? From version 13 on where the height loses more than twice as
 * many samples as the width (python-pillow/Pillow#9549; the factor found by trying all sizes). */
static bool columns_first(int64_t whole_h, int64_t whole_w, int in_h, int in_w) {
    int64_t lost_h = in_h - whole_h, lost_w = in_w - whole_w;
    return lost_h > 2 * (lost_w > 0 ? lost_w : 0);
}

/* The columns first, over the whole width: what lies between is [out_h][in_w][3]. */
static sqz_status resize_down_then_across(uint8_t *out, int out_h, int out_w, const uint8_t *in,
                                          int in_w, const resize_filter *down,
                                          const resize_filter *across,
                                          const sqz_image_kernels *kernels, sqz_error *error) {
    size_t between_bytes = sqz_size_multiply(3 * (size_t)in_w, (size_t)out_h);
    uint8_t *between = malloc(between_bytes);
    if (!between)
        return sqz_fail_memory(error, "a picture that is resized", between_bytes);
    resize_columns(between, out_h, in, 0, in_w, down, kernels);
    sqz_status status = resize_rows(out, out_w, between, in_w, out_h, across, kernels, error);
    free(between);
    return status;
}

/* The rows first, but only those that the columns need: [rows][out_w][3]. */
static sqz_status resize_across_then_down(uint8_t *out, int out_h, int out_w, const uint8_t *in,
                                          int in_w, const resize_filter *down,
                                          const resize_filter *across,
                                          const sqz_image_kernels *kernels, sqz_error *error) {
    int first_row = down->first[0];
    int rows = down->first[out_h - 1] + down->count[out_h - 1] - first_row;
    size_t between_bytes = sqz_size_multiply(3 * (size_t)out_w, (size_t)rows);
    uint8_t *between = malloc(between_bytes);
    if (!between)
        return sqz_fail_memory(error, "a picture that is resized", between_bytes);
    in += 3 * (size_t)in_w * (size_t)first_row;
    sqz_status status = resize_rows(between, out_w, in, in_w, rows, across, kernels, error);
    if (status == SQZ_OK)
        resize_columns(out, out_h, between, first_row, out_w, down, kernels);
    free(between);
    return status;
}

sqz_status sqz_image_resize_part(uint8_t *out, sqz_resize_part rows, sqz_resize_part columns,
                                 const uint8_t *in, int in_h, int in_w, sqz_error *error) {
    const sqz_image_kernels *kernels;
    SQZ_TRY(sqz_image_kernels_find(&kernels, error));
    resize_filter down, across;
    SQZ_TRY(filter_create(&down, rows, in_h, error));
    sqz_status status = filter_create(&across, columns, in_w, error);
    if (status == SQZ_OK) {
        bool swapped = columns_first(rows.whole, columns.whole, in_h, in_w);
        status = (swapped ? resize_down_then_across : resize_across_then_down)(
            out, rows.count, columns.count, in, in_w, &down, &across, kernels, error);
        filter_free(&across);
    }
    filter_free(&down);
    return status;
}

sqz_status sqz_image_resize(uint8_t *out, int out_h, int out_w, const uint8_t *in, int in_h,
                            int in_w, sqz_error *error) {
    if (in_h < 1 || in_w < 1 || out_h < 1 || out_w < 1)
        return sqz_fail(error, SQZ_INVALID,
                        "cannot resize %d x %d (h x w) to %d x %d: every side is at least 1", in_h,
                        in_w, out_h, out_w);
    if (in_h == out_h && in_w == out_w) {
        memcpy(out, in, 3 * (size_t)in_h * (size_t)in_w);
        return SQZ_OK;
    }
    /* A side that stays goes through its pass unchanged: all its weights are 0 but one, 1. */
    sqz_resize_part rows = {out_h, 0, out_h}, columns = {out_w, 0, out_w};
    return sqz_image_resize_part(out, rows, columns, in, in_h, in_w, error);
}
