/* resize.c: bicubic resampling, equal in every byte to Pillow's Image.resize, and the tutorial's
 * square.
 *
 * Each output sample is a weighted sum of the input samples under a kernel that widens with the
 * scale when shrinking (so that no input sample is passed over). Rows first, then columns, with
 * 8-bit samples between; or, since Pillow 13, columns first where that is less work (the two differ
 * by roundings). To meet Pillow in every byte the weights are made in doubles, in its
 * order of operations, then rounded to integers of 22 fractional bits, and all sums are of
 * integers, exact in any order; only how they are laid out for speed is ours. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/memory.h"
#include "../base/status.h"

/* 32 bits less 8 of the sample and 2 for a sum of weights that overshoots 1. */
enum { WEIGHT_BITS = 32 - 8 - 2 };

/* Output sample i is the sum over j of weights[i * stride + j] * input[first[i] + j],
 * 0 <= j < count[i]. */
typedef struct {
    int *first, *count;
    int32_t *weights;
    size_t stride;
} filter;

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

static void filter_free(filter *filter) {
    free(filter->first);
    free(filter->count);
    free(filter->weights);
}

/* The weights of output sample i, in doubles (room for `stride` of them) and then rounded. */
static void fill_weights(filter *filter, double *exact, int i, double scale, int in_size) {
    double widening = scale < 1.0 ? 1.0 : scale;
    double support = 2.0 * widening, centre = (i + 0.5) * scale, narrowing = 1.0 / widening;
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
        double weight = (sum != 0.0 ? exact[j] / sum : exact[j]) * (1 << WEIGHT_BITS);
        weights[j] = (int32_t)(weight < 0.0 ? weight - 0.5 : weight + 0.5);
    }
}

static sqz_status filter_create(filter *filter, int out_size, int in_size, sqz_error *error) {
    double scale = (double)in_size / out_size;
    filter->stride = 2 * (size_t)ceil(2.0 * (scale < 1.0 ? 1.0 : scale)) + 1;
    size_t outputs = (size_t)out_size, weights = sqz_size_multiply(outputs, filter->stride);
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
    for (int i = 0; i < out_size; i++)
        fill_weights(filter, exact, i, scale, in_size);
    free(exact);
    return SQZ_OK;
}

