/* describe.c: what a model and its plans are made of, as rows for tables. */
#include "../base/memory.h"
#include "model.h"
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- Parameters -------------------------------------------------------------------------------- */

sqz_status sqz_spec_parameters(const sqz_spec *spec, sqz_parameter *rows, size_t capacity,
                               size_t *count, sqz_error *error) {
    SQZ_TRY(sqz_spec_check(spec, error));
    sqz_tape *tape = malloc(sizeof *tape);
    if (!tape)
        return sqz_fail_memory(error, "a tape", sizeof *tape);
    sqz_status status = sqz_tape_build(tape, spec, SQZ_ANY_SIDE, SQZ_ANY_SIDE, error);
    if (status == SQZ_OK) {
        *count = (size_t)tape->parameter_count;
        for (size_t i = 0; rows && i < *count && i < capacity; i++)
            rows[i] = tape->parameters[i];
    }
    free(tape);
    return status;
}

/* -- Layers ------------------------------------------------------------------------------------ */

static size_t parameters_of(const sqz_tape *tape, const sqz_node *node) {
    return node->weight < 0
               ? 0
               : tape->parameters[node->weight].count + tape->parameters[node->bias].count;
}

static sqz_layer layer_of(const sqz_tape *tape, const sqz_node *node) {
    const sqz_activation *in = &tape->activations[node->input];
    const sqz_activation *out = &tape->activations[node->output];
    sqz_layer layer = {.input = node->input,
                       .output = node->output,
                       .addend = node->addend,
                       .first_channel = node->segment > 0 ? out->channels[0] : 0,
                       .kernel = node->kernel,
                       .stride = node->stride,
                       .padding = node->pad,
                       .in_c = sqz_activation_channels(in),
                       .in_h = in->h,
                       .in_w = in->w,
                       .out_c = node->kind == SQZ_NODE_CONV ? sqz_node_out_channels(tape, node)
                                                            : sqz_activation_channels(out),
                       .out_h = out->h,
                       .out_w = out->w,
                       .relu = node->nonlinearity.relu,
                       .parameter_count = parameters_of(tape, node)};
    snprintf(layer.name, sizeof layer.name, "%s", node->name);
    snprintf(layer.kind, sizeof layer.kind, "%s", sqz_node_kind_name(node->kind));
    return layer;
}

sqz_status sqz_model_layers(const sqz_model *model, int h, int w, sqz_layer *rows, size_t capacity,
                            size_t *count, sqz_error *error) {
    sqz_tape *tape = malloc(sizeof *tape);
    if (!tape)
        return sqz_fail_memory(error, "a tape", sizeof *tape);
    sqz_status status = sqz_tape_build(tape, &model->spec, h, w, error);
    if (status == SQZ_OK) {
        *count = (size_t)tape->node_count;
        for (size_t i = 0; rows && i < *count && i < capacity; i++)
            rows[i] = layer_of(tape, &tape->nodes[i]);
    }
    free(tape);
    return status;
}

/* -- Plans: one row an op, in the order of a walk's laps --------------------------------------- */

typedef struct {
    const sqz_plan *plan;
    sqz_plan_row *rows; /* may be NULL */
    size_t capacity, count;
} table;

static void layout_name(char *name, size_t size_bytes, const sqz_plan *plan, int activation) {
    const sqz_activation *shape = &plan->tape.activations[activation];
    const sqz_placed *placed = &plan->placed[activation];
    int stored = placed->stored_channels;
    char type[16] = "";
    if (placed->element != SQZ_ELEMENT_FLOAT32)
        snprintf(type, sizeof type, "%s ", sqz_element_name(placed->element));
    if (activation == 0)
        snprintf(name, size_bytes, "%s%dx%dx%d", type, stored, shape->h, shape->w);
    else
        snprintf(name, size_bytes, "%s%dx%dx%dx%d", type, stored / plan->ops->block, shape->h,
                 shape->w, plan->ops->block);
}

static void add_row(table *table, const sqz_node *node, const char *op,
                    const char *implementation) {
    if (table->rows && table->count < table->capacity) {
        sqz_plan_row *row = &table->rows[table->count];
        char in[28], out[28];
        memset(row, 0, sizeof *row);
        layout_name(in, sizeof in, table->plan, node->input);
        layout_name(out, sizeof out, table->plan, node->output);
        snprintf(row->layer, sizeof row->layer, "%s", node->name);
        snprintf(row->op, sizeof row->op, "%s", op);
        snprintf(row->implementation, sizeof row->implementation, "%s", implementation);
        snprintf(row->layout, sizeof row->layout, "%s -> %s", in, out);
    }
    table->count++;
}

static void add_forward(table *table, const sqz_node *node, const sqz_step *step, const char *own) {
    char op[32];
    snprintf(op, sizeof op, "%s forward", sqz_node_kind_name(node->kind));
    add_row(table, node, op, step->conv ? step->conv->forward_implementation : own);
}

