/* single.c: every op but convolution on plain arrays; see single.h. Each function takes blocked
 * arrays from a bench, runs the op, and brings the result back; the bench is ended in one place
 * whatever happens. */
#include "single.h"

#include "bench.h"

#include <math.h>
#include <string.h>

sqz_status sqz_single_ops(const sqz_ops **ops, const char *name, sqz_error *error) {
    *ops = NULL;
    if (!name)
        return sqz_ops_current(ops, SQZ_FLOAT32, false, error);
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error));
    size_t length = strcspn(name, ":");
    sqz_precision precision = SQZ_FLOAT32;
    if (strcmp(name + length, ":bfloat16") == 0)
        precision = SQZ_BFLOAT16;
    else
        length = strlen(name); /* a name with another ending is none */
    if (length == 6 && strncmp(name, "openmp", length) == 0)
        for (int i = (int)isa; !*ops && i >= SQZ_ISA_BASELINE; i--) /* the widest one built */
            *ops = sqz_ops_openmp((sqz_isa)i, precision);
    else if (length == 6 && strncmp(name, "onednn", length) == 0)
        *ops = sqz_ops_onednn(precision);
    else if (length == 5 && strncmp(name, "mixed", length) == 0)
        *ops = sqz_ops_mixed(precision);
    else
        return sqz_fail(error, SQZ_INVALID,
                        "backend is \"%s\", expected \"mixed\", \"onednn\" or \"openmp\"", name);
    if (!*ops)
        return sqz_fail(error, SQZ_UNSUPPORTED, "backend \"%s\" is not offered here", name);
    return SQZ_OK;
}

/* A blocked copy of planar[channels][pixels]. */
static sqz_status take_blocked(sqz_bench *bench, void **blocked, const float *planar,
                               const sqz_ops *ops, int channels, int pixels, sqz_error *error) {
    size_t count = sqz_bench_count(ops, channels, pixels);
    SQZ_TRY(sqz_bench_take_elements(bench, blocked, ops, count, NAN, error));
    sqz_bench_block(*blocked, planar, ops, channels, pixels);
    return SQZ_OK;
}

/* An array for a result: NaN, or what planar holds if the op is to add to it. */
static sqz_status take_result(sqz_bench *bench, void **blocked, const float *planar,
                              const sqz_ops *ops, int channels, int pixels, bool accumulate,
                              sqz_error *error) {
    if (accumulate)
        return take_blocked(bench, blocked, planar, ops, channels, pixels, error);
    size_t count = sqz_bench_count(ops, channels, pixels);
    return sqz_bench_take_elements(bench, blocked, ops, count, NAN, error);
}

/* An array of a float for each stored channel: holes zero, or all NaN if `values` is NULL. */
static sqz_status take_padded(sqz_bench *bench, float **padded, const float *values,
                              const sqz_ops *ops, int channels, sqz_error *error) {
    SQZ_TRY(sqz_bench_take(bench, padded, sqz_bench_count(ops, channels, 1), NAN, error));
    if (values)
        sqz_bench_pad(*padded, values, ops, channels);
    return SQZ_OK;
}

/* -- ReLU and bias ----------------------------------------------------------------------------- */

static sqz_status nonlinearity_backward(sqz_bench *bench, const sqz_ops *ops, float *d_src,
                                        float *d_bias, const float *d_dst, const float *dst,
                                        int channels, int pixels, sqz_nonlinearity nonlinearity,
                                        bool accumulate, sqz_error *error) {
    void *blocked_d, *blocked_dst = NULL;
    float *padded_bias;
    int blocks = sqz_bench_blocks(ops, channels);
    SQZ_TRY(take_blocked(bench, &blocked_d, d_dst, ops, channels, pixels, error));
    SQZ_TRY(take_padded(bench, &padded_bias, accumulate ? d_bias : NULL, ops, channels, error));
    if (dst)
        SQZ_TRY(take_blocked(bench, &blocked_dst, dst, ops, channels, pixels, error));
    ops->nonlinearity_backward(blocked_d, padded_bias, blocked_dst, blocks, pixels, nonlinearity,
                               accumulate);
    if (d_src)
        SQZ_TRY(sqz_bench_unblock(d_src, blocked_d, ops, channels, pixels, "d_src", error));
    return sqz_bench_unpad(d_bias, padded_bias, ops, channels, "d_bias", error);
}

