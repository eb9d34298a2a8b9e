/* placing.c: see placing.h. Training keeps all activations and lays gradients over each other by
 * liveness; inference lays activations over each other. */
#include "placing.h"

#include "../base/memory.h"

enum { NOT_PLACED = -1 };

/* A float32 input stays the caller's. */
static int first_placed(const sqz_plan *plan) {
    return sqz_plan_rounds_input(plan) ? 0 : 1;
}

/* Training: all activations live until the way back is done, and so does an input made of bytes.
 * These are read before there is any gradient. */
static sqz_status place_all(sqz_plan *plan, sqz_arena *arena, sqz_error *error) {
    size_t count = plan->placed[0].count;
    SQZ_TRY(sqz_arena_reserve(arena, sqz_size_multiply(count, sizeof(float)), &plan->input_offset,
                              error));
    for (int i = first_placed(plan); i < plan->tape.activation_count; i++)
        SQZ_TRY(
            sqz_arena_reserve(arena, plan->placed[i].size_bytes, &plan->placed[i].offset, error));
    for (int index = 0; index < plan->tape.node_count; index++) {
        const sqz_node *node = &plan->tape.nodes[index];
        if (node->kind == SQZ_NODE_MAX_POOL || node->kind == SQZ_NODE_DROPOUT)
            SQZ_TRY(sqz_arena_reserve(arena, plan->placed[node->output].count,
                                      &plan->steps[index].byte_offset, error));
    }
    SQZ_TRY(sqz_arena_reserve(arena, count, &plan->picture_offset, error));
    return sqz_arena_release(arena, plan->picture_offset, count, error);
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
    last[sqz_plan_features(plan)] = tape->node_count; /* for who asks for them */
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

sqz_status sqz_plan_place(sqz_plan *plan, sqz_error *error) {
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