static void add_backward(table *table, const sqz_node *node, const sqz_step *step,
                         const char *own) {
    char op[32];
    if (!step->conv) {
        snprintf(op, sizeof op, "%s%s backward", sqz_node_kind_name(node->kind),
                 step->undoes_relu ? " and relu" : "");
        add_row(table, node, op, own);
        return;
    }
    if (step->pooled_by < 0)
        add_row(table, node, node->nonlinearity.relu ? "relu backward" : "bias backward", own);
    add_row(table, node, "conv backward weights", step->conv->backward_weights_implementation);
    if (node->input != 0)
        add_row(table, node, "conv backward data", step->conv->backward_data_implementation);
}

static void fill_rows(table *table) {
    const sqz_plan *plan = table->plan;
    char own[32];
    snprintf(own, sizeof own, "sqz:%s", sqz_isa_name(plan->ops->isa));
    for (int i = 0; i < plan->tape.node_count; i++)
        add_forward(table, &plan->tape.nodes[i], &plan->steps[i], own);
    for (int i = plan->training ? plan->tape.node_count - 1 : -1; i >= 0; i--)
        add_backward(table, &plan->tape.nodes[i], &plan->steps[i], own);
}

/* -- Timing ------------------------------------------------------------------------------------ */

static sqz_status one_pass(sqz_entry *entry, sqz_workspace *workspace, const float *x,
                           sqz_clock *clock, sqz_error *error) {
    const sqz_plan *plan = entry->plan;
    sqz_dropout dropout = {.probability = 0.5};
    sqz_clock_start(clock);
    if (!plan->training)
        return sqz_walk_forward(plan, workspace, x, NULL, clock, error);
    SQZ_TRY(sqz_walk_forward(plan, workspace, x, &dropout, clock, error));
    float *d_logits = sqz_d_logits_at(plan, workspace);
    memset(d_logits, 0, plan->placed[sqz_plan_output(plan)].size_bytes);
    d_logits[0] = 1;
    sqz_reach reach;
    sqz_reach_find(&reach, &plan->tape, NULL);
    return sqz_walk_backward(plan, workspace, entry->lanes.first, false, &reach, x, &dropout, clock,
                             error);
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void write_medians(table *table, double *laps, int repeats) {
    for (size_t row = 0; row < table->count && row < table->capacity; row++) {
        qsort(laps + row * (size_t)repeats, (size_t)repeats, sizeof *laps, compare);
        table->rows[row].milliseconds = 1e3 * laps[row * (size_t)repeats + (size_t)repeats / 2];
    }
}

static sqz_status time_rows(table *table, sqz_entry *entry, int repeats, sqz_error *error) {
    size_t picture_count = entry->plan->placed[0].count;
    float *x = sqz_aligned_calloc(picture_count, sizeof *x);
    double *laps = calloc(SQZ_LAPS * (size_t)repeats, sizeof *laps);
    sqz_workspace *workspace = NULL;
    sqz_status status = x && laps ? sqz_entry_workspace(entry, &workspace, error)
                                  : sqz_fail_memory(error, "timings", picture_count * sizeof *x);
    for (size_t i = 0; x && i < picture_count; i++)
        x[i] = (float)(i % 255) / 127.5f - 1; /* any picture does, but not an all-zero one */
    for (int pass = -1; pass < repeats && status == SQZ_OK; pass++) { /* -1: a warm-up */
        sqz_clock clock;
        status = one_pass(entry, workspace, x, &clock, error);
        for (int row = 0; pass >= 0 && row < clock.count; row++)
            laps[(size_t)row * (size_t)repeats + (size_t)pass] = clock.laps[row];
    }
    if (status == SQZ_OK)
        write_medians(table, laps, repeats);
    sqz_entry_workspace_release(entry, workspace);
    sqz_aligned_free(x);
    free(laps);
    return status;
}

sqz_status sqz_model_plan(sqz_model *model, int h, int w, bool training, int repeats,
                          sqz_plan_row *rows, size_t capacity, size_t *count, sqz_error *error) {
    enum { MOST_REPEATS = 10000 };
    if (repeats < 0 || repeats > MOST_REPEATS)
        return sqz_fail(error, SQZ_INVALID, "repeats is %d, expected 0 to %d", repeats,
                        (int)MOST_REPEATS);
    SQZ_TRY(sqz_model_enter(model, true, error));
    sqz_entry *entry = NULL;
    sqz_status status = sqz_model_entry(model, &entry, h, w, training, 1, error);
    if (status == SQZ_OK) {
        table table = {.plan = entry->plan, .rows = rows, .capacity = rows ? capacity : 0};
        fill_rows(&table);
        *count = table.count;
        status = sqz_entry_pack(entry, model, 1, error);
        if (status == SQZ_OK && rows && repeats)
            status = time_rows(&table, entry, repeats, error);
        sqz_model_entry_release(model, entry);
    }
    sqz_model_leave(model, true);
    return status;
}
