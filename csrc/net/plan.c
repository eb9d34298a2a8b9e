/* plan.c: see plan.h. */
#include "plan.h"

#include "../base/memory.h"
#include "../ops/layout.h"

#include <stdlib.h>
#include <string.h>

enum { NOT_PLACED = -1 };

size_t sqz_plan_slice(const sqz_plan *plan, const sqz_node *node, int activation) {
    const sqz_activation *shape = &plan->tape.activations[activation];
    int first = node->segment < 0 ? 0 : plan->placed[node->output].first_stored[node->segment];
    return (size_t)first * (size_t)shape->h * (size_t)shape->w * plan->ops->element_bytes;
}

/* -- Shapes ------------------------------------------------------------------------------------ */

/* The input stays planar; the logits are one block-padded pixel, of floats. */
static void place_channels(sqz_plan *plan) {
    for (int i = 0; i < plan->tape.activation_count; i++) {
        const sqz_activation *activation = &plan->tape.activations[i];
        sqz_placed *placed = &plan->placed[i];
        int block = i == 0 ? 1 : plan->ops->block, stored = 0;
        for (int segment = 0; segment < SQZ_SEGMENTS; segment++) {
            placed->first_stored[segment] = stored;
            stored += sqz_layout_stored(activation->channels[segment], block);
        }
        placed->stored_channels = stored;
        placed->count = (size_t)stored * (size_t)activation->h * (size_t)activation->w;
        placed->size_bytes = placed->count * plan->ops->element_bytes;
    }
    sqz_placed *logits = &plan->placed[sqz_plan_output(plan)];
    logits->size_bytes = logits->count * sizeof(float);
}

static int stored_out_channels(const sqz_plan *plan, const sqz_node *node) {
    if (node->segment < 0)
        return plan->placed[node->output].stored_channels;
    return sqz_layout_stored(plan->tape.activations[node->output].channels[node->segment],
                             plan->ops->block);
}

/* A running total of floats, aligned so that every array starts on a cache line. */
static size_t take(size_t *total, size_t count) {
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
                            .in_block = node->input == 0 ? 1 : plan->ops->block,
                            .out_channels = stored_out_channels(plan, node),
                            .out_h = out->h,
                            .out_w = out->w,
                            .kernel_h = node->kernel,
                            .kernel_w = node->kernel,
                            .stride_h = node->stride,
                            .stride_w = node->stride,
                            .pad_h = node->pad,
                            .pad_w = node->pad,
                            .relu = node->relu};
    sqz_conv_use use = !plan->training    ? SQZ_CONV_FORWARD
                       : node->input == 0 ? SQZ_CONV_BACKWARD_WEIGHTS
                                          : SQZ_CONV_BACKWARD;
    SQZ_TRY(plan->ops->conv_create(&step->conv, &shape, use, plan->conv_count, error));
    step->plain = shape.in_channels == sqz_activation_channels(in) &&
                  shape.out_channels == sqz_node_out_channels(&plan->tape, node);
    step->forward = take(&plan->forward_count, step->conv->forward_count);
    step->backward = take(&plan->backward_count, step->conv->backward_count);
    step->bias = take(&plan->bias_count, (size_t)shape.out_channels);
    step->gradient = take(&plan->lane_count, step->conv->gradient_count);
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

/* -- ReLU's way back ----------------------------------------------------------------------------
 */

/* Whether all that is written to an activation is a convolution's with ReLU, and `reader` alone
 * reads it. */
static bool is_pooled_relu(const sqz_tape *tape, int activation, int reader) {
    for (int i = 0; i < tape->node_count; i++) {
        const sqz_node *node = &tape->nodes[i];
        bool reads = node->input == activation || node->addend == activation;
        bool relu = node->kind == SQZ_NODE_CONV && node->relu;
        if ((reads && i != reader) || (node->output == activation && !relu))
            return false;
    }
    return true;
}

/* A max-pool takes to each window's winner its gradient. So a ReLU before it can be undone after
 * it, on a quarter of the elements: a winner was cut off by the ReLU just where the maximum is not
 * positive, and the bias's gradient is the sum over windows as well as over pixels. */
