/* plan.c: channels as a backend stores them, primitives, workspaces: see plan.h. */
#include "plan.h"

#include "../base/memory.h"
#include "../ops/layout.h"
#include "placing.h"
#include "pooled_relu.h"

#include <stdlib.h>

size_t sqz_plan_slice(const sqz_plan *plan, const sqz_node *node, int activation) {
    const sqz_activation *shape = &plan->tape.activations[activation];
    int first = node->segment < 0 ? 0 : plan->placed[node->output].first_stored[node->segment];
    return (size_t)first * (size_t)shape->h * (size_t)shape->w *
           sqz_element_bytes(plan->placed[activation].element);
}

/* -- Shapes ------------------------------------------------------------------------------------ */

/* What an activation is an array of. */
static sqz_element element_of(const sqz_plan *plan, int activation) {
    if (activation == sqz_plan_output(plan))
        return SQZ_ELEMENT_FLOAT32;
    bool sums = plan->ops->element == SQZ_ELEMENT_UINT8 && activation == sqz_plan_maps(plan);
    return sums ? SQZ_ELEMENT_INT32 : plan->ops->element;
}

/* The input has blocks of its own; the logits are one block-padded pixel. */
static void place_channels(sqz_plan *plan) {
    for (int i = 0; i < plan->tape.activation_count; i++) {
        const sqz_activation *activation = &plan->tape.activations[i];
        sqz_placed *placed = &plan->placed[i];
        int block = i == 0 ? plan->ops->input_block : plan->ops->block, stored = 0;
        for (int segment = 0; segment < SQZ_SEGMENTS; segment++) {
            placed->first_stored[segment] = stored;
            stored += sqz_layout_stored(activation->channels[segment], block);
        }
        placed->stored_channels = stored;
        placed->count = (size_t)stored * (size_t)activation->h * (size_t)activation->w;
        placed->element = element_of(plan, i);
        placed->size_bytes = placed->count * sqz_element_bytes(placed->element);
    }
}

static int stored_out_channels(const sqz_plan *plan, const sqz_node *node) {
    if (node->segment < 0)
        return plan->placed[node->output].stored_channels;
    return sqz_layout_stored(plan->tape.activations[node->output].channels[node->segment],
                             plan->ops->block);
}

/* Running totals, aligned so that every array starts on a cache line. */
static size_t take_bytes(size_t *total, size_t size_bytes) {
    size_t start = *total;
    *total += sqz_size_align(size_bytes);
    return start;
}

static size_t take_floats(size_t *total, size_t count) {
    size_t start = *total;
    *total += sqz_size_align(count * sizeof(float)) / sizeof(float);
    return start;
}

static sqz_status create_conv(sqz_plan *plan, int index, sqz_error *error) {
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_activation *in = &plan->tape.activations[node->input];
    const sqz_activation *out = &plan->tape.activations[node->output];
    sqz_step *step = &plan->steps[index];
    sqz_conv_shape shape = {.in_channels = plan->placed[node->input].stored_channels,
                            .in_h = in->h,
                            .in_w = in->w,
                            .in_block =
                                node->input == 0 ? plan->ops->input_block : plan->ops->block,
                            .out_channels = stored_out_channels(plan, node),
                            .out_h = out->h,
                            .out_w = out->w,
                            .kernel_h = node->kernel,
                            .kernel_w = node->kernel,
                            .stride_h = node->stride,
                            .stride_w = node->stride,
                            .pad_h = node->pad,
                            .pad_w = node->pad,
                            .nonlinearity = node->nonlinearity,
                            .sums = plan->placed[node->output].element == SQZ_ELEMENT_INT32};
    sqz_conv_use use = !plan->training    ? SQZ_CONV_FORWARD
                       : node->input == 0 ? SQZ_CONV_BACKWARD_WEIGHTS
                                          : SQZ_CONV_BACKWARD;
    SQZ_TRY(plan->ops->conv_create(&step->conv, &shape, use, plan->conv_count, error));
    step->plain = shape.in_channels == sqz_activation_channels(in) &&
                  shape.out_channels == sqz_node_out_channels(&plan->tape, node);
    step->forward = take_bytes(&plan->forward_bytes, step->conv->forward_bytes);
    step->backward = take_bytes(&plan->backward_bytes, step->conv->backward_bytes);
    step->bias = take_floats(&plan->bias_count, (size_t)shape.out_channels);
    step->gradient = take_floats(&plan->lane_count, step->conv->gradient_count);
    plan->conv_nodes[plan->conv_count] = index;
    plan->convs[plan->conv_count++] = step->conv;
    return SQZ_OK;
}

