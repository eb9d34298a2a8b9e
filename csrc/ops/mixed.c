/* mixed.c: the "mixed" backend: each part of each convolution by oneDNN or by our kernels,
 * whichever is the faster. Which one that is stands in a table, measured once by us, and is not
 * measured where the library runs: two equal runs would now and then choose differently and end in
 * different bits.
 *
 * A convolution of it is one of each backend, of which each part is used once; both have the same
 * layout of activations, so nothing is converted between them. All other ops are our kernels in
 * either. */
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

/* Whose part of a kind of convolution is the faster, by instruction set. Medians over the layers of
 * both networks (csrc/README.md has them); ours unless oneDNN wins in both networks by more than
 * the noise, 3 %. */
typedef unsigned char choice_table[KINDS][PARTS];

static const choice_table float32_choices[] = {
    [SQZ_ISA_AVX2] = {[PLANAR] = {OWN, OWN, OWN},
                      [NARROWING] = {OWN, ONEDNN, OWN},
                      [WIDENING] = {OWN, OWN, OWN},
                      [WINOGRAD] = {OWN, OWN, OWN},
                      [OTHER] = {OWN, OWN, OWN}},
    [SQZ_ISA_AVX512] = {[PLANAR] = {OWN, OWN, OWN},
                        [NARROWING] = {OWN, OWN, ONEDNN},
                        [WIDENING] = {OWN, OWN, OWN},
                        [WINOGRAD] = {OWN, OWN, OWN},
                        [OTHER] = {OWN, OWN, OWN}},
};

/* oneDNN multiplies bfloat16 in half the time; ours convert and multiply float32, which only
 * Winograd's saving outweighs. */
static const choice_table bfloat16_choices[] = {
    [SQZ_ISA_AVX512] = {[PLANAR] = {ONEDNN, ONEDNN, ONEDNN},
                        [NARROWING] = {ONEDNN, ONEDNN, ONEDNN},
                        [WIDENING] = {ONEDNN, ONEDNN, ONEDNN},
                        [WINOGRAD] = {OWN, OWN, OWN},
                        [OTHER] = {ONEDNN, ONEDNN, ONEDNN}},
};

/* The table of a precision, and what it mixes. */
typedef struct {
    sqz_ops ops;
    const sqz_ops *backends[BACKENDS];
    const choice_table *choices;
} mixture;

static mixture mixtures[2]; /* by precision */
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
    const mixture *mixture;
    sqz_conv *by[BACKENDS]; /* NULL: does no part of it */
    int choice[PARTS];
} mixed_conv;

struct sqz_worker {
    const mixture *mixture;
    sqz_worker *by[BACKENDS];
};

static const sqz_conv *chosen(const sqz_conv *conv, int part) {
    const mixed_conv *mixed = conv->state;
    return mixed->by[mixed->choice[part]];
}

static const sqz_ops *ops_of(const sqz_conv *conv, int part) {
    const mixed_conv *mixed = conv->state;
    return mixed->mixture->backends[mixed->choice[part]];
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
            mixed->mixture->backends[i]->conv_destroy(mixed->by[i]);
    free(mixed);
    free(conv);
}

/* What the two made, as one. */
static void describe(sqz_conv *conv) {
    const sqz_conv *forward = chosen(conv, FORWARD);
    conv->forward_bytes = forward->forward_bytes;
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
    conv->backward_bytes = data->backward_bytes;
    memcpy(conv->backward_data_implementation, data->backward_data_implementation,
           sizeof conv->backward_data_implementation);
}

static bool part_is_used(sqz_conv_use use, int part) {
    return part == FORWARD || use == SQZ_CONV_BACKWARD ||
           (use == SQZ_CONV_BACKWARD_WEIGHTS && part == BACKWARD_WEIGHTS);
}

static sqz_status conv_create(sqz_conv **result, const sqz_conv_shape *shape, sqz_conv_use use,
                              int slot, const mixture *mixture, sqz_error *error) {
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
    mixed->mixture = mixture;
    sqz_status status = SQZ_OK;
    for (int part = 0; part < PARTS && status == SQZ_OK; part++) {
        int choice = (*mixture->choices)[kind_of(shape)][part];
        const sqz_ops *ops = mixture->backends[choice];
        mixed->choice[part] = choice;
        if (part_is_used(use, part) && !mixed->by[choice])
            status = ops->conv_create(&mixed->by[choice], shape, use, slot, error);
    }
    if (status != SQZ_OK) {
        conv_destroy(conv);
        return status;
    }
    describe(conv);
    *result = conv;
    return SQZ_OK;
}

static sqz_status conv_create_float32(sqz_conv **conv, const sqz_conv_shape *shape,
                                      sqz_conv_use use, int slot, sqz_error *error) {
    return conv_create(conv, shape, use, slot, &mixtures[SQZ_FLOAT32], error);
}

static sqz_status conv_create_bfloat16(sqz_conv **conv, const sqz_conv_shape *shape,
                                       sqz_conv_use use, int slot, sqz_error *error) {
    return conv_create(conv, shape, use, slot, &mixtures[SQZ_BFLOAT16], error);
}

static sqz_status conv_share(sqz_conv *conv, int threads, sqz_error *error) {
    const sqz_ops *ops = ops_of(conv, FORWARD);
    return ops->conv_share ? ops->conv_share((sqz_conv *)chosen(conv, FORWARD), threads, error)
                           : SQZ_OK;
}