static void find_pooled_relus(sqz_plan *plan) {
    const sqz_tape *tape = &plan->tape;
    for (int i = 0; i < tape->node_count; i++)
        plan->steps[i].pooled_by = -1;
    for (int i = 0; i < tape->node_count; i++) {
        int input = tape->nodes[i].input;
        if (tape->nodes[i].kind != SQZ_NODE_MAX_POOL || input == 0 ||
            !is_pooled_relu(tape, input, i))
            continue;
        plan->steps[i].undoes_relu = true;
        for (int writer = 0; writer < i; writer++)
            if (tape->nodes[writer].output == input)
                plan->steps[writer].pooled_by = i;
    }
}

/* -- Buffers ----------------------------------------------------------------------------------- */

/* A float32 input stays the caller's. */
static int first_placed(const sqz_plan *plan) {
    return sqz_plan_rounds_input(plan) ? 0 : 1;
}

/* Training: all activations live until the way back is done. */
static sqz_status place_all(sqz_plan *plan, sqz_arena *arena, sqz_error *error) {
    for (int i = first_placed(plan); i < plan->tape.activation_count; i++)
        SQZ_TRY(
            sqz_arena_reserve(arena, plan->placed[i].size_bytes, &plan->placed[i].offset, error));
    for (int index = 0; index < plan->tape.node_count; index++) {
        const sqz_node *node = &plan->tape.nodes[index];
        if (node->kind == SQZ_NODE_MAX_POOL || node->kind == SQZ_NODE_DROPOUT)
            SQZ_TRY(sqz_arena_reserve(arena, plan->placed[node->output].count,
                                      &plan->steps[index].byte_offset, error));
    }
    return SQZ_OK;
}

/* The last node that reads each activation; the logits are read by whoever asked for them. */
static void find_last_readers(int *last, const sqz_tape *tape) {
    for (int i = 0; i < tape->activation_count; i++)
        last[i] = tape->node_count;
    for (int index = 0; index < tape->node_count; index++) {
        last[tape->nodes[index].input] = index;
        if (tape->nodes[index].addend >= 0)
            last[tape->nodes[index].addend] = index;
    }
}

/* Inference: an activation's room is free again after its last reader. Dropout does nothing: its
 * output lies where its input does. */
static sqz_status place_by_liveness(sqz_plan *plan, sqz_arena *arena, sqz_error *error) {
    const sqz_tape *tape = &plan->tape;
    int last[SQZ_TAPE_NODES + 1];
    bool placed[SQZ_TAPE_NODES + 1] = {false};
    find_last_readers(last, tape);
    if (first_placed(plan) == 0)
        SQZ_TRY(
            sqz_arena_reserve(arena, plan->placed[0].size_bytes, &plan->placed[0].offset, error));
    for (int index = 0; index < tape->node_count; index++) {
        int input = tape->nodes[index].input, output = tape->nodes[index].output;
        if (tape->nodes[index].kind != SQZ_NODE_DROPOUT)
            continue;
        last[output] = last[input] > last[output] ? last[input] : last[output];
        last[input] = NOT_PLACED; /* the room is given back as the output's */
    }
    for (int index = 0; index < tape->node_count; index++) {
        int output = tape->nodes[index].output;
        if (tape->nodes[index].kind == SQZ_NODE_DROPOUT)
            plan->placed[output].offset = plan->placed[tape->nodes[index].input].offset;
        else if (!placed[output])
            SQZ_TRY(sqz_arena_reserve(arena, plan->placed[output].size_bytes,
                                      &plan->placed[output].offset, error));
        placed[output] = true;
        for (int i = first_placed(plan); i < tape->activation_count; i++)
            if (last[i] == index)
                SQZ_TRY(sqz_arena_release(arena, plan->placed[i].offset, plan->placed[i].size_bytes,
                                          error));
    }
    return SQZ_OK;
}

/* A reader writes the gradient of what it read, or adds to it if a later reader was there before on
 * the way back. */
static sqz_status place_gradient(sqz_plan *plan, sqz_arena *arena, bool *accumulate, bool *written,
                                 int activation, sqz_error *error) {
    *accumulate = written[activation];
    if (!written[activation])
        SQZ_TRY(sqz_arena_reserve(arena, plan->placed[activation].size_bytes,
                                  &plan->placed[activation].gradient_offset, error));
    written[activation] = true;
    return SQZ_OK;
}