static sqz_status create_steps(sqz_plan *plan, sqz_error *error) {
    for (int index = 0; index < plan->tape.node_count; index++) {
        const sqz_node *node = &plan->tape.nodes[index];
        if (node->kind == SQZ_NODE_CONV)
            SQZ_TRY(create_conv(plan, index, error));
        if (node->kind == SQZ_NODE_MAX_POOL) {
            const sqz_activation *in = &plan->tape.activations[node->input];
            const sqz_activation *out = &plan->tape.activations[node->output];
            plan->steps[index].pool =
                (sqz_pool_shape){.channels = plan->placed[node->input].stored_channels,
                                 .in_h = in->h,
                                 .in_w = in->w,
                                 .out_h = out->h,
                                 .out_w = out->w,
                                 .kernel = node->kernel,
                                 .stride = node->stride};
        }
    }
    plan->lane_bias = plan->lane_count;
    plan->lane_count += plan->training ? plan->bias_count : 0;
    return SQZ_OK;
}

/* -- Plans and workspaces ---------------------------------------------------------------------- */

void sqz_plan_destroy(sqz_plan *plan) {
    if (!plan)
        return;
    for (int slot = 0; slot < plan->conv_count; slot++)
        plan->ops->conv_destroy(plan->steps[plan->conv_nodes[slot]].conv);
    sqz_aligned_free(plan->packed_forward);
    sqz_aligned_free(plan->packed_backward);
    sqz_aligned_free(plan->packed_bias);
    sqz_aligned_free(plan->packed_scales);
    sqz_aligned_free(plan->map_scales);
    sqz_aligned_free(plan->logit_scales);
    free(plan);
}

static sqz_status make_scales(sqz_plan *plan, sqz_error *error) {
    size_t classes = (size_t)plan->placed[sqz_plan_maps(plan)].stored_channels;
    plan->packed_scales = sqz_aligned_calloc(plan->bias_count, sizeof(float));
    plan->map_scales = sqz_aligned_calloc(classes, sizeof(float));
    plan->logit_scales = sqz_aligned_calloc(classes, sizeof(float));
    if (!plan->packed_scales || !plan->map_scales || !plan->logit_scales)
        return sqz_fail_memory(error, "scales", (plan->bias_count + 2 * classes) * sizeof(float));
    return SQZ_OK;
}

static sqz_status fill(sqz_plan *plan, const sqz_spec *spec, int h, int w, int threads,
                       sqz_error *error) {
    SQZ_TRY(sqz_tape_build(&plan->tape, spec, h, w, error));
    place_channels(plan);
    SQZ_TRY(create_steps(plan, error));
    sqz_plan_find_pooled_relus(plan);
    for (int slot = 0; slot < plan->conv_count && threads > 1 && plan->ops->conv_share; slot++)
        SQZ_TRY(plan->ops->conv_share(plan->steps[plan->conv_nodes[slot]].conv, threads, error));
    SQZ_TRY(sqz_plan_place(plan, error));
    plan->packed_forward = sqz_aligned_calloc(plan->forward_bytes, 1);
    plan->packed_backward = sqz_aligned_calloc(plan->backward_bytes, 1);
    plan->packed_bias = sqz_aligned_calloc(plan->bias_count, sizeof(float));
    if (!plan->packed_forward || !plan->packed_backward || !plan->packed_bias)
        return sqz_fail_memory(error, "packed weights",
                               plan->forward_bytes + plan->backward_bytes +
                                   plan->bias_count * sizeof(float));
    return sqz_plan_reads_bytes(plan) ? make_scales(plan, error) : SQZ_OK;
}

sqz_status sqz_plan_create(sqz_plan **result, const sqz_spec *spec, int h, int w, bool training,
                           int threads, const sqz_ops *ops, sqz_error *error) {
    *result = NULL;
    sqz_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return sqz_fail_memory(error, "a plan", sizeof *plan);
    plan->ops = ops;
    plan->training = training;
    plan->feature_scale = 1;
    sqz_status status = fill(plan, spec, h, w, threads, error);
    if (status != SQZ_OK) {
        sqz_plan_destroy(plan);
        return status;
    }
    *result = plan;
    return SQZ_OK;
}

void sqz_workspace_destroy(sqz_workspace *workspace, const sqz_plan *plan) {
    if (!workspace)
        return;
    plan->ops->worker_destroy(workspace->worker);
    sqz_aligned_free(workspace->memory);
    free(workspace);
}

sqz_status sqz_workspace_create(sqz_workspace **result, const sqz_plan *plan, bool helper,
                                sqz_error *error) {
    *result = NULL;
    sqz_workspace *workspace = calloc(1, sizeof *workspace);
    if (!workspace)
        return sqz_fail_memory(error, "a workspace", sizeof *workspace);
    workspace->memory = helper ? NULL : sqz_aligned_calloc(plan->workspace_bytes, 1);
    sqz_status status =
        workspace->memory || helper
            ? plan->ops->worker_create(&workspace->worker, plan->convs, plan->conv_count, error)
            : sqz_fail_memory(error, "a workspace", plan->workspace_bytes);
    if (status != SQZ_OK) {
        sqz_workspace_destroy(workspace, plan);
        return status;
    }
    *result = workspace;
    return SQZ_OK;
}