/* -- Workers ----------------------------------------------------------------------------------- */

static void worker_destroy(sqz_worker *worker) {
    for (int i = 0; worker && i < BACKENDS; i++)
        worker->mixture->backends[i]->worker_destroy(worker->by[i]);
    free(worker);
}

/* A worker of each backend; at every slot the convolution that it made, or NULL. */
static sqz_status worker_create(sqz_worker **result, const sqz_conv *const *convs, int count,
                                const mixture *mixture, sqz_error *error) {
    *result = NULL;
    sqz_worker *worker = calloc(1, sizeof *worker);
    const sqz_conv **made = calloc((size_t)count + 1, sizeof *made);
    if (!worker || !made) {
        free(worker);
        free(made);
        return sqz_fail_memory(error, "a worker", ((size_t)count + 1) * sizeof *made);
    }
    worker->mixture = mixture;
    sqz_status status = SQZ_OK;
    for (int i = 0; i < BACKENDS && status == SQZ_OK; i++) {
        for (int slot = 0; slot < count; slot++)
            made[slot] = convs[slot] ? ((const mixed_conv *)convs[slot]->state)->by[i] : NULL;
        status = mixture->backends[i]->worker_create(&worker->by[i], made, count, error);
    }
    free(made);
    if (status != SQZ_OK) {
        worker_destroy(worker);
        return status;
    }
    *result = worker;
    return SQZ_OK;
}

static sqz_status worker_create_float32(sqz_worker **worker, const sqz_conv *const *convs,
                                        int count, sqz_error *error) {
    return worker_create(worker, convs, count, &mixtures[SQZ_FLOAT32], error);
}

static sqz_status worker_create_bfloat16(sqz_worker **worker, const sqz_conv *const *convs,
                                         int count, sqz_error *error) {
    return worker_create(worker, convs, count, &mixtures[SQZ_BFLOAT16], error);
}

/* -- Each part by whom it was given to --------------------------------------------------------- */

static sqz_status conv_pack_forward(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                    const float *weights, sqz_error *error) {
    return ops_of(conv, FORWARD)
        ->conv_pack_forward(chosen(conv, FORWARD), worker_of(conv, worker, FORWARD), packed,
                            weights, error);
}

static sqz_status conv_pack_backward(const sqz_conv *conv, sqz_worker *worker, void *packed,
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
                               const void *packed, const float *bias, sqz_part part,
                               sqz_error *error) {
    return ops_of(conv, FORWARD)
        ->conv_forward(chosen(conv, FORWARD), worker_of(conv, worker, FORWARD), dst, src, packed,
                       bias, part, error);
}

static sqz_status conv_backward_data(const sqz_conv *conv, sqz_worker *worker, void *d_src,
                                     const void *d_dst, const void *packed, bool accumulate,
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

/* Whether any forward is by a backend that prepares for sharing: else a plan made anew for it would
 * be the same one. */
static bool can_share(const mixture *mixture) {
    for (int kind = 0; kind < KINDS; kind++)
        if (mixture->backends[(*mixture->choices)[kind][FORWARD]]->conv_share)
            return true;
    return false;
}

/* Leaves the table without a name where there is nothing to mix. */
static void fill_table(sqz_precision precision, const choice_table *choices) {
    mixture *mixture = &mixtures[precision];
    const sqz_ops *onednn = sqz_ops_onednn(precision);
    const sqz_ops *own = onednn ? sqz_ops_openmp(onednn->isa, precision) : NULL;
    if (!own || own->isa == SQZ_ISA_BASELINE)
        return;
    mixture->backends[OWN] = own;
    mixture->backends[ONEDNN] = onednn;
    mixture->choices = &choices[own->isa];
    sqz_ops *ops = &mixture->ops;
    *ops = *own;
    ops->conv_create = precision == SQZ_FLOAT32 ? conv_create_float32 : conv_create_bfloat16;
    ops->conv_destroy = conv_destroy;
    ops->conv_share = can_share(mixture) ? conv_share : NULL;
    ops->worker_create = precision == SQZ_FLOAT32 ? worker_create_float32 : worker_create_bfloat16;
    ops->worker_destroy = worker_destroy;
    ops->conv_pack_forward = conv_pack_forward;
    ops->conv_pack_backward = conv_pack_backward;
    ops->conv_unpack_gradient = conv_unpack_gradient;
    ops->conv_forward = conv_forward;
    ops->conv_backward_data = conv_backward_data;
    ops->conv_backward_weights = conv_backward_weights;
    ops->name = "mixed";
}

static void initialise(void) {
    fill_table(SQZ_FLOAT32, float32_choices);
    fill_table(SQZ_BFLOAT16, bfloat16_choices);
}

const sqz_ops *sqz_ops_mixed(sqz_precision precision) {
    pthread_once(&once, initialise);
    const sqz_ops *ops = &mixtures[precision].ops;
    return ops->name ? ops : NULL;
}

bool sqz_ops_choice(sqz_choice *choice, const sqz_ops *ops, int index) {
    if (index < 0 || index >= KINDS * PARTS)
        return false;
    int kind = index / PARTS, part = index % PARTS;
    const char *backend = ops->name;
    for (int i = 0; i < 2; i++)
        if (ops == &mixtures[i].ops)
            backend = mixtures[i].backends[(*mixtures[i].choices)[kind][part]]->name;
    *choice = (sqz_choice){kind_names[kind], part_names[part], backend};
    return true;
}