sqz_status sqz_single_nonlinearity_backward(const sqz_ops *ops, float *d_src, float *d_bias,
                                            const float *d_dst, const float *dst, int channels,
                                            int pixels, sqz_nonlinearity nonlinearity,
                                            bool accumulate, sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status = nonlinearity_backward(&bench, ops, d_src, d_bias, d_dst, dst, channels,
                                              pixels, nonlinearity, accumulate, error);
    return sqz_bench_end(&bench, status, error);
}

/* -- Max pooling ------------------------------------------------------------------------------- */

sqz_status sqz_single_pool_size(sqz_pool_shape *shape, sqz_error *error) {
    if (shape->kernel < 1 || shape->kernel > 15)
        return sqz_fail(error, SQZ_INVALID, "kernel is %d, expected 1 to 15", shape->kernel);
    if (shape->stride < 1)
        return sqz_fail(error, SQZ_INVALID, "stride is %d, expected at least 1", shape->stride);
    shape->out_h = sqz_pool_out_size(shape->in_h, shape->kernel, shape->stride);
    shape->out_w = sqz_pool_out_size(shape->in_w, shape->kernel, shape->stride);
    if (shape->out_h < 1 || shape->out_w < 1)
        return sqz_fail(error, SQZ_INVALID, "a picture of %d x %d has no window of %d x %d",
                        shape->in_h, shape->in_w, shape->kernel, shape->kernel);
    return SQZ_OK;
}

static sqz_pool_shape stored_pool(const sqz_ops *ops, const sqz_pool_shape *shape) {
    sqz_pool_shape stored = *shape;
    stored.channels = sqz_layout_stored(shape->channels, ops->block);
    return stored;
}

static sqz_status max_pool_forward(sqz_bench *bench, const sqz_ops *ops, float *dst,
                                   uint8_t *argmax, const float *src, const sqz_pool_shape *shape,
                                   sqz_error *error) {
    void *blocked_src, *blocked_dst;
    uint8_t *blocked_argmax = NULL;
    sqz_pool_shape stored = stored_pool(ops, shape);
    int channels = shape->channels;
    int in_pixels = shape->in_h * shape->in_w, out_pixels = shape->out_h * shape->out_w;
    size_t out_count = sqz_bench_count(ops, channels, out_pixels);
    SQZ_TRY(take_blocked(bench, &blocked_src, src, ops, channels, in_pixels, error));
    SQZ_TRY(sqz_bench_take_elements(bench, &blocked_dst, ops, out_count, NAN, error));
    if (argmax)
        SQZ_TRY(sqz_bench_take_bytes(bench, &blocked_argmax, out_count, error));
    ops->max_pool_forward(blocked_dst, blocked_argmax, blocked_src, &stored, sqz_part_whole);
    if (argmax)
        sqz_bench_unblock_bytes(argmax, blocked_argmax, ops, channels, out_pixels);
    return sqz_bench_unblock(dst, blocked_dst, ops, channels, out_pixels, "dst", error);
}

sqz_status sqz_single_max_pool_forward(const sqz_ops *ops, float *dst, uint8_t *argmax,
                                       const float *src, const sqz_pool_shape *shape,
                                       sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status = max_pool_forward(&bench, ops, dst, argmax, src, shape, error);
    return sqz_bench_end(&bench, status, error);
}

/* The op trusts argmax; Python's array it does not get unread. */
static sqz_status check_argmax(const uint8_t *argmax, const sqz_pool_shape *shape,
                               sqz_error *error) {
    for (int c = 0; c < shape->channels; c++)
        for (int y = 0; y < shape->out_h; y++)
            for (int x = 0; x < shape->out_w; x++) {
                int winner = *argmax++;
                int row = winner / shape->kernel, column = winner % shape->kernel;
                if (row >= shape->kernel || y * shape->stride + row >= shape->in_h ||
                    x * shape->stride + column >= shape->in_w)
                    return sqz_fail(error, SQZ_INVALID,
                                    "argmax is %d at channel %d, row %d, column %d: outside the "
                                    "window",
                                    winner, c, y, x);
            }
    return SQZ_OK;
}

