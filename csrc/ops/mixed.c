/* mixed.c: the "mixed" backend: each part of each convolution by oneDNN or by our kernels,
 * whichever is the faster. Which one that is stands in a table, measured once by us, and is not
 * measured where the library runs: two equal runs would now and then choose differently and end in
 * different bits.
 *
 * A convolution of it is one of each backend, of which each part is used once; both have the same
 * layout of activations, so nothing is converted between them. All other ops are our kernels in
 * either. bfloat16 has no mixture: there oneDNN does all (see backends.c). */
#include "ops.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OWN, ONEDNN, BACKENDS };
enum { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS, PARTS };
enum { PLANAR, NARROWING, WIDENING, WINOGRAD, OTHER, KINDS };

static const char *const kind_names[KINDS] = {"first layer", "1x1 squeeze", "1x1 expand",
                                              "3x3 stride 1", "other"};
static const char *const part_names[PARTS] = {"forward", "backward_data", "backward_weights"};

/* [instruction set][kind of convolution][part]. AVX2: medians over the layers of both networks, on
 * an EPYC (csrc/README.md has them): ours by a factor of 2 for 3x3, and within 3 % of each other
 * for 1x1, where ours is taken unless oneDNN wins in both networks. AVX-512: not measured yet but
 * for oneDNN's direct convolutions; ours where they do a quarter of the multiplications. */
static const unsigned char choices[][KINDS][PARTS] = {
    [SQZ_ISA_AVX2] = {[NARROWING] = {[BACKWARD_DATA] = ONEDNN}},
    [SQZ_ISA_AVX512] = {[PLANAR] = {ONEDNN, ONEDNN, ONEDNN},
                        [NARROWING] = {ONEDNN, ONEDNN, ONEDNN},
                        [WIDENING] = {ONEDNN, ONEDNN, ONEDNN},
                        [OTHER] = {ONEDNN, ONEDNN, ONEDNN}},
};

static const sqz_ops *backends[BACKENDS];
static sqz_ops table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int kind_of(const sqz_conv_shape *shape) {
    if (shape->in_block == 1)
        return PLANAR;
    if (shape->kernel_h == 1 && shape->kernel_w == 1)
        return shape->out_channels <= shape->in_channels ? NARROWING : WIDENING;
    bool winograd = shape->kernel_h == 3 && shape->kernel_w == 3 && shape->stride_h == 1 &&
                    shape->stride_w == 1;
    return winograd ? WINOGRAD : OTHER;
}

/* -- Convolutions ------------------------------------------------------------------------------ */

typedef struct {
    sqz_conv *by[BACKENDS]; /* NULL: does no part of it */
    int choice[PARTS];
} mixed_conv;

struct sqz_worker {
    sqz_worker *by[BACKENDS];
};

static const sqz_conv *chosen(const sqz_conv *conv, int part) {
    const mixed_conv *mixed = conv->state;
    return mixed->by[mixed->choice[part]];
}

static const sqz_ops *ops_of(const sqz_conv *conv, int part) {
    const mixed_conv *mixed = conv->state;
    return backends[mixed->choice[part]];
}

static sqz_worker *worker_of(const sqz_conv *conv, const sqz_worker *worker, int part) {
    const mixed_conv *mixed = conv->state;
    return worker->by[mixed->choice[part]];
}

static void conv_destroy(sqz_conv *conv) {
    if (!conv)
        return;
    mixed_conv *mixed = conv->state;
    for (int i = 0; mixed && i < BACKENDS; i++)
        if (mixed->by[i])
            backends[i]->conv_destroy(mixed->by[i]);
    free(mixed);
    free(conv);
}

