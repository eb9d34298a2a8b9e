/* walk.c: see walk.h. Forward and backward of every node stand side by side. */
#include "walk.h"

#include "../base/memory.h"

#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void sqz_clock_start(sqz_clock *clock) {
    clock->count = 0;
    clock->last = now();
}

static void lap(sqz_clock *clock) {
    if (!clock || clock->count == SQZ_LAPS)
        return;
    double time = now();
    clock->laps[clock->count++] = time - clock->last;
    clock->last = time;
}

/* What all nodes of a walk share. */
typedef struct {
    const sqz_plan *plan;
    sqz_workspace *workspace;
    const void *x;
    const sqz_dropout *dropout;
    float *lane;
    bool accumulate;
    const sqz_reach *reach;
    sqz_clock *clock;
    sqz_part part; /* of each forward op */
} walk;

static const void *input_of(const walk *walk, const sqz_node *node) {
    if (node->input == 0 && !sqz_plan_rounds_input(walk->plan))
        return walk->x;
    return sqz_activation_at(walk->plan, walk->workspace, node->input);
}

static int pixels_of(const sqz_plan *plan, int activation) {
    return plan->tape.activations[activation].h * plan->tape.activations[activation].w;
}

static int blocks_of(const sqz_plan *plan, int activation) {
    return plan->placed[activation].stored_channels / plan->ops->block;
}

/* The channel blocks of an activation that are the walk's part, and where the first one lies. */
typedef struct {
    int blocks;
    size_t first; /* block */
} share;

static share share_of(const walk *walk, int activation) {
    sqz_span span = sqz_part_span(walk->part, (size_t)blocks_of(walk->plan, activation));
    return (share){(int)(span.end - span.begin), span.begin};
}

/* Of a channel block. */
static size_t block_bytes(const sqz_plan *plan, int activation) {
    return (size_t)pixels_of(plan, activation) * (size_t)plan->ops->block *
           sqz_element_bytes(plan->placed[activation].element);
}

/* The walk's part of the input, in pieces that leave each aligned. */
static void round_input(const walk *walk) {
    const sqz_plan *plan = walk->plan;
    if (!sqz_plan_rounds_input(plan))
        return;
    enum { PIECE = SQZ_ALIGNMENT };
    size_t count = plan->placed[0].count;
    sqz_span span = sqz_part_span(walk->part, (count + PIECE - 1) / PIECE);
    size_t first = span.begin * PIECE, end = span.end * PIECE < count ? span.end * PIECE : count;
    if (first < end)
        plan->ops->round(sqz_activation_at(plan, walk->workspace, 0) +
                             first * sqz_element_bytes(plan->placed[0].element),
                         (const float *)walk->x + first, end - first);
}

/* -- Convolution: dst[slice] = relu(weights * src + bias) -------------------------------------- */

static sqz_status conv_forward(const walk *walk, int index, sqz_error *error) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    unsigned char *dst = sqz_activation_at(plan, walk->workspace, node->output);
    return plan->ops->conv_forward(step->conv, walk->workspace->worker,
                                   dst + sqz_plan_slice(plan, node, node->output),
                                   input_of(walk, node), plan->packed_forward + step->forward,
                                   plan->packed_bias + step->bias, walk->part, error);
}

/* What a convolution's ReLU has cut off gets no gradient, and its bias gets the sum of the rest: on
 * `activation`, its output or the max-pooled one. */
static void nonlinearity_backward(const walk *walk, int index, int activation) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    size_t slice = sqz_plan_slice(plan, node, activation);
    const void *values = sqz_activation_at(plan, walk->workspace, activation) + slice;
    void *d_values = sqz_gradient_at(plan, walk->workspace, activation) + slice;
    float *d_bias = walk->lane + plan->lane_bias + step->bias;
    int blocks = step->conv->shape.out_channels / plan->ops->block;
    int pixels = pixels_of(plan, activation);
    plan->ops->nonlinearity_backward(d_values, d_bias, values, blocks, pixels, node->nonlinearity,
                                     walk->accumulate);
}