static sqz_status max_pool_backward(sqz_bench *bench, const sqz_ops *ops, float *d_src,
                                    const float *d_dst, const uint8_t *argmax,
                                    const sqz_pool_shape *shape, bool accumulate,
                                    sqz_error *error) {
    void *blocked_d_src, *blocked_d_dst;
    uint8_t *blocked_argmax;
    sqz_pool_shape stored = stored_pool(ops, shape);
    int channels = shape->channels;
    int in_pixels = shape->in_h * shape->in_w, out_pixels = shape->out_h * shape->out_w;
    size_t out_count = sqz_bench_count(ops, channels, out_pixels);
    SQZ_TRY(check_argmax(argmax, shape, error));
    SQZ_TRY(take_blocked(bench, &blocked_d_dst, d_dst, ops, channels, out_pixels, error));
    SQZ_TRY(take_result(bench, &blocked_d_src, d_src, ops, channels, in_pixels, accumulate, error));
    SQZ_TRY(sqz_bench_take_bytes(bench, &blocked_argmax, out_count, error));
    sqz_bench_block_bytes(blocked_argmax, argmax, ops, channels, out_pixels);
    ops->max_pool_backward(blocked_d_src, blocked_d_dst, blocked_argmax, &stored, accumulate);
    return sqz_bench_unblock(d_src, blocked_d_src, ops, channels, in_pixels, "d_src", error);
}

sqz_status sqz_single_max_pool_backward(const sqz_ops *ops, float *d_src, const float *d_dst,
                                        const uint8_t *argmax, const sqz_pool_shape *shape,
                                        bool accumulate, sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status =
        max_pool_backward(&bench, ops, d_src, d_dst, argmax, shape, accumulate, error);
    return sqz_bench_end(&bench, status, error);
}

/* -- Average pooling --------------------------------------------------------------------------- */

static sqz_status average_pool_forward(sqz_bench *bench, const sqz_ops *ops, float *dst,
                                       const float *src, int channels, int pixels,
                                       sqz_error *error) {
    void *blocked_src;
    float *padded_dst;
    SQZ_TRY(take_blocked(bench, &blocked_src, src, ops, channels, pixels, error));
    SQZ_TRY(take_padded(bench, &padded_dst, NULL, ops, channels, error));
    ops->average_pool_forward(padded_dst, blocked_src, sqz_bench_blocks(ops, channels), pixels);
    return sqz_bench_unpad(dst, padded_dst, ops, channels, "dst", error);
}

sqz_status sqz_single_average_pool_forward(const sqz_ops *ops, float *dst, const float *src,
                                           int channels, int pixels, sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status = average_pool_forward(&bench, ops, dst, src, channels, pixels, error);
    return sqz_bench_end(&bench, status, error);
}

static sqz_status average_pool_backward(sqz_bench *bench, const sqz_ops *ops, float *d_src,
                                        const float *d_dst, int channels, int pixels,
                                        sqz_error *error) {
    void *blocked_d_src;
    float *padded_d_dst;
    SQZ_TRY(take_padded(bench, &padded_d_dst, d_dst, ops, channels, error));
    SQZ_TRY(take_result(bench, &blocked_d_src, NULL, ops, channels, pixels, false, error));
    ops->average_pool_backward(blocked_d_src, padded_d_dst, sqz_bench_blocks(ops, channels),
                               pixels);
    return sqz_bench_unblock(d_src, blocked_d_src, ops, channels, pixels, "d_src", error);
}

sqz_status sqz_single_average_pool_backward(const sqz_ops *ops, float *d_src, const float *d_dst,
                                            int channels, int pixels, sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status = average_pool_backward(&bench, ops, d_src, d_dst, channels, pixels, error);
    return sqz_bench_end(&bench, status, error);
}

/* -- Dropout ----------------------------------------------------------------------------------- */

static sqz_status check_probability(const sqz_dropout *dropout, sqz_error *error) {
    if (dropout->probability >= 0 && dropout->probability < 1)
        return SQZ_OK;
    return sqz_fail(error, SQZ_INVALID, "probability is %g, expected at least 0 and less than 1",
                    dropout->probability);
}

static sqz_status dropout_forward(sqz_bench *bench, const sqz_ops *ops, float *dst, uint8_t *mask,
                                  const float *src, int channels, int pixels,
                                  const sqz_dropout *dropout, sqz_error *error) {
    void *blocked_src, *blocked_dst;
    uint8_t *blocked_mask;
    size_t count = sqz_bench_count(ops, channels, pixels);
    SQZ_TRY(check_probability(dropout, error));
    SQZ_TRY(take_blocked(bench, &blocked_src, src, ops, channels, pixels, error));
    SQZ_TRY(sqz_bench_take_elements(bench, &blocked_dst, ops, count, NAN, error));
    SQZ_TRY(sqz_bench_take_bytes(bench, &blocked_mask, count, error));
    ops->dropout_forward(blocked_dst, blocked_mask, blocked_src, sqz_bench_blocks(ops, channels),
                         pixels, dropout);
    sqz_bench_unblock_bytes(mask, blocked_mask, ops, channels, pixels);
    return sqz_bench_unblock(dst, blocked_dst, ops, channels, pixels, "dst", error);
}