/* What the two made, as one. */
static void describe(sqz_conv *conv) {
    const sqz_conv *forward = chosen(conv, FORWARD);
    conv->forward_count = forward->forward_count;
    memcpy(conv->forward_implementation, forward->forward_implementation,
           sizeof conv->forward_implementation);
    if (conv->use == SQZ_CONV_FORWARD)
        return;
    const sqz_conv *weights = chosen(conv, BACKWARD_WEIGHTS);
    conv->gradient_count = weights->gradient_count;
    memcpy(conv->backward_weights_implementation, weights->backward_weights_implementation,
           sizeof conv->backward_weights_implementation);
    if (conv->use != SQZ_CONV_BACKWARD)
        return;
    const sqz_conv *data = chosen(conv, BACKWARD_DATA);
    conv->backward_count = data->backward_count;
    memcpy(conv->backward_data_implementation, data->backward_data_implementation,
           sizeof conv->backward_data_implementation);
}

static bool part_is_used(sqz_conv_use use, int part) {
    return part == FORWARD || use == SQZ_CONV_BACKWARD ||
           (use == SQZ_CONV_BACKWARD_WEIGHTS && part == BACKWARD_WEIGHTS);
}

static sqz_status conv_create(sqz_conv **result, const sqz_conv_shape *shape, sqz_conv_use use,
                              int slot, sqz_error *error) {
    *result = NULL;
    sqz_conv *conv = calloc(1, sizeof *conv);
    mixed_conv *mixed = calloc(1, sizeof *mixed);
    if (!conv || !mixed) {
        free(conv);
        free(mixed);
        return sqz_fail_memory(error, "a convolution", sizeof *conv + sizeof *mixed);
    }
    conv->shape = *shape;
    conv->use = use;
    conv->slot = slot;
    conv->state = mixed;
    sqz_status status = SQZ_OK;
    for (int part = 0; part < PARTS && status == SQZ_OK; part++) {
        int choice = choices[table.isa][kind_of(shape)][part];
        mixed->choice[part] = choice;
        if (part_is_used(use, part) && !mixed->by[choice])
            status = backends[choice]->conv_create(&mixed->by[choice], shape, use, slot, error);
    }
    if (status != SQZ_OK) {
        conv_destroy(conv);
        return status;
    }
    describe(conv);
    *result = conv;
    return SQZ_OK;
}

static sqz_status conv_share(sqz_conv *conv, int threads, sqz_error *error) {
    const sqz_ops *ops = ops_of(conv, FORWARD);
    return ops->conv_share ? ops->conv_share((sqz_conv *)chosen(conv, FORWARD), threads, error)
                           : SQZ_OK;
}

/* -- Workers ----------------------------------------------------------------------------------- */

static void worker_destroy(sqz_worker *worker) {
    for (int i = 0; worker && i < BACKENDS; i++)
        backends[i]->worker_destroy(worker->by[i]);
    free(worker);
}

/* A worker of each backend; at every slot the convolution that it made, or NULL. */
static sqz_status worker_create(sqz_worker **result, const sqz_conv *const *convs, int count,
                                sqz_error *error) {
    *result = NULL;
    sqz_worker *worker = calloc(1, sizeof *worker);
    const sqz_conv **made = calloc((size_t)count + 1, sizeof *made);
    sqz_status status =
        worker && made ? SQZ_OK
                       : sqz_fail_memory(error, "a worker", ((size_t)count + 1) * sizeof *made);
    for (int i = 0; i < BACKENDS && status == SQZ_OK; i++) {
        for (int slot = 0; slot < count; slot++)
            made[slot] = convs[slot] ? ((const mixed_conv *)convs[slot]->state)->by[i] : NULL;
        status = backends[i]->worker_create(&worker->by[i], made, count, error);
    }
    free(made);
    if (status != SQZ_OK) {
        worker_destroy(worker);
        return status;
    }
    *result = worker;
    return SQZ_OK;
}

/* -- Each part by whom it was given to --------------------------------------------------------- */

static sqz_status conv_pack_forward(const sqz_conv *conv, sqz_worker *worker, float *packed,
                                    const float *weights, sqz_error *error) {
    return ops_of(conv, FORWARD)
        ->conv_pack_forward(chosen(conv, FORWARD), worker_of(conv, worker, FORWARD), packed,
                            weights, error);
}

