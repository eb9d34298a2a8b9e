/* onednn_slices.c: a convolution of the "onednn" backend in pieces of its output channels. oneDNN
 * does not promise that a piece's sums are added in the whole's order (the order depends on how it
 * blocks the work), nor that its weights have the whole's format: so each cut is tried out once,
 * when it is made, and dropped if a bit differs. Then one thread does all of that convolution. */
#include "../base/memory.h"
#include "onednn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int piece_counts[SQZ_ONEDNN_CUTS] = {2, 4};

static int blocks_of(const sqz_conv *conv) {
    return conv->shape.out_channels / sqz_ops_onednn()->block;
}

/* -- Forward ----------------------------------------------------------------------------------- */

/* Pieces from `span.begin` to `span.end` of a cut. */
static sqz_status pieces_forward(const sqz_onednn_slices *slices, int cut, sqz_span span,
                                 const sqz_conv *whole, sqz_worker *worker, float *dst,
                                 const float *src, const float *packed, const float *bias,
                                 sqz_error *error) {
    size_t channels = (size_t)slices->widths[cut] * (size_t)sqz_ops_onednn()->block;
    size_t pixels = (size_t)whole->shape.out_h * (size_t)whole->shape.out_w;
    size_t weights = whole->forward_count / (size_t)whole->shape.out_channels;
    size_t usual = (size_t)(blocks_of(whole) / slices->widths[cut]); /* the last may be narrower */
    for (size_t i = span.begin; i < span.end; i++)
        SQZ_TRY(sqz_onednn_conv_forward(
            slices->pieces[2 * cut + (i >= usual)], worker, dst + i * channels * pixels, src,
            packed + i * channels * weights, bias + i * channels, error));
    return SQZ_OK;
}

static size_t piece_count(const sqz_onednn_slices *slices, int cut, const sqz_conv *whole) {
    int width = slices->widths[cut];
    return (size_t)((blocks_of(whole) + width - 1) / width);
}

sqz_status sqz_onednn_slices_forward(const sqz_conv *whole, sqz_worker *worker, float *dst,
                                     const float *src, const float *packed, const float *bias,
                                     sqz_part part, sqz_error *error) {
    const sqz_onednn_slices *slices = sqz_onednn_conv_slices(whole);
    int cut = SQZ_ONEDNN_CUTS - 1; /* the finest that is there and no finer than is of use */
    while (cut >= 0 && !(slices->widths[cut] && part.count >= piece_counts[cut]))
        cut--;
    if (cut < 0)
        return part.index ? SQZ_OK
                          : sqz_onednn_conv_forward(whole, worker, dst, src, packed, bias, error);
    sqz_span span = sqz_part_span(part, piece_count(slices, cut, whole));
    return pieces_forward(slices, cut, span, whole, worker, dst, src, packed, bias, error);
}

/* -- Trying out -------------------------------------------------------------------------------- */

typedef struct {
    sqz_worker *worker;
    float *src, *packed, *bias, *expected, *found;
    size_t dst_count;
} trial;

static float *random_floats(size_t count, uint32_t *state) {
    float *values = sqz_aligned_calloc(count, sizeof *values);
    for (size_t i = 0; values && i < count; i++) {
        *state = *state * 1664525u + 1013904223u; /* Knuth's choice, by Numerical Recipes */
        values[i] = (float)(*state >> 8) / (float)(1 << 23) - 1;
    }
    return values;
}

static void trial_close(trial *trial) {
    sqz_ops_onednn()->worker_destroy(trial->worker);
    sqz_aligned_free(trial->src);
    sqz_aligned_free(trial->packed);
    sqz_aligned_free(trial->bias);
    sqz_aligned_free(trial->expected);
    sqz_aligned_free(trial->found);
}