static sqz_status place_gradients(sqz_plan *plan, sqz_arena *arena, sqz_error *error) {
    const sqz_tape *tape = &plan->tape;
    int first_writer[SQZ_TAPE_NODES + 1];
    bool written[SQZ_TAPE_NODES + 1] = {false};
    for (int index = tape->node_count - 1; index >= 0; index--)
        first_writer[tape->nodes[index].output] = index;
    sqz_placed *logits = &plan->placed[sqz_plan_output(plan)];
    SQZ_TRY(sqz_arena_reserve(arena, logits->size_bytes, &logits->gradient_offset, error));
    for (int index = tape->node_count - 1; index >= 0; index--) {
        const sqz_node *node = &tape->nodes[index];
        sqz_step *step = &plan->steps[index];
        if (node->input != 0)
            SQZ_TRY(
                place_gradient(plan, arena, &step->accumulate_input, written, node->input, error));
        if (node->addend >= 0)
            SQZ_TRY(place_gradient(plan, arena, &step->accumulate_addend, written, node->addend,
                                   error));
        if (first_writer[node->output] == index)
            SQZ_TRY(sqz_arena_release(arena, plan->placed[node->output].gradient_offset,
                                      plan->placed[node->output].size_bytes, error));
    }
    return SQZ_OK;
}

/* Room for the widest weights that have to be scattered to stored channels. */
static sqz_status place_scatter(sqz_plan *plan, sqz_arena *arena, sqz_error *error) {
    size_t largest = 0;
    for (int slot = 0; slot < plan->conv_count; slot++) {
        const sqz_conv_shape *shape = &plan->convs[slot]->shape;
        size_t count = (size_t)shape->out_channels * (size_t)shape->in_channels *
                       (size_t)shape->kernel_h * (size_t)shape->kernel_w;
        if (!plan->steps[plan->conv_nodes[slot]].plain && count > largest)
            largest = count;
    }
    /* Not used while a picture is in work, but small: not worth laying over the activations. */
    return sqz_arena_reserve(arena, sqz_size_multiply(largest, sizeof(float)),
                             &plan->scatter_offset, error);
}

static sqz_status place_buffers(sqz_plan *plan, sqz_error *error) {
    sqz_arena arena;
    sqz_arena_init(&arena);
    sqz_status status = place_scatter(plan, &arena, error);
    if (status == SQZ_OK)
        status = plan->training ? place_all(plan, &arena, error)
                                : place_by_liveness(plan, &arena, error);
    if (status == SQZ_OK && plan->training)
        status = place_gradients(plan, &arena, error);
    plan->workspace_bytes = arena.peak_bytes;
    sqz_arena_free(&arena);
    return status;
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
    free(plan);
}

static sqz_status fill(sqz_plan *plan, const sqz_spec *spec, int h, int w, int threads,
                       sqz_error *error) {
    SQZ_TRY(sqz_tape_build(&plan->tape, spec, h, w, error));
    place_channels(plan);
    SQZ_TRY(create_steps(plan, error));
    find_pooled_relus(plan);
    for (int slot = 0; slot < plan->conv_count && threads > 1 && plan->ops->conv_share; slot++)
        SQZ_TRY(plan->ops->conv_share(plan->steps[plan->conv_nodes[slot]].conv, threads, error));
    SQZ_TRY(place_buffers(plan, error));
    plan->packed_forward = sqz_aligned_calloc(plan->forward_count, sizeof(float));
    plan->packed_backward = sqz_aligned_calloc(plan->backward_count, sizeof(float));
    plan->packed_bias = sqz_aligned_calloc(plan->bias_count, sizeof(float));
    if (!plan->packed_forward || !plan->packed_backward || !plan->packed_bias)
        return sqz_fail_memory(error, "packed weights",
                               (plan->forward_count + plan->backward_count + plan->bias_count) *
                                   sizeof(float));
    return SQZ_OK;
}