/* The sum's integer part, as a sample. The sum started at one half. */
static inline uint8_t to_sample(int32_t sum) {
    sum >>= WEIGHT_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

enum { HALF = 1 << (WEIGHT_BITS - 1), LANES = 4 };
typedef int32_t sums __attribute__((vector_size(LANES * 4)));
typedef uint8_t samples __attribute__((vector_size(LANES)));

/* Four samples as integers. */
static inline sums load_samples(const uint8_t *in) {
    samples four;
    memcpy(&four, in, sizeof four);
    return __builtin_convertvector(four, sums);
}

/* One pixel: [count][3] samples, count weights. Four pixels are three vectors, in which lane l of
 * vector v is channel (4v + l) % 3 of pixel (4v + l) / 3. */
static inline void sum_pixel(uint8_t *out, const uint8_t *in, const int32_t *weights, int count) {
    int32_t r = HALF, g = HALF, b = HALF;
    int j = 0;
    sums s0 = {0}, s1 = {0}, s2 = {0};
    for (; j + 4 <= count; j += 4) {
        const int32_t *w = weights + j;
        s0 += load_samples(in + 3 * j) * (sums){w[0], w[0], w[0], w[1]};
        s1 += load_samples(in + 3 * j + 4) * (sums){w[1], w[1], w[2], w[2]};
        s2 += load_samples(in + 3 * j + 8) * (sums){w[2], w[3], w[3], w[3]};
    }
    for (; j < count; j++) {
        r += in[3 * j] * weights[j];
        g += in[3 * j + 1] * weights[j];
        b += in[3 * j + 2] * weights[j];
    }
    out[0] = to_sample(r + s0[0] + s0[3] + s1[2] + s2[1]);
    out[1] = to_sample(g + s0[1] + s1[0] + s1[3] + s2[2]);
    out[2] = to_sample(b + s0[2] + s1[1] + s2[0] + s2[3]);
}

/* out[rows][out_w][3] of in[rows][in_w][3]. */
static void resize_rows(uint8_t *out, int out_w, const uint8_t *in, int in_w, int rows,
                        const filter *filter) {
    for (int y = 0; y < rows; y++, in += 3 * (size_t)in_w, out += 3 * (size_t)out_w)
        for (int x = 0; x < out_w; x++)
            sum_pixel(out + 3 * (size_t)x, in + 3 * (size_t)filter->first[x],
                      filter->weights + (size_t)x * filter->stride, filter->count[x]);
}

/* out[out_h][w][3] of in[..][w][3], whose first row is row `first_row` of the filter's input. */
static void resize_columns(uint8_t *out, int out_h, const uint8_t *in, int first_row, int w,
                           const filter *filter) {
    enum { VECTORS = 4, STRIP = VECTORS * LANES };
    size_t row_bytes = 3 * (size_t)w;
    for (int y = 0; y < out_h; y++, out += row_bytes) {
        const uint8_t *top = in + (size_t)(filter->first[y] - first_row) * row_bytes;
        const int32_t *weights = filter->weights + (size_t)y * filter->stride;
        size_t x = 0;
        for (; x + STRIP <= row_bytes; x += STRIP) {
            sums strip[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                strip[v] = (sums){HALF, HALF, HALF, HALF};
            for (int j = 0; j < filter->count[y]; j++)
                for (int v = 0; v < VECTORS; v++)
                    strip[v] += load_samples(top + (size_t)j * row_bytes + x + (size_t)v * LANES) *
                                weights[j];
            for (int i = 0; i < STRIP; i++)
                out[x + (size_t)i] = to_sample(strip[i / LANES][i % LANES]);
        }
        for (; x < row_bytes; x++) {
            int32_t sum = HALF;
            for (int j = 0; j < filter->count[y]; j++)
                sum += top[(size_t)j * row_bytes + x] * weights[j];
            out[x] = to_sample(sum);
        }
    }
}

/* Does Pillow take the columns first? From version 13 on where the height loses more than twice as
 * many samples as the width (python-pillow/Pillow#9549; the factor found by trying all sizes). */
static bool columns_first(int out_h, int out_w, int in_h, int in_w) {
    int64_t lost_h = (int64_t)in_h - out_h, lost_w = (int64_t)in_w - out_w;
    return lost_h > 2 * (lost_w > 0 ? lost_w : 0);
}

/* Both passes. Where the rows come first, only those that the columns need are made. */
static sqz_status resize_both(uint8_t *out, int out_h, int out_w, const uint8_t *in, int in_h,
                              int in_w, const filter *across, const filter *down,
                              sqz_error *error) {
    bool swapped = columns_first(out_h, out_w, in_h, in_w);
    int first_row = down->first[0];
    int rows = down->first[out_h - 1] + down->count[out_h - 1] - first_row;
    size_t between_bytes = swapped ? sqz_size_multiply(3 * (size_t)in_w, (size_t)out_h)
                                   : sqz_size_multiply(3 * (size_t)out_w, (size_t)rows);
    uint8_t *between = malloc(between_bytes);
    if (!between)
        return sqz_fail_memory(error, "a picture that is resized", between_bytes);
    if (swapped) {
        resize_columns(between, out_h, in, 0, in_w, down);
        resize_rows(out, out_w, between, in_w, out_h, across);
    } else {
        resize_rows(between, out_w, in + 3 * (size_t)in_w * (size_t)first_row, in_w, rows, across);
        resize_columns(out, out_h, between, first_row, out_w, down);
    }
    free(between);
    return SQZ_OK;
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
    filter across = {0}, down = {0};
    sqz_status status = SQZ_OK;
    /* A side that stays needs no pass. */
    if (in_w != out_w)
        status = filter_create(&across, out_w, in_w, error);
    if (status == SQZ_OK && in_h != out_h) {
        status = filter_create(&down, out_h, in_h, error);
        if (status != SQZ_OK && in_w != out_w)
            filter_free(&across);
    }
    if (status != SQZ_OK)
        return status;
    if (in_h == out_h)
        resize_rows(out, out_w, in, in_w, in_h, &across);
    else if (in_w == out_w)
        resize_columns(out, out_h, in, 0, in_w, &down);
    else
        status = resize_both(out, out_h, out_w, in, in_h, in_w, &across, &down, error);
    filter_free(&across);
    filter_free(&down);
    return status;
}

/* A side of the tutorial's square, in Pillow's and Python's own doubles: int() cuts, so that for
 * some longer sides the longer side comes out one short of `size`. */
static int fit_side(int side, double scale, int size) {
    int fitted = (int)(side * scale);
    return fitted < 1 ? 1 : fitted > size ? size : fitted;
}

sqz_status sqz_image_fit(uint8_t *out, int size, const uint8_t *in, int in_h, int in_w,
                         sqz_error *error) {
    if (in_h < 1 || in_w < 1 || size < 1)
        return sqz_fail(error, SQZ_INVALID,
                        "cannot fit %d x %d (h x w) into a square of %d: every side is at least 1",
                        in_h, in_w, size);
    double scale = size / (double)(in_h > in_w ? in_h : in_w);
    int h = fit_side(in_h, scale, size), w = fit_side(in_w, scale, size);
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
