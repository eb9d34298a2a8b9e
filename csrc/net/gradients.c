/* gradients.c: one batch forward and back. Pictures are dealt to lanes (lanes.h), and one thread
 * works on a lane at a time: which thread did what leaves no trace in the result. */
#include "model.h"

#include "../base/parallel.h"
#include "../image/augment.h"
#include "loss.h"
#include "walk.h"

#include <math.h>
#include <string.h>

#define SUM_WITHIN 1e-4 /* of 1: what was rounded to float32 is much nearer */

/* A picture's place in the global batch. */
static int64_t index_of(const sqz_batch *batch, int picture) {
    return batch->indices ? batch->indices[picture] : picture;
}

/* Conditions here are written so that NaN is refused too. */
static sqz_status check_targets(const sqz_model *model, const sqz_batch *batch, sqz_error *error) {
    int classes = model->spec.num_classes;
    for (int i = 0; !batch->probabilities && i < batch->n; i++)
        if (batch->labels[i] < 0 || batch->labels[i] >= classes)
            return sqz_fail(error, SQZ_INVALID, "label %lld of picture %d is outside 0..%d",
                            (long long)batch->labels[i], i, classes - 1);
    for (int i = 0; batch->probabilities && i < batch->n; i++) {
        const double *probabilities = batch->probabilities + (size_t)i * (size_t)classes;
        double sum = 0;
        for (int class = 0; class < classes; class++) {
            if (!(probabilities[class] >= 0))
                return sqz_fail(error, SQZ_INVALID,
                                "the probability of class %d for picture %d is %g, expected at "
                                "least 0",
                                class, i, probabilities[class]);
            sum += probabilities[class];
        }
        if (!(fabs(sum - 1) <= SUM_WITHIN))
            return sqz_fail(error, SQZ_INVALID,
                            "the probabilities for picture %d add up to %g, expected 1", i, sum);
    }
    return SQZ_OK;
}

static sqz_status check_loss(const sqz_model *model, const sqz_batch *batch, sqz_error *error) {
    if (!(batch->label_smoothing >= 0 && batch->label_smoothing <= 1))
        return sqz_fail(error, SQZ_INVALID, "label_smoothing is %g, expected 0 to 1",
                        batch->label_smoothing);
    if (!(batch->temperature > 0) || isinf(batch->temperature))
        return sqz_fail(error, SQZ_INVALID, "temperature is %g, expected a finite number above 0",
                        batch->temperature);
    if (!batch->class_weights)
        return SQZ_OK;
    for (int i = 0; i < model->spec.num_classes; i++)
        if (!(batch->class_weights[i] > 0) || isinf(batch->class_weights[i]))
            return sqz_fail(error, SQZ_INVALID, "the weight of class %d is %g, expected above 0", i,
                            batch->class_weights[i]);
    if (!(batch->total_weight >= 0) || isinf(batch->total_weight))
        return sqz_fail(error, SQZ_INVALID, "total_weight is %g, expected a number of at least 0",
                        batch->total_weight);
    if (!batch->probabilities && batch->total_weight == 0 && batch->n != batch->global_batch)
        return sqz_fail(error, SQZ_INVALID,
                        "with class weights a part of a batch (%d of %d pictures) needs the whole "
                        "batch's total_weight",
                        batch->n, batch->global_batch);
    return SQZ_OK;
}

/* What bytes become is finite: the least and the greatest are. */
static sqz_status check_normalisation(const sqz_batch *batch, sqz_error *error) {
    for (int c = 0; batch->pictures && c < 3; c++) {
        float mean = batch->mean[c], std = batch->std[c];
        if (!(std > 0) || !isfinite((0.0f - mean) / std) || !isfinite((1.0f - mean) / std))
            return sqz_fail(error, SQZ_INVALID,
                            "mean[%d] is %g and std[%d] %g, expected finite numbers, std above 0, "
                            "by which 0 and 1 stay finite",
                            c, mean, c, std);
    }
    return SQZ_OK;
}

static sqz_status check_batch(const sqz_model *model, const sqz_batch *batch, sqz_error *error) {
    if (batch->n < 1)
        return sqz_fail(error, SQZ_INVALID, "the batch has %d pictures, expected at least 1",
                        batch->n);
    int64_t first = index_of(batch, 0), last = index_of(batch, batch->n - 1);
    for (int i = 1; batch->indices && i < batch->n; i++)
        if (batch->indices[i] <= batch->indices[i - 1])
            return sqz_fail(error, SQZ_INVALID,
                            "picture %lld follows picture %lld, expected indices that ascend",
                            (long long)batch->indices[i], (long long)batch->indices[i - 1]);
    if (first < 0 || last >= batch->global_batch)
        return sqz_fail(error, SQZ_INVALID,
                        "pictures %lld to %lld are not within a global batch of %d",
                        (long long)first, (long long)last, batch->global_batch);
    if (!(batch->dropout >= 0 && batch->dropout < 1))
        return sqz_fail(error, SQZ_INVALID, "dropout is %g, expected 0 or more, less than 1",
                        batch->dropout);
    SQZ_TRY(check_normalisation(batch, error));
    SQZ_TRY(check_targets(model, batch, error));
    return check_loss(model, batch, error);
}

