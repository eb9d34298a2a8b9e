/* quantization.c: makes a model a quantised one: see sqz_quantization in sqz.h. */
#include "quantization.h"

#include "../base/memory.h"
#include "../ops/integer/integer.h"
#include "model.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void sqz_quantization_destroy(sqz_quantization *quantization) {
    if (!quantization)
        return;
    free(quantization->activation_scales);
    free(quantization->weight_scales);
    free(quantization);
}

const sqz_quantization *sqz_model_quantization(const sqz_model *model) {
    return model->quantization;
}

sqz_status sqz_model_check_quantized(const sqz_model *model, sqz_precision precision,
                                     sqz_error *error) {
    if (precision != SQZ_INT8 || model->quantization)
        return SQZ_OK;
    return sqz_fail(error, SQZ_INVALID,
                    "precision \"int8\" needs a quantised model: squeezenet-c quantize MODEL DATA "
                    "makes one");
}

/* -- What belongs to what ---------------------------------------------------------------------- */

size_t sqz_quantization_first(const sqz_tape *tape, const sqz_node *node) {
    size_t first = 0;
    for (int i = 0; i < node->bias; i++)
        if (tape->parameters[i].rank == 1)
            first += tape->parameters[i].count;
    return first;
}

static size_t weight_scale_count(const sqz_tape *tape) {
    size_t count = 0;
    for (int i = 0; i < tape->parameter_count; i++)
        if (tape->parameters[i].rank == 1)
            count += tape->parameters[i].count;
    return count;
}

static void join(int *groups, int count, int a, int b) {
    int from = groups[b], to = groups[a];
    for (int i = 0; i < count; i++)
        if (groups[i] == from)
            groups[i] = to;
}

static void find_groups(int *groups, const sqz_tape *tape) {
    int count = tape->activation_count;
    for (int i = 0; i < count; i++)
        groups[i] = i;
    for (int i = 0; i < tape->node_count; i++) {
        const sqz_node *node = &tape->nodes[i];
        if (node->kind == SQZ_NODE_CONV || node->kind == SQZ_NODE_AVERAGE_POOL)
            continue;
        join(groups, count, node->input, node->output);
        if (node->addend >= 0)
            join(groups, count, node->input, node->addend);
    }
    const sqz_node *last = &tape->nodes[tape->node_count - 1];
    groups[0] = groups[last->input] = groups[last->output] = -1;
}

sqz_status sqz_model_activation_groups(const sqz_model *model, int *groups, size_t capacity,
                                       size_t *count, sqz_error *error) {
    (void)error;
    int all[SQZ_TAPE_NODES + 1];
    find_groups(all, &model->tape);
    *count = (size_t)model->tape.activation_count;
    for (size_t i = 0; groups && i < *count && i < capacity; i++)
        groups[i] = all[i];
    return SQZ_OK;
}

/* -- Checks ------------------------------------------------------------------------------------ */

static bool is_scale(float scale) {
    return isfinite(scale) && scale >= FLT_MIN;
}

static sqz_status check_pictures(const sqz_quantization *wanted, sqz_error *error) {
    for (int c = 0; c < 3; c++)
        if (!isfinite(wanted->mean[c]) || !is_scale(wanted->std[c]))
            return sqz_fail(error, SQZ_INVALID,
                            "the mean and std of colour %d are %g and %g, expected finite numbers "
                            "and a std above 0",
                            c, (double)wanted->mean[c], (double)wanted->std[c]);
    return SQZ_OK;
}

static sqz_status check_activations(const sqz_tape *tape, const sqz_quantization *wanted,
                                    sqz_error *error) {
    int groups[SQZ_TAPE_NODES + 1];
    const float *scales = wanted->activation_scales;
    if (wanted->activation_count != (size_t)tape->activation_count)
        return sqz_fail(error, SQZ_INVALID,
                        "%zu activation scales, expected one for each of %d activations",
                        wanted->activation_count, tape->activation_count);
    find_groups(groups, tape);
    for (int i = 0; i < tape->activation_count; i++) {
        if (groups[i] < 0 ? scales[i] != 1 : !is_scale(scales[i]))
            return sqz_fail(error, SQZ_INVALID, "the scale of activation %d is %g, expected %s", i,
                            (double)scales[i],
                            groups[i] < 0 ? "1, as it has none" : "a number above 0");
        if (groups[i] >= 0 && scales[i] != scales[groups[i]])
            return sqz_fail(error, SQZ_INVALID,
                            "the scales of activations %d and %d are %g and %g, expected the same: "
                            "a pool or a sum joins them",
                            groups[i], i, (double)scales[groups[i]], (double)scales[i]);
    }
    return SQZ_OK;
}