static sqz_status conv_backward(const walk *walk, int index, sqz_error *error) {
    const sqz_plan *plan = walk->plan;
    const sqz_ops *ops = plan->ops;
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    sqz_worker *worker = walk->workspace->worker;
    const void *d_dst = sqz_gradient_at(plan, walk->workspace, node->output) +
                        sqz_plan_slice(plan, node, node->output);
    if (step->pooled_by < 0) {
        nonlinearity_backward(walk, index, node->output);
        lap(walk->clock);
    }
    if (walk->reach->learns[index]) {
        SQZ_TRY(ops->conv_backward_weights(step->conv, worker, walk->lane + step->gradient,
                                           input_of(walk, node), d_dst, walk->accumulate, error));
        lap(walk->clock);
    }
    if (!walk->reach->wanted[node->input])
        return SQZ_OK;
    SQZ_TRY(ops->conv_backward_data(
        step->conv, worker, sqz_gradient_at(plan, walk->workspace, node->input), d_dst,
        plan->packed_backward + step->backward, step->accumulate_input, error));
    lap(walk->clock);
    return SQZ_OK;
}

/* -- Sum: output = input + addend -------------------------------------------------------------- */

static void sum_forward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    share share = share_of(walk, node->output);
    size_t block = block_bytes(plan, node->output), from = share.first * block;
    plan->ops->sum(sqz_activation_at(plan, walk->workspace, node->output) + from,
                   sqz_activation_at(plan, walk->workspace, node->input) + from,
                   sqz_activation_at(plan, walk->workspace, node->addend) + from,
                   (size_t)share.blocks *
                       (block / sqz_element_bytes(plan->placed[node->output].element)));
}

static void sum_backward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    const sqz_placed *placed = &plan->placed[node->output];
    const void *d_output = sqz_gradient_at(plan, walk->workspace, node->output);
    int inputs[2] = {node->input, node->addend};
    bool accumulate[2] = {step->accumulate_input, step->accumulate_addend};
    /* Each input gets a copy of its own: a convolution's backward masks its gradient in place. */
    for (int i = 0; i < 2; i++) {
        if (!walk->reach->wanted[inputs[i]])
            continue;
        void *d_input = sqz_gradient_at(plan, walk->workspace, inputs[i]);
        if (accumulate[i])
            plan->ops->sum(d_input, d_input, d_output, placed->count);
        else
            memcpy(d_input, d_output, placed->size_bytes);
    }
}

/* -- Dropout ----------------------------------------------------------------------------------- */

static void dropout_forward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    void *dst = sqz_activation_at(plan, walk->workspace, node->output);
    const void *src = sqz_activation_at(plan, walk->workspace, node->input);
    if (walk->dropout)
        plan->ops->dropout_forward(dst, walk->workspace->memory + plan->steps[index].byte_offset,
                                   src, blocks_of(plan, node->output),
                                   pixels_of(plan, node->output), walk->dropout);
    else if (dst != src) /* in inference they are one */
        memcpy(dst, src, plan->placed[node->output].size_bytes);
}

static void dropout_backward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    void *d_src = sqz_gradient_at(plan, walk->workspace, node->input);
    const void *d_dst = sqz_gradient_at(plan, walk->workspace, node->output);
    if (walk->dropout)
        plan->ops->dropout_backward(
            d_src, d_dst, walk->workspace->memory + plan->steps[index].byte_offset,
            blocks_of(plan, node->output), pixels_of(plan, node->output), walk->dropout);
    else
        memcpy(d_src, d_dst, plan->placed[node->input].size_bytes);
}

/* -- Pooling; the average one is the last node: it gives the logits ---------------------------- */

static void max_pool_forward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    plan->ops->max_pool_forward(sqz_activation_at(plan, walk->workspace, node->output),
                                plan->training ? walk->workspace->memory + step->byte_offset : NULL,
                                sqz_activation_at(plan, walk->workspace, node->input), &step->pool,
                                walk->part);
}

static void max_pool_backward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    for (int writer = 0; step->undoes_relu && writer < index; writer++)
        if (plan->steps[writer].pooled_by == index)
            nonlinearity_backward(walk, writer, node->output);
    plan->ops->max_pool_backward(sqz_gradient_at(plan, walk->workspace, node->input),
                                 sqz_gradient_at(plan, walk->workspace, node->output),
                                 walk->workspace->memory + step->byte_offset, &step->pool,
                                 step->accumulate_input);
}

static void average_pool_forward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    share share = share_of(walk, node->input);
    size_t first = share.first * (size_t)plan->ops->block;
    float *logits = sqz_logits_at(plan, walk->workspace) + first;
    const void *maps = sqz_activation_at(plan, walk->workspace, node->input) +
                       share.first * block_bytes(plan, node->input);
    int pixels = pixels_of(plan, node->input);
    if (plan->logit_scales)
        plan->ops->average_pool_scaled(logits, maps, share.blocks, pixels,
                                       plan->logit_scales + first);
    else
        plan->ops->average_pool_forward(logits, maps, share.blocks, pixels);
}

