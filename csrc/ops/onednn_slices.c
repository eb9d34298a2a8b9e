/* onednn_slices.c: the table of the "onednn" backend: onednn.c's, and in inference a convolution is
 * divided among the threads that share a picture. Its output channels are cut into pieces: a range
 * of channel blocks is contiguous in dst, in the packed weights and in the bias, so a piece is a
 * convolution of its own on pointers into the whole's arrays.
 *
 * oneDNN does not promise that a piece's sums are added in the whole's order (the order depends on
 * how it blocks the work), nor that its weights have the whole's format: so each cut is tried out
 * once, when it is made, and dropped if a bit differs. Then one thread does all of that
 * convolution.
 *
 * A worker is one of onednn.c's, for the whole and the pieces of every convolution. */
#include "../base/bfloat16.h"
#include "../base/memory.h"
#include "onednn.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { HALVES, QUARTERS, CUTS };
static const int piece_counts[CUTS] = {[HALVES] = 2, [QUARTERS] = 4};

/* Of each cut two kinds of piece: any but the last, and a last one that is narrower. */
enum { PIECES = 2 * CUTS };

/* A slot of this table is so many slots of onednn.c's: the whole, then each kind of piece. */
enum { INNER_SLOTS = 1 + PIECES };

typedef struct {
    const sqz_ops *ops; /* onednn.c's table, which the whole and the pieces belong to */
    sqz_conv *whole;
    int widths[CUTS];         /* channel blocks of a piece; 0: not cut in this way */
    sqz_conv *pieces[PIECES]; /* NULL: there is none of the kind */
} sliced_conv;

static sqz_ops tables[2]; /* by precision */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int blocks_of(const sliced_conv *sliced) {
    return sliced->whole->shape.out_channels / sliced->ops->block;
}

/* -- Convolutions ------------------------------------------------------------------------------ */

static void drop(sliced_conv *sliced, int cut) {
    for (int i = 2 * cut; i < 2 * cut + 2; i++) {
        sliced->ops->conv_destroy(sliced->pieces[i]);
        sliced->pieces[i] = NULL;
    }
    sliced->widths[cut] = 0;
}

static void conv_destroy(sqz_conv *conv) {
    if (!conv)
        return;
    sliced_conv *sliced = conv->state;
    for (int cut = 0; cut < CUTS; cut++)
        drop(sliced, cut);
    sliced->ops->conv_destroy(sliced->whole);
    free(sliced);
    free(conv);
}

static sqz_status conv_create(sqz_conv **result, const sqz_conv_shape *shape, sqz_conv_use use,
                              int slot, const sqz_ops *ops, sqz_error *error) {
    *result = NULL;
    sqz_conv *conv = calloc(1, sizeof *conv);
    sliced_conv *sliced = calloc(1, sizeof *sliced);
    if (!conv || !sliced) {
        free(conv);
        free(sliced);
        return sqz_fail_memory(error, "a convolution", sizeof *conv + sizeof *sliced);
    }
    sliced->ops = ops;
    sqz_status status = ops->conv_create(&sliced->whole, shape, use, slot * INNER_SLOTS, error);
    if (status != SQZ_OK) {
        free(conv);
        free(sliced);
        return status;
    }
    *conv = *sliced->whole;
    conv->slot = slot;
    conv->state = sliced;
    *result = conv;
    return SQZ_OK;
}

static sqz_status conv_create_float32(sqz_conv **conv, const sqz_conv_shape *shape,
                                      sqz_conv_use use, int slot, sqz_error *error) {
    return conv_create(conv, shape, use, slot, sqz_ops_onednn_whole(SQZ_FLOAT32), error);
}

static sqz_status conv_create_bfloat16(sqz_conv **conv, const sqz_conv_shape *shape,
                                       sqz_conv_use use, int slot, sqz_error *error) {
    return conv_create(conv, shape, use, slot, sqz_ops_onednn_whole(SQZ_BFLOAT16), error);
}

