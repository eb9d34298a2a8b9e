/* single_conv.c: one convolution on plain arrays; see single.h. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What surrounds a destination slice holds this, before and after; bfloat16 has it. */
static const float neighbour = 1232;
static const int most_blocks = 1024;

static int stored(const sqz_ops *ops, int channels) {
    return sqz_layout_stored(channels, ops->block);
}

static sqz_status check_side(const char *side, int in, int kernel, int stride, int pad,
                             sqz_error *error) {
    if (stride < 1)
        return sqz_fail(error, SQZ_INVALID, "stride is %d, expected at least 1", stride);
    if (pad < 0 || pad >= kernel)
        return sqz_fail(error, SQZ_INVALID,
                        "padding is %d, expected at least 0 and less than the kernel's %d", pad,
                        kernel);
    if (in + 2 * pad < kernel)
        return sqz_fail(error, SQZ_INVALID,
                        "the kernel's %s is %d, more than the picture's %d with its padding", side,
                        kernel, in + 2 * pad);
    return SQZ_OK;
}

sqz_status sqz_single_conv_size(int *out_h, int *out_w, const sqz_single_conv *conv,
                                sqz_error *error) {
    SQZ_TRY(check_side("height", conv->in_h, conv->kernel_h, conv->stride_h, conv->pad_h, error));
    SQZ_TRY(check_side("width", conv->in_w, conv->kernel_w, conv->stride_w, conv->pad_w, error));
    *out_h = sqz_conv_out_size(conv->in_h, conv->kernel_h, conv->stride_h, conv->pad_h);
    *out_w = sqz_conv_out_size(conv->in_w, conv->kernel_w, conv->stride_w, conv->pad_w);
    if (conv->blocks_before < 0 || conv->blocks_before > most_blocks || conv->blocks_after < 0 ||
        conv->blocks_after > most_blocks)
        return sqz_fail(error, SQZ_INVALID,
                        "blocks_before is %d and blocks_after %d, expected 0 to %d",
                        conv->blocks_before, conv->blocks_after, most_blocks);
    return SQZ_OK;
}

/* -- What a call works with -------------------------------------------------------------------- */

typedef struct {
    const sqz_ops *ops;
    const sqz_single_conv *sizes;
    sqz_conv *conv;
    sqz_worker *worker;
    sqz_bench bench;
    int in_pixels, out_pixels;
    size_t src_count, slice_count; /* of one picture, stored */
    size_t before, after;          /* elements around the slice */
    /* Stored forms; NULL where a direction has no use for them. */
    void *src, *wide_dst, *d_src, *wide_d_dst; /* of elements */
    void *packed;
    float *weights, *bias, *gradient, *d_bias;
} workplace;

static void *slice_of(const workplace *place, void *wide) {
    return (unsigned char *)wide + place->before * sqz_element_bytes(place->ops->element);
}

static sqz_status workplace_open(workplace *place, const sqz_ops *ops, const sqz_single_conv *sizes,
                                 sqz_conv_use use, sqz_error *error) {
    int out_h, out_w;
    SQZ_TRY(sqz_single_conv_size(&out_h, &out_w, sizes, error));
    sqz_conv_shape shape = {
        .in_channels = sizes->planar ? sizes->in_channels : stored(ops, sizes->in_channels),
        .in_h = sizes->in_h,
        .in_w = sizes->in_w,
        .in_block = sizes->planar ? 1 : ops->block,
        .out_channels = stored(ops, sizes->out_channels),
        .out_h = out_h,
        .out_w = out_w,
        .kernel_h = sizes->kernel_h,
        .kernel_w = sizes->kernel_w,
        .stride_h = sizes->stride_h,
        .stride_w = sizes->stride_w,
        .pad_h = sizes->pad_h,
        .pad_w = sizes->pad_w,
        .nonlinearity = sizes->nonlinearity,
    };
    *place = (workplace){
        .ops = ops,
        .sizes = sizes,
        .in_pixels = sizes->in_h * sizes->in_w,
        .out_pixels = out_h * out_w,
        .src_count = (size_t)shape.in_channels * (size_t)(sizes->in_h * sizes->in_w),
        .slice_count = (size_t)shape.out_channels * (size_t)(out_h * out_w),
    };
    size_t one_block = (size_t)ops->block * (size_t)place->out_pixels;
    place->before = one_block * (size_t)sizes->blocks_before;
    place->after = one_block * (size_t)sizes->blocks_after;
    SQZ_TRY(ops->conv_create(&place->conv, &shape, use, 0, error));
    const sqz_conv *convs[] = {place->conv};
    return ops->worker_create(&place->worker, convs, 1, error);
}