static sqz_status conv_pack_backward(const sqz_conv *conv, sqz_worker *worker, float *packed,
                                     const float *weights, sqz_error *error) {
    return ops_of(conv, BACKWARD_DATA)
        ->conv_pack_backward(chosen(conv, BACKWARD_DATA), worker_of(conv, worker, BACKWARD_DATA),
                             packed, weights, error);
}

static sqz_status conv_unpack_gradient(const sqz_conv *conv, sqz_worker *worker, float *d_weights,
                                       const float *gradient, sqz_error *error) {
    return ops_of(conv, BACKWARD_WEIGHTS)
        ->conv_unpack_gradient(chosen(conv, BACKWARD_WEIGHTS),
                               worker_of(conv, worker, BACKWARD_WEIGHTS), d_weights, gradient,
                               error);
}

static sqz_status conv_forward(const sqz_conv *conv, sqz_worker *worker, void *dst, const void *src,
                               const float *packed, const float *bias, sqz_part part,
                               sqz_error *error) {
    return ops_of(conv, FORWARD)
        ->conv_forward(chosen(conv, FORWARD), worker_of(conv, worker, FORWARD), dst, src, packed,
                       bias, part, error);
}

static sqz_status conv_backward_data(const sqz_conv *conv, sqz_worker *worker, void *d_src,
                                     const void *d_dst, const float *packed, bool accumulate,
                                     sqz_error *error) {
    return ops_of(conv, BACKWARD_DATA)
        ->conv_backward_data(chosen(conv, BACKWARD_DATA), worker_of(conv, worker, BACKWARD_DATA),
                             d_src, d_dst, packed, accumulate, error);
}

static sqz_status conv_backward_weights(const sqz_conv *conv, sqz_worker *worker, float *gradient,
                                        const void *src, const void *d_dst, bool accumulate,
                                        sqz_error *error) {
    return ops_of(conv, BACKWARD_WEIGHTS)
        ->conv_backward_weights(chosen(conv, BACKWARD_WEIGHTS),
                                worker_of(conv, worker, BACKWARD_WEIGHTS), gradient, src, d_dst,
                                accumulate, error);
}

/* -- The table --------------------------------------------------------------------------------- */

static void initialise(void) {
    backends[ONEDNN] = sqz_ops_onednn(SQZ_FLOAT32);
    if (!backends[ONEDNN])
        return;
    backends[OWN] = sqz_ops_openmp(backends[ONEDNN]->isa, SQZ_FLOAT32);
    if (!backends[OWN] || backends[OWN]->isa == SQZ_ISA_BASELINE)
        return;
    table = *backends[OWN];
    table.conv_create = conv_create;
    table.conv_destroy = conv_destroy;
    table.conv_share = conv_share;
    table.worker_create = worker_create;
    table.worker_destroy = worker_destroy;
    table.conv_pack_forward = conv_pack_forward;
    table.conv_pack_backward = conv_pack_backward;
    table.conv_unpack_gradient = conv_unpack_gradient;
    table.conv_forward = conv_forward;
    table.conv_backward_data = conv_backward_data;
    table.conv_backward_weights = conv_backward_weights;
    table.name = "mixed";
}

const sqz_ops *sqz_ops_mixed(void) {
    pthread_once(&once, initialise);
    return table.name ? &table : NULL;
}

bool sqz_ops_choice(sqz_choice *choice, const sqz_ops *ops, int index) {
    if (index < 0 || index >= KINDS * PARTS)
        return false;
    int kind = index / PARTS, part = index % PARTS;
    *choice = (sqz_choice){.layer = kind_names[kind],
                           .part = part_names[part],
                           .backend = ops == &table ? backends[choices[ops->isa][kind][part]]->name
                                                    : ops->name};
    return true;
}