/* -- Workers ----------------------------------------------------------------------------------- */

static sqz_status worker_create(sqz_worker **worker, const sqz_conv *const *convs, int count,
                                const sqz_ops *ops, sqz_error *error) {
    *worker = NULL;
    size_t inner_count = (size_t)count * INNER_SLOTS;
    const sqz_conv **inner = calloc(inner_count + 1, sizeof *inner);
    if (!inner)
        return sqz_fail_memory(error, "a worker", (inner_count + 1) * sizeof *inner);
    for (int slot = 0; slot < count; slot++) {
        if (!convs[slot])
            continue;
        const sliced_conv *sliced = convs[slot]->state;
        inner[slot * INNER_SLOTS] = sliced->whole;
        for (int i = 0; i < PIECES; i++)
            inner[slot * INNER_SLOTS + 1 + i] = sliced->pieces[i];
    }
    sqz_status status = ops->worker_create(worker, inner, (int)inner_count, error);
    free(inner);
    return status;
}

static sqz_status worker_create_float32(sqz_worker **worker, const sqz_conv *const *convs,
                                        int count, sqz_error *error) {
    return worker_create(worker, convs, count, sqz_ops_onednn_whole(SQZ_FLOAT32), error);
}

static sqz_status worker_create_bfloat16(sqz_worker **worker, const sqz_conv *const *convs,
                                         int count, sqz_error *error) {
    return worker_create(worker, convs, count, sqz_ops_onednn_whole(SQZ_BFLOAT16), error);
}

/* -- Forward ----------------------------------------------------------------------------------- */

static size_t piece_count(const sliced_conv *sliced, int cut) {
    int width = sliced->widths[cut];
    return (size_t)((blocks_of(sliced) + width - 1) / width);
}

/* Pieces from `span.begin` to `span.end` of a cut. */
static sqz_status pieces_forward(const sliced_conv *sliced, int cut, sqz_span span,
                                 sqz_worker *worker, void *dst, const void *src, const void *packed,
                                 const float *bias, sqz_error *error) {
    const sqz_ops *ops = sliced->ops;
    const sqz_conv *whole = sliced->whole;
    size_t channels = (size_t)sliced->widths[cut] * (size_t)ops->block;
    size_t piece_bytes = channels * (size_t)whole->shape.out_h * (size_t)whole->shape.out_w *
                         sqz_element_bytes(ops->element);
    size_t channel_bytes = whole->forward_bytes / (size_t)whole->shape.out_channels;
    size_t usual = (size_t)(blocks_of(sliced) / sliced->widths[cut]); /* the last may be narrower */
    for (size_t i = span.begin; i < span.end; i++)
        SQZ_TRY(ops->conv_forward(sliced->pieces[2 * cut + (i >= usual)], worker,
                                  (unsigned char *)dst + i * piece_bytes, src,
                                  (const unsigned char *)packed + i * channels * channel_bytes,
                                  bias + i * channels, sqz_part_whole, error));
    return SQZ_OK;
}

static sqz_status conv_forward(const sqz_conv *conv, sqz_worker *worker, void *dst, const void *src,
                               const void *packed, const float *bias, sqz_part part,
                               sqz_error *error) {
    const sliced_conv *sliced = conv->state;
    int cut = CUTS - 1; /* the finest that is there and no finer than is of use */
    while (cut >= 0 && !(sliced->widths[cut] && part.count >= piece_counts[cut]))
        cut--;
    if (cut < 0)
        return sliced->ops->conv_forward(sliced->whole, worker, dst, src, packed, bias, part,
                                         error);
    sqz_span span = sqz_part_span(part, piece_count(sliced, cut));
    return pieces_forward(sliced, cut, span, worker, dst, src, packed, bias, error);
}

/* -- Trying out -------------------------------------------------------------------------------- */