static void average_pool_backward(const walk *walk, int index) {
    const sqz_plan *plan = walk->plan;
    const sqz_node *node = &plan->tape.nodes[index];
    plan->ops->average_pool_backward(sqz_gradient_at(plan, walk->workspace, node->input),
                                     sqz_d_logits_at(plan, walk->workspace),
                                     blocks_of(plan, node->input), pixels_of(plan, node->input));
}

/* -- The walks --------------------------------------------------------------------------------- */

static sqz_status forward_node(const walk *walk, int index, sqz_error *error) {
    switch (walk->plan->tape.nodes[index].kind) {
    case SQZ_NODE_CONV:
        return conv_forward(walk, index, error);
    case SQZ_NODE_MAX_POOL:
        max_pool_forward(walk, index);
        break;
    case SQZ_NODE_DROPOUT:
        dropout_forward(walk, index);
        break;
    case SQZ_NODE_SUM:
        sum_forward(walk, index);
        break;
    case SQZ_NODE_AVERAGE_POOL:
        average_pool_forward(walk, index);
        break;
    }
    return SQZ_OK;
}

sqz_status sqz_walk_forward(const sqz_plan *plan, sqz_workspace *workspace, const void *x,
                            const sqz_dropout *dropout, sqz_clock *clock, sqz_error *error) {
    walk walk = {.plan = plan,
                 .workspace = workspace,
                 .x = x,
                 .dropout = dropout,
                 .clock = clock,
                 .part = sqz_part_whole};
    round_input(&walk); /* on the clock of the first op */
    for (int index = 0; index < plan->tape.node_count; index++) {
        SQZ_TRY(forward_node(&walk, index, error));
        lap(clock);
    }
    return SQZ_OK;
}

/* Whether the next node may begin before all parts of this one are done: it neither reads nor
 * overwrites what they write or read. So it is with the two that fill one output from one input,
 * and with dropout, which does nothing here. */
static bool next_may_begin(const sqz_tape *tape, int index) {
    const sqz_node *node = &tape->nodes[index], *next = node + 1;
    if (index + 1 == tape->node_count) /* the caller meets them */
        return true;
    return node->kind == SQZ_NODE_DROPOUT ||
           (next->output == node->output && next->input == node->input);
}

sqz_status sqz_walk_forward_part(const sqz_plan *plan, sqz_workspace *workspace, const void *x,
                                 sqz_part part, sqz_barrier *barrier, sqz_error *error) {
    walk walk = {.plan = plan, .workspace = workspace, .x = x, .part = part};
    round_input(&walk);
    if (sqz_plan_rounds_input(plan) && !sqz_barrier_wait(barrier, part.count))
        return SQZ_OK;
    for (int index = 0; index < plan->tape.node_count; index++) {
        sqz_status status = forward_node(&walk, index, error);
        if (status != SQZ_OK) {
            sqz_barrier_break(barrier);
            return status;
        }
        if (!next_may_begin(&plan->tape, index) && !sqz_barrier_wait(barrier, part.count))
            return SQZ_OK;
    }
    return SQZ_OK;
}

sqz_status sqz_walk_backward(const sqz_plan *plan, sqz_workspace *workspace, float *lane,
                             bool accumulate, const sqz_reach *reach, const float *x,
                             const sqz_dropout *dropout, sqz_clock *clock, sqz_error *error) {
    walk walk = {.plan = plan,
                 .workspace = workspace,
                 .x = x,
                 .dropout = dropout,
                 .lane = lane,
                 .accumulate = accumulate,
                 .reach = reach,
                 .clock = clock};
    for (int index = plan->tape.node_count - 1; index >= 0; index--) {
        if (!reach->visited[index])
            continue;
        switch (plan->tape.nodes[index].kind) {
        case SQZ_NODE_CONV:
            SQZ_TRY(conv_backward(&walk, index, error));
            continue; /* its ops have been timed one by one */
        case SQZ_NODE_MAX_POOL:
            max_pool_backward(&walk, index);
            break;
        case SQZ_NODE_DROPOUT:
            dropout_backward(&walk, index);
            break;
        case SQZ_NODE_SUM:
            sum_backward(&walk, index);
            break;
        case SQZ_NODE_AVERAGE_POOL:
            average_pool_backward(&walk, index);
            break;
        }
        lap(clock);
    }
    return SQZ_OK;
}