static sqz_status check_conv(const sqz_tape *tape, const sqz_node *node,
                             const sqz_quantization *wanted, sqz_error *error) {
    const sqz_parameter *weight = &tape->parameters[node->weight];
    size_t terms = weight->count / (size_t)weight->shape[0];
    size_t most = SQZ_INTEGER_MOST_SUM / (SQZ_INTEGER_MOST_WEIGHT * SQZ_INTEGER_MOST_BYTE);
    if (terms > most)
        return sqz_fail(error, SQZ_INVALID,
                        "%s sums %zu products, expected at most %zu: 32 bits could overflow",
                        weight->name, terms, most);
    const float *scales = wanted->weight_scales + sqz_quantization_first(tape, node);
    double in = wanted->activation_scales[node->input];
    double out = wanted->activation_scales[node->output];
    for (int o = 0; o < weight->shape[0]; o++)
        if (!is_scale(scales[o]) || !is_scale((float)(scales[o] * in / out)) ||
            !is_scale((float)(scales[o] * in)))
            return sqz_fail(error, SQZ_INVALID,
                            "the scale of %s, output channel %d, is %g between activations of %g "
                            "and %g: expected a number above 0 that float32 can multiply by",
                            weight->name, o, (double)scales[o], in, out);
    return SQZ_OK;
}

static sqz_status check(const sqz_model *model, const sqz_quantization *wanted, sqz_error *error) {
    const sqz_tape *tape = &model->tape;
    if (model->spec.bypass == SQZ_BYPASS_COMPLEX)
        return sqz_fail(error, SQZ_INVALID,
                        "a model with complex bypass cannot be quantised: its bypass has values "
                        "below 0, which a byte does not hold");
    SQZ_TRY(check_pictures(wanted, error));
    SQZ_TRY(check_activations(tape, wanted, error));
    if (wanted->weight_scale_count != weight_scale_count(tape))
        return sqz_fail(error, SQZ_INVALID,
                        "%zu weight scales, expected one for each of %zu output channels",
                        wanted->weight_scale_count, weight_scale_count(tape));
    for (int i = 0; i < tape->node_count; i++)
        if (tape->nodes[i].kind == SQZ_NODE_CONV)
            SQZ_TRY(check_conv(tape, &tape->nodes[i], wanted, error));
    return SQZ_OK;
}

/* -- Quantising -------------------------------------------------------------------------------- */

static float *copy_scales(const float *scales, size_t count) {
    float *copy = malloc((count ? count : 1) * sizeof *copy);
    if (copy)
        memcpy(copy, scales, count * sizeof *copy);
    return copy;
}

static sqz_status copy(sqz_quantization **result, const sqz_quantization *wanted,
                       sqz_error *error) {
    *result = NULL;
    sqz_quantization *made = malloc(sizeof *made);
    if (made) {
        *made = *wanted;
        made->activation_scales = copy_scales(wanted->activation_scales, wanted->activation_count);
        made->weight_scales = copy_scales(wanted->weight_scales, wanted->weight_scale_count);
    }
    if (!made || !made->activation_scales || !made->weight_scales) {
        sqz_quantization_destroy(made);
        return sqz_fail_memory(error, "a model's scales",
                               (wanted->activation_count + wanted->weight_scale_count) *
                                   sizeof(float));
    }
    *result = made;
    return SQZ_OK;
}

/* To whole steps: times its scale again, and in the first convolution what it is worth for bytes.
 */
static void round_weights(float *parameters, const sqz_tape *tape, const sqz_node *node,
                          const sqz_quantization *quantization) {
    const sqz_parameter *weight = &tape->parameters[node->weight];
    const float *scales = quantization->weight_scales + sqz_quantization_first(tape, node);
    float *values = parameters + weight->offset;
    int kernel = weight->shape[2] * weight->shape[3];
    for (int o = 0; o < weight->shape[0]; o++)
        for (int c = 0; c < weight->shape[1]; c++) {
            double folded = node->input == 0 ? sqz_integer_folded(quantization->std[c]) : 1;
            double scale = scales[o];
            for (int k = 0; k < kernel; k++, values++)
                *values = (float)(sqz_integer_weight(*values / folded, scale) * scale * folded);
        }
}

sqz_status sqz_model_quantize(sqz_model *model, const sqz_quantization *quantization,
                              sqz_error *error) {
    sqz_quantization *made;
    SQZ_TRY(check(model, quantization, error));
    SQZ_TRY(copy(&made, quantization, error));
    sqz_status status = sqz_model_begin_write(model, error);
    if (status != SQZ_OK) {
        sqz_quantization_destroy(made);
        return status;
    }
    for (int i = 0; i < model->tape.node_count; i++)
        if (model->tape.nodes[i].kind == SQZ_NODE_CONV)
            round_weights(model->parameters, &model->tape, &model->tape.nodes[i], made);
    sqz_model_end_write_quantized(model, made);
    return SQZ_OK;
}
