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

/* All weights of a side are as many as four times its samples, or the new side's. They are made for
 * so many output samples at a time that a filter has at most these (or is for one sample). */
enum { MOST_WEIGHTS = 1 << 18 };

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

static double scale_of(sqz_resize_part out, int in_size) {
    return (double)in_size / (double)out.whole;
}

/* No sample of the output is a sum of more. */
static size_t stride_of(double scale) {
    return 2 * (size_t)ceil(2.0 * (scale < 1.0 ? 1.0 : scale)) + 1;
}

/* Sample `place` of the whole output is a sum of input samples first .. end - 1. */
static void find_window(int *first, int *end, int64_t place, double scale, int in_size) {
    double support = 2.0 * (scale < 1.0 ? 1.0 : scale);
    double centre = ((double)place + 0.5) * scale;
    *first = (int)(centre - support + 0.5);
    *end = (int)(centre + support + 0.5);
    *first = *first < 0 ? 0 : *first;
    *end = *end > in_size ? in_size : *end;
}

/* The weights of output sample i, which is sample `place` of the whole, in doubles (room for
 * `stride` of them) and then rounded. */
static void fill_weights(resize_filter *filter, double *exact, int i, int64_t place, double scale,
                         int in_size) {
    double narrowing = 1.0 / (scale < 1.0 ? 1.0 : scale);
    double centre = ((double)place + 0.5) * scale;
    int first, end;
    find_window(&first, &end, place, scale, in_size);
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
    double scale = scale_of(out, in_size);
    filter->stride = stride_of(scale);
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

/* The first samples of a part, as many as there are weights for at a time. */
static sqz_resize_part first_group(sqz_resize_part part, int in_size) {
    size_t most = MOST_WEIGHTS / stride_of(scale_of(part, in_size));
    most = most < 1 ? 1 : most;
    if ((size_t)part.count > most)
        part.count = (int)most;
    return part;
}

/* A part without its first `count` samples. */
static sqz_resize_part after(sqz_resize_part part, int count) {
    return (sqz_resize_part){part.whole, part.first + count, part.count - count};
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

/* Those columns of every row that the filter is for: `columns` of them, to out[rows][out_bytes].
 * Rows from `kept` on are read from last_rows. */
static sqz_status resize_columns_of_rows(uint8_t *out, size_t out_bytes, int columns,
                                         const uint8_t *in, const uint8_t *last_rows, int kept,
                                         size_t in_bytes, int rows, const resize_filter *filter,
                                         const sqz_image_kernels *kernels, sqz_error *error) {
    sqz_row_filter row_filter;
    SQZ_TRY(row_filter_create(&row_filter, filter, columns, kernels->lanes, error));
    for (int y = 0; y < rows; y += SQZ_RESIZE_ROWS) {
        const uint8_t *from[SQZ_RESIZE_ROWS];
        uint8_t *to[SQZ_RESIZE_ROWS];
        for (int i = 0; i < SQZ_RESIZE_ROWS; i++) {
            int row = y + i < rows ? y + i : rows - 1; /* the last one may be made more than once */
            from[i] = row < kept ? in + (size_t)row * in_bytes
                                 : last_rows + (size_t)(row - kept) * in_bytes;
            to[i] = out + (size_t)row * out_bytes;
        }
        kernels->resize_rows(to, from, columns, &row_filter);
    }
    row_filter_free(&row_filter);
    return SQZ_OK;
}

/* out[rows][columns.count][3] of in[rows][in_w][3]. */
static sqz_status resize_rows(uint8_t *out, sqz_resize_part columns, const uint8_t *in, int in_w,
                              int rows, const sqz_image_kernels *kernels, sqz_error *error) {
    size_t in_bytes = 3 * (size_t)in_w, out_bytes = 3 * (size_t)columns.count;
    /* The kernel reads up to a vector past a row's end: the rows that have less than that behind
     * them, the last one and of a narrow picture more, are moved to where they have. */
    size_t lanes = (size_t)kernels->lanes, moved = 1 + (lanes - 1) / in_bytes;
    int kept = moved < (size_t)rows ? rows - (int)moved : 0;
    size_t moved_bytes = (size_t)(rows - kept) * in_bytes;
    uint8_t *last_rows = calloc(moved_bytes + lanes, 1);
    if (!last_rows)
        return sqz_fail_memory(error, "the last rows of a picture", moved_bytes + lanes);
    memcpy(last_rows, in + (size_t)kept * in_bytes, moved_bytes);
    sqz_status status = SQZ_OK;
    while (columns.count > 0 && status == SQZ_OK) {
        sqz_resize_part group = first_group(columns, in_w);
        resize_filter filter;
        status = filter_create(&filter, group, in_w, error);
        if (status != SQZ_OK)
            break;
        status = resize_columns_of_rows(out, out_bytes, group.count, in, last_rows, kept, in_bytes,
                                        rows, &filter, kernels, error);
        filter_free(&filter);
        out += 3 * (size_t)group.count;
        columns = after(columns, group.count);
    }
    free(last_rows);
    return status;
}

/* out[rows.count][w][3] of in[in_h][w][3], of which `in` has the rows from first_row on. */
static sqz_status resize_columns(uint8_t *out, sqz_resize_part rows, const uint8_t *in, int in_h,
                                 int first_row, int w, const sqz_image_kernels *kernels,
                                 sqz_error *error) {
    size_t row_bytes = 3 * (size_t)w;
    while (rows.count > 0) {
        sqz_resize_part group = first_group(rows, in_h);
        resize_filter filter;
        SQZ_TRY(filter_create(&filter, group, in_h, error));
        for (int y = 0; y < group.count; y++, out += row_bytes)
            kernels->resize_column(out, in + (size_t)(filter.first[y] - first_row) * row_bytes,
                                   row_bytes, filter.weights + (size_t)y * filter.stride,
                                   filter.count[y]);
        filter_free(&filter);
        rows = after(rows, group.count);
    }
    return SQZ_OK;
}

/* Does Pillow take the columns first? From version 13 on where the height loses more than twice as
 * many samples as the width (python-pillow/Pillow#9549; the factor found by trying all sizes). */
static bool columns_first(int64_t whole_h, int64_t whole_w, int in_h, int in_w) {
    int64_t lost_h = in_h - whole_h, lost_w = in_w - whole_w;
    return lost_h > 2 * (lost_w > 0 ? lost_w : 0);
}

/* The columns first, over the whole width: what lies between is [rows.count][in_w][3]. */
static sqz_status resize_down_then_across(uint8_t *out, sqz_resize_part rows,
                                          sqz_resize_part columns, const uint8_t *in, int in_h,
                                          int in_w, const sqz_image_kernels *kernels,
                                          sqz_error *error) {
    size_t between_bytes = sqz_size_multiply(3 * (size_t)in_w, (size_t)rows.count);
    uint8_t *between = malloc(between_bytes);
    if (!between)
        return sqz_fail_memory(error, "a picture that is resized", between_bytes);
    sqz_status status = resize_columns(between, rows, in, in_h, 0, in_w, kernels, error);
    if (status == SQZ_OK)
        status = resize_rows(out, columns, between, in_w, rows.count, kernels, error);
    free(between);
    return status;
}

/* The rows first, but only those that the columns need: [needed][columns.count][3]. */
static sqz_status resize_across_then_down(uint8_t *out, sqz_resize_part rows,
                                          sqz_resize_part columns, const uint8_t *in, int in_h,
                                          int in_w, const sqz_image_kernels *kernels,
                                          sqz_error *error) {
    double scale = scale_of(rows, in_h);
    int first_row, end_row, unused;
    find_window(&first_row, &unused, rows.first, scale, in_h);
    find_window(&unused, &end_row, rows.first + rows.count - 1, scale, in_h);
    int needed = end_row - first_row;
    size_t between_bytes = sqz_size_multiply(3 * (size_t)columns.count, (size_t)needed);
    uint8_t *between = malloc(between_bytes);
    if (!between)
        return sqz_fail_memory(error, "a picture that is resized", between_bytes);
    in += 3 * (size_t)in_w * (size_t)first_row;
    sqz_status status = resize_rows(between, columns, in, in_w, needed, kernels, error);
    if (status == SQZ_OK)
        status = resize_columns(out, rows, between, in_h, first_row, columns.count, kernels, error);
    free(between);
    return status;
}

sqz_status sqz_image_resize_part(uint8_t *out, sqz_resize_part rows, sqz_resize_part columns,
                                 const uint8_t *in, int in_h, int in_w, sqz_error *error) {
    const sqz_image_kernels *kernels;
    SQZ_TRY(sqz_image_kernels_find(&kernels, error));
    bool swapped = columns_first(rows.whole, columns.whole, in_h, in_w);
    return (swapped ? resize_down_then_across
                    : resize_across_then_down)(out, rows, columns, in, in_h, in_w, kernels, error);
}

sqz_status sqz_image_resize(uint8_t *out, int out_h, int out_w, const uint8_t *in, int in_h,
                            int in_w, sqz_error *error) {
    const int sides[] = {in_h, in_w, out_h, out_w};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        if (sides[i] < 1 || sides[i] > SQZ_IMAGE_MAX_SIDE)
            return sqz_fail(error, SQZ_INVALID,
                            "cannot resize %d x %d (h x w) to %d x %d: every side is 1 to %d", in_h,
                            in_w, out_h, out_w, SQZ_IMAGE_MAX_SIDE);
    if (in_h == out_h && in_w == out_w) {
        memcpy(out, in, 3 * (size_t)in_h * (size_t)in_w);
        return SQZ_OK;
    }
    /* A side that stays goes through its pass unchanged: all its weights are 0 but one, 1. */
    sqz_resize_part rows = {out_h, 0, out_h}, columns = {out_w, 0, out_w};
    return sqz_image_resize_part(out, rows, columns, in, in_h, in_w, error);
}
