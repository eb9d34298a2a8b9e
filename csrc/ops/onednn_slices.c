/* onednn_slices.c: a convolution of the "onednn" backend in pieces of its output channels. oneDNN
 * does not promise that a piece's sums are added in the whole's order (the order depends on how it
 * blocks the work), nor that its weights have the whole's format: so each cut is tried out once,
 * when it is made, and dropped if a bit differs. Then one thread does all of that convolution. */
#include "../base/bfloat16.h"
#include "../base/memory.h"
#include "onednn.h"

#include <stdlib.h>
#include <string.h>

static const int piece_counts[SQZ_ONEDNN_CUTS] = {2, 4};

static int blocks_of(const sqz_conv *conv) {
    return conv->shape.out_channels / sqz_onednn_conv_ops(conv)->block;
}

/* -- Forward ----------------------------------------------------------------------------------- */

/* Pieces from `span.begin` to `span.end` of a cut. */
static sqz_status pieces_forward(const sqz_onednn_slices *slices, int cut, sqz_span span,
                                 const sqz_conv *whole, sqz_worker *worker, void *dst,
                                 const void *src, const float *packed, const float *bias,
                                 sqz_error *error) {
    const sqz_ops *ops = sqz_onednn_conv_ops(whole);
    size_t channels = (size_t)slices->widths[cut] * (size_t)ops->block;
    size_t piece_bytes = channels * (size_t)whole->shape.out_h * (size_t)whole->shape.out_w *
                         sqz_element_bytes(ops->element);
    size_t weights = whole->forward_count / (size_t)whole->shape.out_channels;
    size_t usual = (size_t)(blocks_of(whole) / slices->widths[cut]); /* the last may be narrower */
    for (size_t i = span.begin; i < span.end; i++)
        SQZ_TRY(sqz_onednn_conv_forward(
            slices->pieces[2 * cut + (i >= usual)], worker, (unsigned char *)dst + i * piece_bytes,
            src, packed + i * channels * weights, bias + i * channels, error));
    return SQZ_OK;
}

static size_t piece_count(const sqz_onednn_slices *slices, int cut, const sqz_conv *whole) {
    int width = slices->widths[cut];
    return (size_t)((blocks_of(whole) + width - 1) / width);
}

sqz_status sqz_onednn_slices_forward(const sqz_conv *whole, sqz_worker *worker, void *dst,
                                     const void *src, const float *packed, const float *bias,
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
    const sqz_ops *ops;
    sqz_worker *worker;
    void *src, *packed, *bias, *expected, *found;
    size_t dst_bytes;
} trial;

/* size_bytes of float32 or bfloat16 numbers between -1 and 1. */
static void *random_numbers(size_t size_bytes, sqz_precision precision, uint32_t *state) {
    unsigned char *values = sqz_aligned_calloc(size_bytes, 1);
    size_t number_bytes = precision == SQZ_BFLOAT16 ? sizeof(uint16_t) : sizeof(float);
    for (size_t at = 0; values && at + number_bytes <= size_bytes; at += number_bytes) {
        *state = *state * 1664525u + 1013904223u; /* Knuth's choice, by Numerical Recipes */
        float value = (float)(*state >> 8) / (float)(1 << 23) - 1;
        uint16_t half = sqz_bfloat16_round(value);
        memcpy(values + at, precision == SQZ_BFLOAT16 ? (void *)&half : &value, number_bytes);
    }
    return values;
}

static void trial_close(trial *trial) {
    trial->ops->worker_destroy(trial->worker);
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
    size_t dst_count = channels * (size_t)shape->out_h * (size_t)shape->out_w;
    size_t packed_bytes = whole->forward_count * sizeof(float);
    const sqz_ops *ops = trial->ops;
    trial->dst_bytes = dst_count * sqz_element_bytes(ops->element);
    trial->src =
        random_numbers(src_count * sqz_element_bytes(ops->element), ops->precision, &state);
    trial->packed = random_numbers(packed_bytes, ops->precision, &state);
    trial->bias = random_numbers(channels * sizeof(float), SQZ_FLOAT32, &state);
    trial->expected = sqz_aligned_calloc(trial->dst_bytes, 1);
    trial->found = sqz_aligned_calloc(trial->dst_bytes, 1);
    const sqz_conv **convs = calloc((size_t)whole->slot + 1, sizeof *convs);
    if (!trial->src || !trial->packed || !trial->bias || !trial->expected || !trial->found ||
        !convs) {
        free(convs);
        return sqz_fail_memory(error, "a convolution's trial",
                               src_count * sqz_element_bytes(ops->element) + 2 * trial->dst_bytes);
    }
    convs[whole->slot] = whole;
    sqz_status status = ops->worker_create(&trial->worker, convs, whole->slot + 1, error);
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
        memset(trial->found, 0xFF, trial->dst_bytes); /* NaN in both types */
        sqz_span all = {0, piece_count(slices, cut, whole)};
        SQZ_TRY(pieces_forward(slices, cut, all, whole, trial->worker, trial->found, trial->src,
                               trial->packed, trial->bias, error));
        if (memcmp(trial->found, trial->expected, trial->dst_bytes) != 0)
            drop(slices, cut);
    }
    return SQZ_OK;
}

/* -- Creating ---------------------------------------------------------------------------------- */

static sqz_status piece_create(sqz_onednn_slices *slices, int index, const sqz_conv *whole,
                               int width, sqz_error *error) {
    sqz_conv_shape shape = whole->shape;
    const sqz_ops *ops = sqz_onednn_conv_ops(whole);
    shape.out_channels = width * ops->block;
    return sqz_onednn_conv_create(&slices->pieces[index], &shape, SQZ_CONV_FORWARD, whole->slot,
                                  1 + index, ops, error);
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
    trial trial = {.ops = sqz_onednn_conv_ops(whole)};
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