static sqz_status workplace_close(workplace *place, sqz_status status, sqz_error *error) {
    if (!place->ops) /* never opened */
        return status;
    place->ops->worker_destroy(place->worker);
    place->ops->conv_destroy(place->conv);
    return sqz_bench_end(&place->bench, status, error);
}

static void load_src(workplace *place, const float *src) {
    if (place->sizes->planar)
        for (size_t i = 0; i < place->src_count; i++)
            sqz_bench_put(place->src, i, src[i], place->ops);
    else
        sqz_bench_block(place->src, src, place->ops, place->sizes->in_channels, place->in_pixels);
}

/* [out][in][kernel] logical to stored, holes zero. */
static void load_weights(workplace *place, const float *weights) {
    const sqz_single_conv *sizes = place->sizes;
    size_t row = (size_t)sizes->in_channels * (size_t)(sizes->kernel_h * sizes->kernel_w);
    const sqz_conv_shape *shape = &place->conv->shape;
    size_t stored_row = (size_t)shape->in_channels * (size_t)(sizes->kernel_h * sizes->kernel_w);
    memset(place->weights, 0, stored_row * (size_t)shape->out_channels * sizeof *weights);
    for (int out = 0; out < sizes->out_channels; out++)
        memcpy(place->weights + (size_t)out * stored_row, weights + (size_t)out * row,
               row * sizeof *weights);
}

/* The reverse, for the gradient. */
static sqz_status unload_weights(float *weights, const workplace *place, sqz_error *error) {
    const sqz_single_conv *sizes = place->sizes;
    const sqz_conv_shape *shape = &place->conv->shape;
    size_t taps = (size_t)(sizes->kernel_h * sizes->kernel_w);
    size_t row = (size_t)sizes->in_channels * taps, stored_row = (size_t)shape->in_channels * taps;
    for (size_t out = 0; out < (size_t)shape->out_channels; out++)
        for (size_t i = 0; i < stored_row; i++) {
            float value = place->weights[out * stored_row + i];
            if (out < (size_t)sizes->out_channels && i < row)
                weights[out * row + i] = value;
            else if (value != 0) /* NaN too */
                return sqz_fail(error, SQZ_INTERNAL,
                                "d_weights: the hole at output %zu, weight %zu holds %g, "
                                "expected 0",
                                out, i, value);
        }
    return SQZ_OK;
}

static size_t weight_count(const workplace *place) {
    const sqz_conv_shape *shape = &place->conv->shape;
    return (size_t)shape->out_channels * (size_t)shape->in_channels *
           (size_t)(shape->kernel_h * shape->kernel_w);
}

static sqz_status check_neighbours(const workplace *place, const void *wide, const char *what,
                                   sqz_error *error) {
    size_t slice_end = place->before + place->slice_count;
    for (size_t i = 0; i < slice_end + place->after; i++) {
        float value = sqz_bench_get(wide, i, place->ops);
        if ((i < place->before || i >= slice_end) && value != neighbour)
            return sqz_fail(error, SQZ_INTERNAL,
                            "%s: element %zu outside the slice %zu..%zu became %g", what, i,
                            place->before, slice_end, value);
    }
    return SQZ_OK;
}

/* -- Forward ----------------------------------------------------------------------------------- */

static sqz_status forward_fill(workplace *place, const float *weights, const float *bias,
                               sqz_error *error) {
    sqz_bench *bench = &place->bench;
    const sqz_ops *ops = place->ops;
    int out_channels = place->sizes->out_channels;
    size_t wide_count = place->before + place->slice_count + place->after;
    SQZ_TRY(sqz_bench_take_elements(bench, &place->src, ops, place->src_count, NAN, error));
    SQZ_TRY(sqz_bench_take(bench, &place->weights, weight_count(place), NAN, error));
    SQZ_TRY(sqz_bench_take_packed(bench, &place->packed, place->conv->forward_bytes, error));
    SQZ_TRY(sqz_bench_take(bench, &place->bias, (size_t)stored(ops, out_channels), NAN, error));
    SQZ_TRY(sqz_bench_take_elements(bench, &place->wide_dst, ops, wide_count, neighbour, error));
    load_weights(place, weights);
    sqz_bench_pad(place->bias, bias, ops, out_channels);
    return ops->conv_pack_forward(place->conv, place->worker, place->packed, place->weights, error);
}