/* -- One lane ---------------------------------------------------------------------------------- */

typedef struct {
    sqz_entry *entry;
    double *losses;
    float *logits; /* may be NULL */
    const sqz_batch *batch;
    sqz_reach reach;
    double divisor; /* of the mean loss */
} training;

/* What the loss of a picture is asked to reach. */
static sqz_target target_of(const sqz_batch *batch, int classes, int picture) {
    sqz_target target = {.smoothing = batch->label_smoothing,
                         .weights = batch->class_weights,
                         .temperature = batch->temperature};
    if (batch->probabilities)
        target.probabilities = batch->probabilities + (size_t)picture * (size_t)classes;
    else
        target.label = batch->labels[picture];
    return target;
}

/* A picture's bytes as the network takes them, in the workspace. */
static const float *made_of_bytes(const sqz_plan *plan, const sqz_workspace *workspace,
                                  const sqz_batch *batch, int picture) {
    int h = batch->h, w = batch->w;
    float *x = (float *)(workspace->memory + plan->input_offset);
    const uint8_t *pixels = batch->pictures + (size_t)picture * plan->placed[0].count;
    sqz_change_parts parts = {0};
    if (batch->changes)
        parts = sqz_change_parts_of(&batch->changes[picture]);
    if (parts.moved || parts.coloured || parts.erased[2] > 0) {
        uint8_t *changed = workspace->memory + plan->picture_offset;
        sqz_image_change(changed, pixels, h, w, &batch->changes[picture]);
        pixels = changed;
        parts.flips = 0;
    } /* flips alone are normalise's, on its way */
    sqz_image_normalise(x, pixels, h, w, (unsigned)parts.flips, batch->mean, batch->std);
    return x;
}

static sqz_status find_input(const float **x, const sqz_plan *plan, const sqz_workspace *workspace,
                             const sqz_batch *batch, int picture, sqz_error *error) {
    if (batch->pictures) {
        *x = made_of_bytes(plan, workspace, batch, picture);
        return SQZ_OK;
    }
    *x = batch->x + (size_t)picture * plan->placed[0].count;
    return sqz_check_finite(*x, plan->placed[0].count, picture, error);
}

static sqz_status run_picture(const training *training, sqz_workspace *workspace, float *lane,
                              bool accumulate, int picture, sqz_error *error) {
    const sqz_plan *plan = training->entry->plan;
    const sqz_batch *batch = training->batch;
    int output = sqz_plan_output(plan);
    int classes = plan->tape.activations[output].channels[0];
    const float *x;
    sqz_dropout dropout = {.seed = batch->seed,
                           .step = batch->step,
                           .picture = (uint32_t)index_of(batch, picture),
                           .probability = batch->dropout};
    const sqz_dropout *used = batch->dropout > 0 ? &dropout : NULL;
    sqz_target target = target_of(batch, classes, picture);

    SQZ_TRY(find_input(&x, plan, workspace, batch, picture, error));
    SQZ_TRY(sqz_walk_forward(plan, workspace, x, used, NULL, error));
    const float *scores = sqz_logits_at(plan, workspace);
    float *d_scores = sqz_d_logits_at(plan, workspace);
    memset(d_scores, 0, plan->placed[output].size_bytes);
    training->losses[picture] =
        sqz_cross_entropy(d_scores, scores, classes, &target, 1.0 / training->divisor);
    if (training->logits)
        memcpy(training->logits + (size_t)picture * (size_t)classes, scores,
               (size_t)classes * sizeof *scores);
    return sqz_walk_backward(plan, workspace, lane, accumulate, &training->reach, x, used, NULL,
                             error);
}

/* The first picture from `picture` on that falls into a lane; n if none does. */
static int next_of_lane(const sqz_batch *batch, int lane, int picture) {
    while (picture < batch->n && index_of(batch, picture) % SQZ_LANES != lane)
        picture++;
    return picture;
}