typedef struct {
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

static void trial_close(trial *trial, const sqz_ops *ops) {
    ops->worker_destroy(trial->worker);
    sqz_aligned_free(trial->src);
    sqz_aligned_free(trial->packed);
    sqz_aligned_free(trial->bias);
    sqz_aligned_free(trial->expected);
    sqz_aligned_free(trial->found);
}

static sqz_status trial_open(trial *trial, const sqz_conv *conv, const sqz_ops *ops,
                             sqz_error *error) {
    const sqz_conv_shape *shape = &conv->shape;
    uint32_t state = 1;
    size_t channels = (size_t)shape->out_channels;
    size_t src_count = (size_t)shape->in_channels * (size_t)shape->in_h * (size_t)shape->in_w;
    size_t dst_count = channels * (size_t)shape->out_h * (size_t)shape->out_w;
    size_t packed_bytes = conv->forward_bytes;
    trial->dst_bytes = dst_count * sqz_element_bytes(ops->element);
    trial->src =
        random_numbers(src_count * sqz_element_bytes(ops->element), ops->precision, &state);
    trial->packed = random_numbers(packed_bytes, ops->precision, &state);
    trial->bias = random_numbers(channels * sizeof(float), SQZ_FLOAT32, &state);
    trial->expected = sqz_aligned_calloc(trial->dst_bytes, 1);
    trial->found = sqz_aligned_calloc(trial->dst_bytes, 1);
    const sqz_conv **convs = calloc((size_t)conv->slot + 1, sizeof *convs);
    if (!trial->src || !trial->packed || !trial->bias || !trial->expected || !trial->found ||
        !convs) {
        free(convs);
        return sqz_fail_memory(error, "a convolution's trial",
                               src_count * sqz_element_bytes(ops->element) + 2 * trial->dst_bytes);
    }
    convs[conv->slot] = conv;
    sqz_status status = worker_create(&trial->worker, convs, conv->slot + 1, ops, error);
    free(convs);
    return status;
}

static sqz_status try_cuts(sliced_conv *sliced, trial *trial, sqz_error *error) {
    SQZ_TRY(sliced->ops->conv_forward(sliced->whole, trial->worker, trial->expected, trial->src,
                                      trial->packed, trial->bias, sqz_part_whole, error));
    for (int cut = 0; cut < CUTS; cut++) {
        if (!sliced->widths[cut])
            continue;
        memset(trial->found, 0xFF, trial->dst_bytes); /* NaN in both types */
        sqz_span all = {0, piece_count(sliced, cut)};
        SQZ_TRY(pieces_forward(sliced, cut, all, trial->worker, trial->found, trial->src,
                               trial->packed, trial->bias, error));
        if (memcmp(trial->found, trial->expected, trial->dst_bytes) != 0)
            drop(sliced, cut);
    }
    return SQZ_OK;
}

/* -- Cutting ----------------------------------------------------------------------------------- */

static sqz_status piece_create(sliced_conv *sliced, int index, int width, sqz_error *error) {
    const sqz_conv *whole = sliced->whole;
    sqz_conv_shape shape = whole->shape;
    shape.out_channels = width * sliced->ops->block;
    return sliced->ops->conv_create(&sliced->pieces[index], &shape, SQZ_CONV_FORWARD,
                                    whole->slot + 1 + index, error);
}

/* The whole's weights can only be cut where they are, if at all, when a piece takes its share. */
static bool takes_its_share(const sqz_conv *piece, const sqz_conv *whole) {
    return !piece || piece->forward_bytes * (size_t)whole->shape.out_channels ==
                         whole->forward_bytes * (size_t)piece->shape.out_channels;
}

static sqz_status cut_create(sliced_conv *sliced, int cut, sqz_error *error) {
    int blocks = blocks_of(sliced);
    int width = (blocks + piece_counts[cut] - 1) / piece_counts[cut], last = blocks % width;
    SQZ_TRY(piece_create(sliced, 2 * cut, width, error));
    if (last)
        SQZ_TRY(piece_create(sliced, 2 * cut + 1, last, error));
    sliced->widths[cut] = width;
    if (!takes_its_share(sliced->pieces[2 * cut], sliced->whole) ||
        !takes_its_share(sliced->pieces[2 * cut + 1], sliced->whole))
        drop(sliced, cut);
    return SQZ_OK;
}

static sqz_status conv_share(sqz_conv *conv, int threads, sqz_error *error) {
    sliced_conv *sliced = conv->state;
    bool any = false;
    for (int cut = 0; cut < CUTS; cut++) {
        if (threads >= piece_counts[cut] && blocks_of(sliced) > piece_counts[cut] / 2)
            SQZ_TRY(cut_create(sliced, cut, error));
        any = any || sliced->widths[cut];
    }
    if (!any)
        return SQZ_OK;
    trial trial = {0};
    sqz_status status = trial_open(&trial, conv, sliced->ops, error);
    if (status == SQZ_OK)
        status = try_cuts(sliced, &trial, error);
    trial_close(&trial, sliced->ops);
    return status;
}

/* -- Passed on to the whole -------------------------------------------------------------------- */

static sqz_status conv_pack_forward(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                    const float *weights, sqz_error *error) {
    const sliced_conv *sliced = conv->state;
    return sliced->ops->conv_pack_forward(sliced->whole, worker, packed, weights, error);
}

static sqz_status conv_pack_backward(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                     const float *weights, sqz_error *error) {
    const sliced_conv *sliced = conv->state;
    return sliced->ops->conv_pack_backward(sliced->whole, worker, packed, weights, error);
}

static sqz_status conv_unpack_gradient(const sqz_conv *conv, sqz_worker *worker, float *d_weights,
                                       const float *gradient, sqz_error *error) {
    const sliced_conv *sliced = conv->state;
    return sliced->ops->conv_unpack_gradient(sliced->whole, worker, d_weights, gradient, error);
}

static sqz_status conv_backward_data(const sqz_conv *conv, sqz_worker *worker, void *d_src,
                                     const void *d_dst, const void *packed, bool accumulate,
                                     sqz_error *error) {
    const sliced_conv *sliced = conv->state;
    return sliced->ops->conv_backward_data(sliced->whole, worker, d_src, d_dst, packed, accumulate,
                                           error);
}

static sqz_status conv_backward_weights(const sqz_conv *conv, sqz_worker *worker, float *gradient,
                                        const void *src, const void *d_dst, bool accumulate,
                                        sqz_error *error) {
    const sliced_conv *sliced = conv->state;
    return sliced->ops->conv_backward_weights(sliced->whole, worker, gradient, src, d_dst,
                                              accumulate, error);
}

/* -- The table --------------------------------------------------------------------------------- */

/* onednn.c's worker_destroy is kept. Leaves the table without a name where oneDNN is not offered.
 */
static void fill_table(sqz_precision precision) {
    const sqz_ops *whole = sqz_ops_onednn_whole(precision);
    if (!whole)
        return;
    sqz_ops *ops = &tables[precision];
    *ops = *whole;
    ops->conv_create = precision == SQZ_FLOAT32 ? conv_create_float32 : conv_create_bfloat16;
    ops->conv_destroy = conv_destroy;
    ops->conv_share = conv_share;
    ops->worker_create = precision == SQZ_FLOAT32 ? worker_create_float32 : worker_create_bfloat16;
    ops->conv_pack_forward = conv_pack_forward;
    ops->conv_pack_backward = conv_pack_backward;
    ops->conv_unpack_gradient = conv_unpack_gradient;
    ops->conv_forward = conv_forward;
    ops->conv_backward_data = conv_backward_data;
    ops->conv_backward_weights = conv_backward_weights;
}

static void initialise(void) {
    fill_table(SQZ_FLOAT32);
    fill_table(SQZ_BFLOAT16);
}

const sqz_ops *sqz_ops_onednn(sqz_precision precision) {
    pthread_once(&once, initialise);
    const sqz_ops *ops = &tables[precision];
    return ops->name ? ops : NULL;
}