static sqz_status trial_open(trial *trial, const sqz_conv *whole, sqz_error *error) {
    const sqz_conv_shape *shape = &whole->shape;
    uint32_t state = 1;
    size_t channels = (size_t)shape->out_channels;
    size_t src_count = (size_t)shape->in_channels * (size_t)shape->in_h * (size_t)shape->in_w;
    trial->dst_count = channels * (size_t)shape->out_h * (size_t)shape->out_w;
    trial->src = random_floats(src_count, &state);
    trial->packed = random_floats(whole->forward_count, &state);
    trial->bias = random_floats(channels, &state);
    trial->expected = sqz_aligned_calloc(trial->dst_count, sizeof(float));
    trial->found = sqz_aligned_calloc(trial->dst_count, sizeof(float));
    const sqz_conv **convs = calloc((size_t)whole->slot + 1, sizeof *convs);
    if (!trial->src || !trial->packed || !trial->bias || !trial->expected || !trial->found ||
        !convs) {
        free(convs);
        return sqz_fail_memory(error, "a convolution's trial",
                               (src_count + 2 * trial->dst_count) * sizeof(float));
    }
    convs[whole->slot] = whole;
    sqz_status status =
        sqz_ops_onednn()->worker_create(&trial->worker, convs, whole->slot + 1, error);
    free(convs);
    return status;
}

static void drop(sqz_onednn_slices *slices, int cut) {
    for (int i = 2 * cut; i < 2 * cut + 2; i++) {
        sqz_onednn_conv_destroy(slices->pieces[i]);
        slices->pieces[i] = NULL;
    }
    slices->widths[cut] = 0;
}

static sqz_status try_cuts(sqz_onednn_slices *slices, const sqz_conv *whole, trial *trial,
                           sqz_error *error) {
    SQZ_TRY(sqz_onednn_conv_forward(whole, trial->worker, trial->expected, trial->src,
                                    trial->packed, trial->bias, error));
    for (int cut = 0; cut < SQZ_ONEDNN_CUTS; cut++) {
        if (!slices->widths[cut])
            continue;
        for (size_t i = 0; i < trial->dst_count; i++)
            trial->found[i] = NAN;
        sqz_span all = {0, piece_count(slices, cut, whole)};
        SQZ_TRY(pieces_forward(slices, cut, all, whole, trial->worker, trial->found, trial->src,
                               trial->packed, trial->bias, error));
        if (memcmp(trial->found, trial->expected, trial->dst_count * sizeof(float)) != 0)
            drop(slices, cut);
    }
    return SQZ_OK;
}

/* -- Creating ---------------------------------------------------------------------------------- */

static sqz_status piece_create(sqz_onednn_slices *slices, int index, const sqz_conv *whole,
                               int width, sqz_error *error) {
    sqz_conv_shape shape = whole->shape;
    shape.out_channels = width * sqz_ops_onednn()->block;
    return sqz_onednn_conv_create(&slices->pieces[index], &shape, SQZ_CONV_FORWARD, whole->slot,
                                  1 + index, error);
}

/* The whole's weights can only be cut where they are, if at all, when a piece takes its share. */
static bool takes_its_share(const sqz_conv *piece, const sqz_conv *whole) {
    return !piece || piece->forward_count * (size_t)whole->shape.out_channels ==
                         whole->forward_count * (size_t)piece->shape.out_channels;
}

static sqz_status cut_create(sqz_onednn_slices *slices, int cut, const sqz_conv *whole,
                             sqz_error *error) {
    int blocks = blocks_of(whole);
    int width = (blocks + piece_counts[cut] - 1) / piece_counts[cut], last = blocks % width;
    SQZ_TRY(piece_create(slices, 2 * cut, whole, width, error));
    if (last)
        SQZ_TRY(piece_create(slices, 2 * cut + 1, whole, last, error));
    slices->widths[cut] = width;
    if (!takes_its_share(slices->pieces[2 * cut], whole) ||
        !takes_its_share(slices->pieces[2 * cut + 1], whole))
        drop(slices, cut);
    return SQZ_OK;
}

sqz_status sqz_onednn_slices_create(sqz_onednn_slices *slices, const sqz_conv *whole, int threads,
                                    sqz_error *error) {
    bool any = false;
    for (int cut = 0; cut < SQZ_ONEDNN_CUTS; cut++) {
        if (threads >= piece_counts[cut] && blocks_of(whole) > piece_counts[cut] / 2)
            SQZ_TRY(cut_create(slices, cut, whole, error));
        any = any || slices->widths[cut];
    }
    if (!any)
        return SQZ_OK;
    trial trial = {0};
    sqz_status status = trial_open(&trial, whole, error);
    if (status == SQZ_OK)
        status = try_cuts(slices, whole, &trial, error);
    trial_close(&trial);
    return status;
}

void sqz_onednn_slices_destroy(sqz_onednn_slices *slices) {
    for (int cut = 0; cut < SQZ_ONEDNN_CUTS; cut++)
        drop(slices, cut);
}