static sqz_status forward_picture(workplace *place, float *dst, const float *src,
                                  sqz_error *error) {
    void *slice = slice_of(place, place->wide_dst);
    for (size_t i = 0; i < place->slice_count; i++)
        sqz_bench_put(slice, i, NAN, place->ops);
    load_src(place, src);
    SQZ_TRY(place->ops->conv_forward(place->conv, place->worker, slice, place->src, place->packed,
                                     place->bias, sqz_part_whole, error));
    SQZ_TRY(check_neighbours(place, place->wide_dst, "the destination", error));
    return sqz_bench_unblock(dst, slice, place->ops, place->sizes->out_channels, place->out_pixels,
                             "the destination", error);
}

sqz_status sqz_single_conv_forward(const sqz_ops *ops, float *dst, const float *src,
                                   const float *weights, const float *bias, int n,
                                   const sqz_single_conv *conv, sqz_error *error) {
    workplace place = {0};
    sqz_status status = workplace_open(&place, ops, conv, SQZ_CONV_FORWARD, error);
    if (status == SQZ_OK)
        status = forward_fill(&place, weights, bias, error);
    size_t src_step = (size_t)conv->in_channels * (size_t)place.in_pixels;
    size_t dst_step = (size_t)conv->out_channels * (size_t)place.out_pixels;
    for (int i = 0; i < n && status == SQZ_OK; i++)
        status =
            forward_picture(&place, dst + (size_t)i * dst_step, src + (size_t)i * src_step, error);
    return workplace_close(&place, status, error);
}

/* -- Backward ---------------------------------------------------------------------------------- */

static sqz_status backward_fill(workplace *place, const float *weights, sqz_error *error) {
    sqz_bench *bench = &place->bench;
    const sqz_conv *conv = place->conv;
    size_t wide_count = place->before + place->slice_count + place->after;
    size_t bias_count = (size_t)stored(place->ops, place->sizes->out_channels);
    const sqz_ops *ops = place->ops;
    SQZ_TRY(sqz_bench_take_elements(bench, &place->src, ops, place->src_count, NAN, error));
    SQZ_TRY(sqz_bench_take(bench, &place->weights, weight_count(place), NAN, error));
    SQZ_TRY(sqz_bench_take(bench, &place->gradient, conv->gradient_count, NAN, error));
    SQZ_TRY(sqz_bench_take(bench, &place->d_bias, bias_count, NAN, error));
    SQZ_TRY(sqz_bench_take_elements(bench, &place->wide_dst, ops, wide_count, neighbour, error));
    SQZ_TRY(sqz_bench_take_elements(bench, &place->wide_d_dst, ops, wide_count, neighbour, error));
    if (place->sizes->planar)
        return SQZ_OK;
    SQZ_TRY(sqz_bench_take_elements(bench, &place->d_src, ops, place->src_count, NAN, error));
    SQZ_TRY(sqz_bench_take_packed(bench, &place->packed, conv->backward_bytes, error));
    load_weights(place, weights);
    return ops->conv_pack_backward(conv, place->worker, place->packed, place->weights, error);
}

/* d_weights and d_bias: the first picture overwrites, the others add. */
static sqz_status backward_parameters(workplace *place, const float *dst, bool accumulate,
                                      sqz_error *error) {
    const sqz_ops *ops = place->ops;
    int out_channels = place->sizes->out_channels;
    int blocks = sqz_bench_blocks(ops, out_channels);
    void *slice = slice_of(place, place->wide_dst), *d_slice = slice_of(place, place->wide_d_dst);
    if (dst)
        sqz_bench_block(slice, dst, ops, out_channels, place->out_pixels);
    ops->nonlinearity_backward(d_slice, place->d_bias, slice, blocks, place->out_pixels,
                               place->sizes->nonlinearity, accumulate);
    SQZ_TRY(ops->conv_backward_weights(place->conv, place->worker, place->gradient, place->src,
                                       d_slice, accumulate, error));
    return check_neighbours(place, place->wide_d_dst, "d_dst", error);
}