static sqz_status run_lane(void *context, int lane, sqz_workspace *workspace, sqz_error *error) {
    const training *training = context;
    const sqz_batch *batch = training->batch;
    int first = next_of_lane(batch, lane, 0);
    if (first >= batch->n)
        return SQZ_OK;
    float *sum = sqz_lanes_take(&training->entry->lanes);
    for (int picture = first; picture < batch->n; picture = next_of_lane(batch, lane, picture + 1))
        SQZ_TRY(run_picture(training, workspace, sum, picture != first, picture, error));
    sqz_lanes_finish(&training->entry->lanes, lane, sum);
    return SQZ_OK;
}

/* -- The batch --------------------------------------------------------------------------------- */

/* Floats at a lane's start that belong to convolutions that do not learn. */
static size_t frozen_floats(const sqz_plan *plan, const sqz_reach *reach) {
    size_t floats = plan->lane_bias;
    for (int slot = 0; slot < plan->conv_count; slot++) {
        int node = plan->conv_nodes[slot];
        if (reach->learns[node] && plan->steps[node].gradient < floats)
            floats = plan->steps[node].gradient;
    }
    return floats;
}

typedef struct {
    const training *training;
    float *gradients;
} unpacking;

static void clear_if_frozen(const unpacking *unpacking, int parameter) {
    const bool *frozen = unpacking->training->batch->frozen;
    const sqz_parameter *tensor = &unpacking->training->entry->plan->tape.parameters[parameter];
    if (frozen && frozen[parameter])
        memset(unpacking->gradients + tensor->offset, 0, tensor->count * sizeof(float));
}

static sqz_status unpack_slot(void *context, int slot, sqz_workspace *workspace, sqz_error *error) {
    const unpacking *unpacking = context;
    const sqz_entry *entry = unpacking->training->entry;
    int index = entry->plan->conv_nodes[slot];
    if (unpacking->training->reach.learns[index])
        SQZ_TRY(sqz_plan_unpack(entry->plan, slot, unpacking->gradients,
                                sqz_lanes_total(&entry->lanes), workspace, error));
    clear_if_frozen(unpacking, entry->plan->tape.nodes[index].weight);
    clear_if_frozen(unpacking, entry->plan->tape.nodes[index].bias);
    return SQZ_OK;
}

/* What the sum of the pictures' losses is divided by. */
static double divisor_of(const sqz_batch *batch) {
    if (!batch->class_weights || batch->probabilities)
        return batch->global_batch;
    double sum = 0;
    for (int i = 0; i < batch->n; i++)
        sum += batch->class_weights[batch->labels[i]];
    return batch->total_weight > 0 ? batch->total_weight : sum;
}

static sqz_status compute_on(training *training, sqz_model *model, const bool *filled, int threads,
                             sqz_error *error) {
    sqz_entry *entry = training->entry;
    unpacking unpacking = {training, model->gradients};
    SQZ_TRY(sqz_entry_pack(entry, model, threads, error));
    sqz_lanes_begin(&entry->lanes, filled, frozen_floats(entry->plan, &training->reach));
    SQZ_TRY(sqz_entry_parallel(entry, SQZ_LANES, threads, run_lane, training, error));
    return sqz_entry_parallel(entry, entry->plan->conv_count, threads, unpack_slot, &unpacking,
                              error);
}

static sqz_status compute(sqz_entry *entry, sqz_model *model, double *loss, double *losses,
                          float *logits, const sqz_batch *batch, sqz_error *error) {
    training training = {.entry = entry,
                         .losses = losses,
                         .logits = logits,
                         .batch = batch,
                         .divisor = divisor_of(batch)};
    sqz_reach_find(&training.reach, &entry->plan->tape, batch->frozen);
    bool filled[SQZ_LANES];
    int with_work = 0;
    for (int lane = 0; lane < SQZ_LANES; lane++)
        with_work += filled[lane] = next_of_lane(batch, lane, 0) < batch->n;
    int threads = sqz_threads_take(with_work);
    sqz_status status = compute_on(&training, model, filled, threads, error);
    sqz_threads_give(threads);
    *loss = 0;
    for (int i = 0; i < batch->n && status == SQZ_OK; i++)
        *loss += losses[i];
    *loss /= training.divisor;
    return status;
}

sqz_status sqz_model_compute_gradients(sqz_model *model, double *loss, double *losses,
                                       float *logits, const sqz_batch *batch, sqz_error *error) {
    SQZ_TRY(check_batch(model, batch, error));
    SQZ_TRY(sqz_model_enter(model, true, error));
    sqz_entry *entry = NULL;
    sqz_status status = sqz_model_entry(model, &entry, batch->h, batch->w, true, 1, error);
    if (status == SQZ_OK) {
        status = compute(entry, model, loss, losses, logits, batch, error);
        sqz_model_entry_release(model, entry);
    }
    sqz_model_leave(model, true);
    return status;
}