sqz_status sqz_single_dropout_forward(const sqz_ops *ops, float *dst, uint8_t *mask,
                                      const float *src, int channels, int pixels,
                                      const sqz_dropout *dropout, sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status =
        dropout_forward(&bench, ops, dst, mask, src, channels, pixels, dropout, error);
    return sqz_bench_end(&bench, status, error);
}

static sqz_status dropout_backward(sqz_bench *bench, const sqz_ops *ops, float *d_src,
                                   const float *d_dst, const uint8_t *mask, int channels,
                                   int pixels, const sqz_dropout *dropout, sqz_error *error) {
    void *blocked_d_src, *blocked_d_dst;
    uint8_t *blocked_mask;
    size_t count = sqz_bench_count(ops, channels, pixels);
    SQZ_TRY(check_probability(dropout, error));
    SQZ_TRY(take_blocked(bench, &blocked_d_dst, d_dst, ops, channels, pixels, error));
    SQZ_TRY(sqz_bench_take_elements(bench, &blocked_d_src, ops, count, NAN, error));
    SQZ_TRY(sqz_bench_take_bytes(bench, &blocked_mask, count, error));
    sqz_bench_block_bytes(blocked_mask, mask, ops, channels, pixels);
    ops->dropout_backward(blocked_d_src, blocked_d_dst, blocked_mask,
                          sqz_bench_blocks(ops, channels), pixels, dropout);
    return sqz_bench_unblock(d_src, blocked_d_src, ops, channels, pixels, "d_src", error);
}

sqz_status sqz_single_dropout_backward(const sqz_ops *ops, float *d_src, const float *d_dst,
                                       const uint8_t *mask, int channels, int pixels,
                                       const sqz_dropout *dropout, sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status =
        dropout_backward(&bench, ops, d_src, d_dst, mask, channels, pixels, dropout, error);
    return sqz_bench_end(&bench, status, error);
}

/* -- Sum --------------------------------------------------------------------------------------- */

static sqz_status sum(sqz_bench *bench, const sqz_ops *ops, float *dst, const float *a,
                      const float *b, int channels, int pixels, bool in_place, sqz_error *error) {
    void *blocked_a, *blocked_b, *blocked_dst;
    size_t count = sqz_bench_count(ops, channels, pixels);
    SQZ_TRY(take_blocked(bench, &blocked_a, a, ops, channels, pixels, error));
    SQZ_TRY(take_blocked(bench, &blocked_b, b, ops, channels, pixels, error));
    SQZ_TRY(sqz_bench_take_elements(bench, &blocked_dst, ops, count, NAN, error));
    void *target = in_place ? blocked_a : blocked_dst;
    ops->sum(target, blocked_a, blocked_b, count);
    return sqz_bench_unblock(dst, target, ops, channels, pixels, "dst", error);
}

sqz_status sqz_single_sum(const sqz_ops *ops, float *dst, const float *a, const float *b,
                          int channels, int pixels, bool in_place, sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status = sum(&bench, ops, dst, a, b, channels, pixels, in_place, error);
    return sqz_bench_end(&bench, status, error);
}

/* -- Rounding ---------------------------------------------------------------------------------- */

static sqz_status round_floats(sqz_bench *bench, const sqz_ops *ops, float *dst, const float *src,
                               int count, sqz_error *error) {
    void *elements;
    SQZ_TRY(sqz_bench_take_elements(bench, &elements, ops, (size_t)count, NAN, error));
    ops->round(elements, src, (size_t)count);
    for (size_t i = 0; i < (size_t)count; i++)
        dst[i] = sqz_bench_get(elements, i, ops);
    return SQZ_OK;
}

sqz_status sqz_single_round(const sqz_ops *ops, float *dst, const float *src, int count,
                            sqz_error *error) {
    sqz_bench bench = {0};
    sqz_status status = round_floats(&bench, ops, dst, src, count, error);
    return sqz_bench_end(&bench, status, error);
}