static sqz_status backward_source(workplace *place, float *d_src, bool accumulate,
                                  sqz_error *error) {
    const sqz_ops *ops = place->ops;
    int in_channels = place->sizes->in_channels;
    for (size_t i = 0; i < place->src_count; i++)
        sqz_bench_put(place->d_src, i, NAN, ops);
    if (accumulate)
        sqz_bench_block(place->d_src, d_src, ops, in_channels, place->in_pixels);
    SQZ_TRY(ops->conv_backward_data(place->conv, place->worker, place->d_src,
                                    slice_of(place, place->wide_d_dst), place->packed, accumulate,
                                    error));
    return sqz_bench_unblock(d_src, place->d_src, ops, in_channels, place->in_pixels, "d_src",
                             error);
}

static sqz_status backward_pictures(workplace *place, float *d_src, const float *src,
                                    const float *dst, const float *d_dst, int n, bool accumulate,
                                    sqz_error *error) {
    const sqz_single_conv *sizes = place->sizes;
    size_t src_step = (size_t)sizes->in_channels * (size_t)place->in_pixels;
    size_t dst_step = (size_t)sizes->out_channels * (size_t)place->out_pixels;
    for (size_t i = 0; i < (size_t)n; i++) {
        load_src(place, src + i * src_step);
        sqz_bench_block(slice_of(place, place->wide_d_dst), d_dst + i * dst_step, place->ops,
                        sizes->out_channels, place->out_pixels);
        SQZ_TRY(backward_parameters(place, sizes->nonlinearity.relu ? dst + i * dst_step : NULL,
                                    i > 0, error));
        if (!sizes->planar)
            SQZ_TRY(backward_source(place, d_src + i * src_step, accumulate, error));
    }
    return SQZ_OK;
}

static sqz_status backward_finish(workplace *place, float *d_weights, float *d_bias,
                                  sqz_error *error) {
    for (size_t i = 0; i < weight_count(place); i++)
        place->weights[i] = NAN;
    SQZ_TRY(place->ops->conv_unpack_gradient(place->conv, place->worker, place->weights,
                                             place->gradient, error));
    SQZ_TRY(unload_weights(d_weights, place, error));
    return sqz_bench_unpad(d_bias, place->d_bias, place->ops, place->sizes->out_channels, "d_bias",
                           error);
}

sqz_status sqz_single_conv_backward(const sqz_ops *ops, float *d_src, float *d_weights,
                                    float *d_bias, const float *src, const float *weights,
                                    const float *dst, const float *d_dst, int n,
                                    const sqz_single_conv *conv, bool accumulate,
                                    sqz_error *error) {
    workplace place = {0};
    sqz_conv_use use = conv->planar ? SQZ_CONV_BACKWARD_WEIGHTS : SQZ_CONV_BACKWARD;
    sqz_status status = workplace_open(&place, ops, conv, use, error);
    if (status == SQZ_OK)
        status = backward_fill(&place, weights, error);
    if (status == SQZ_OK)
        status = backward_pictures(&place, d_src, src, dst, d_dst, n, accumulate, error);
    if (status == SQZ_OK)
        status = backward_finish(&place, d_weights, d_bias, error);
    return workplace_close(&place, status, error);
}

/* -- Implementations --------------------------------------------------------------------------- */

sqz_status sqz_single_conv_explain(sqz_single_implementations *names, const sqz_ops *ops,
                                   const sqz_single_conv *conv, sqz_error *error) {
    workplace place = {0};
    sqz_conv_use use = conv->planar ? SQZ_CONV_BACKWARD_WEIGHTS : SQZ_CONV_BACKWARD;
    sqz_status status = workplace_open(&place, ops, conv, use, error);
    if (status == SQZ_OK) {
        const sqz_conv *made = place.conv;
        snprintf(names->forward, sizeof names->forward, "%s", made->forward_implementation);
        snprintf(names->backward_data, sizeof names->backward_data, "%s",
                 made->backward_data_implementation);
        snprintf(names->backward_weights, sizeof names->backward_weights, "%s",
                 made->backward_weights_implementation);
    }
    return workplace_close(&place, status, error);
}