sqz_status sqz_plan_create(sqz_plan **result, const sqz_spec *spec, int h, int w, bool training,
                           int threads, const sqz_ops *ops, sqz_error *error) {
    *result = NULL;
    sqz_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return sqz_fail_memory(error, "a plan", sizeof *plan);
    plan->ops = ops;
    plan->training = training;
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

/* -- Packing ----------------------------------------------------------------------------------- */

/* The stored channel of a logical one. */
static int stored_channel(const sqz_plan *plan, int activation, int channel) {
    int first = plan->tape.activations[activation].channels[0];
    return channel < first ? channel : plan->placed[activation].first_stored[1] + channel - first;
}

/* The same for a convolution's output, counted from the slice it writes. */
static int stored_output(const sqz_plan *plan, const sqz_node *node, int channel) {
    return node->segment < 0 ? stored_channel(plan, node->output, channel) : channel;
}

typedef enum { TO_STORED, TO_LOGICAL } direction;

/* Copy weights between logical OIHW and stored OIHW, kernel by kernel. */
static void copy_weights(const sqz_plan *plan, const sqz_node *node, const sqz_conv *conv,
                         float *stored, float *logical, direction way) {
    const int *shape = plan->tape.parameters[node->weight].shape;
    size_t kernel = (size_t)shape[2] * (size_t)shape[3];
    for (int o = 0; o < shape[0]; o++) {
        size_t stored_row = (size_t)stored_output(plan, node, o) * (size_t)conv->shape.in_channels;
        for (int i = 0; i < shape[1]; i++) {
            float *outer =
                stored + (stored_row + (size_t)stored_channel(plan, node->input, i)) * kernel;
            float *inner = logical + ((size_t)o * (size_t)shape[1] + (size_t)i) * kernel;
            if (way == TO_STORED)
                memcpy(outer, inner, kernel * sizeof(float));
            else
                memcpy(inner, outer, kernel * sizeof(float));
        }
    }
}

sqz_status sqz_plan_pack(sqz_plan *plan, int slot, const float *parameters,
                         sqz_workspace *workspace, sqz_error *error) {
    int index = plan->conv_nodes[slot];
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    const sqz_conv *conv = step->conv;
    const sqz_parameter *weight = &plan->tape.parameters[node->weight];
    const sqz_parameter *bias = &plan->tape.parameters[node->bias];
    const float *weights = parameters + weight->offset;
    if (!step->plain) {
        float *stored = (float *)(workspace->memory + plan->scatter_offset);
        memset(stored, 0,
               (size_t)conv->shape.out_channels * (size_t)conv->shape.in_channels *
                   (size_t)conv->shape.kernel_h * (size_t)conv->shape.kernel_w * sizeof(float));
        copy_weights(plan, node, conv, stored, (float *)weights, TO_STORED);
        weights = stored;
    }
    for (int o = 0; o < bias->shape[0]; o++)
        plan->packed_bias[step->bias + (size_t)stored_output(plan, node, o)] =
            parameters[bias->offset + (size_t)o];
    SQZ_TRY(plan->ops->conv_pack_forward(conv, workspace->worker,
                                         plan->packed_forward + step->forward, weights, error));
    if (conv->use == SQZ_CONV_BACKWARD)
        SQZ_TRY(plan->ops->conv_pack_backward(
            conv, workspace->worker, plan->packed_backward + step->backward, weights, error));
    return SQZ_OK;
}

sqz_status sqz_plan_unpack(const sqz_plan *plan, int slot, float *gradients, const float *lane,
                           sqz_workspace *workspace, sqz_error *error) {
    int index = plan->conv_nodes[slot];
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    const sqz_parameter *weight = &plan->tape.parameters[node->weight];
    const sqz_parameter *bias = &plan->tape.parameters[node->bias];
    float *d_weights = step->plain ? gradients + weight->offset
                                   : (float *)(workspace->memory + plan->scatter_offset);
    SQZ_TRY(plan->ops->conv_unpack_gradient(step->conv, workspace->worker, d_weights,
                                            lane + step->gradient, error));
    if (!step->plain)
        copy_weights(plan, node, step->conv, d_weights, gradients + weight->offset, TO_LOGICAL);
    for (int o = 0; o < bias->shape[0]; o++)
        gradients[bias->offset + (size_t)o] =
            lane[plan->lane_bias + step->bias + (size_t)stored_output(plan, node, o)];
    return SQZ_OK;
}
