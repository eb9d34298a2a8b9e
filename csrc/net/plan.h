/* plan.h: a tape made ready to run: one backend's primitives, and an offset for every buffer.
 *
 * A plan is fixed after creation and shared by all threads, but for its packed weights, which
 * follow the model's parameters. What one thread needs besides is a workspace: one block of memory
 * laid out by the plan, and the backend's worker. Nothing is allocated while a picture is in work.
 *
 * Training keeps every activation for the way back and lays gradients over each other by liveness;
 * inference does so with the activations, and its dropout's output is its input.
 *
 * Activations are arrays of the backend's element, but for the logits, which are float32 always,
 * and in a plan of integers the maps, int32. The network's input is read where the caller has it,
 * but for bfloat16: there it is first rounded into a place of its own; and in training, of bytes,
 * which become the float32 input in a room of the workspace. */
#ifndef SQZ_NET_PLAN_H
#define SQZ_NET_PLAN_H

#include "../base/barrier.h"
#include "../ops/ops.h"
#include "tape.h"

/* Where an activation lies. Offsets are in bytes from the workspace's start. */
typedef struct {
    int stored_channels;
    int first_stored[SQZ_SEGMENTS]; /* stored channel its segment starts at */
    sqz_element element;            /* also of its gradient, as are: */
    size_t count, size_bytes;       /* elements; bytes */
    size_t offset, gradient_offset;
} sqz_placed;

/* What a plan adds to a node. Packed weights are offsets in bytes into the plan's packed arrays;
 * biases and gradients in floats, into its packed biases and into a lane. */
typedef struct {
    sqz_conv *conv;           /* CONV, else NULL */
    bool plain;               /* CONV: stored channels are the logical ones, no scatter needed */
    size_t forward, backward; /* CONV: into packed_forward, packed_backward */
    size_t bias;              /* CONV: into packed_bias; d_bias is at lane_bias + bias */
    size_t gradient;          /* CONV: into a lane */
    size_t byte_offset;       /* MAX_POOL: argmax, DROPOUT: mask; into the workspace */
    sqz_pool_shape pool;      /* MAX_POOL */
    int pooled_by;            /* CONV: the node of the max-pool that undoes its ReLU, or -1 */
    bool undoes_relu;         /* MAX_POOL: it does so for whoever wrote its input */
    bool accumulate_input;    /* backward adds to the input's gradient: another reader came first */
    bool accumulate_addend;   /* SUM: likewise for its second input */
} sqz_step;

typedef struct sqz_workspace {
    unsigned char *memory; /* NULL: a helper's, who works in another's memory */
    sqz_worker *worker;
    sqz_barrier barrier;        /* of the threads that share the picture in it */
    struct sqz_workspace *next; /* in the plan's list of idle ones */
} sqz_workspace;

typedef struct {
    sqz_tape tape;
    const sqz_ops *ops;
    bool training;
    sqz_placed placed[SQZ_TAPE_NODES + 1];
    sqz_step steps[SQZ_TAPE_NODES];
    const sqz_conv *convs[SQZ_TAPE_NODES]; /* by slot */
    int conv_nodes[SQZ_TAPE_NODES];        /* the node of each slot */
    int conv_count;
    size_t workspace_bytes;
    size_t scatter_offset; /* room in a workspace for one convolution's weights, stored OIHW */
    size_t input_offset, picture_offset; /* training: for a float32 input, and before the way
                                            forward for a picture of bytes */

    size_t forward_bytes, backward_bytes, bias_count;
    unsigned char *packed_forward, *packed_backward;
    float *packed_bias;
    float *packed_scales; /* of integers: what a step of each output channel's weights is worth */
    float *map_scales, *logit_scales; /* of integers, by stored class: what a sum is worth in a map,
                                         and in a logit */
    float feature_scale; /* what a step of the last convolution's input is worth; 1 of fractions */

    size_t lane_bias, lane_count; /* floats: where biases start in a lane, and its whole size */
} sqz_plan;

/* threads: as many as will share a picture in inference, else 1. */
sqz_status sqz_plan_create(sqz_plan **plan, const sqz_spec *spec, int h, int w, bool training,
                           int threads, const sqz_ops *ops, sqz_error *error);
void sqz_plan_destroy(sqz_plan *plan);

/* helper: without memory. */
sqz_status sqz_workspace_create(sqz_workspace **workspace, const sqz_plan *plan, bool helper,
                                sqz_error *error);
void sqz_workspace_destroy(sqz_workspace *workspace, const sqz_plan *plan);

/* packing.c: pack the weights and bias of one convolution from the flat parameters; and back: write
 * its part of the flat gradients from a lane. Different slots may be done by different threads.
 * quantization: NULL but for a plan of integers. */
sqz_status sqz_plan_pack(sqz_plan *plan, int slot, const float *parameters,
                         const sqz_quantization *quantization, sqz_workspace *workspace,
                         sqz_error *error);
sqz_status sqz_plan_unpack(const sqz_plan *plan, int slot, float *gradients, const float *lane,
                           sqz_workspace *workspace, sqz_error *error);

/* An activation, or its gradient, in a workspace. */
static inline unsigned char *sqz_activation_at(const sqz_plan *plan, const sqz_workspace *workspace,
                                               int activation) {
    return workspace->memory + plan->placed[activation].offset;
}
static inline unsigned char *sqz_gradient_at(const sqz_plan *plan, const sqz_workspace *workspace,
                                             int activation) {
    return workspace->memory + plan->placed[activation].gradient_offset;
}

/* The last activation and its gradient: stored channels, of which the first are the logits. */
static inline int sqz_plan_output(const sqz_plan *plan) {
    return plan->tape.nodes[plan->tape.node_count - 1].output;
}
static inline float *sqz_logits_at(const sqz_plan *plan, const sqz_workspace *workspace) {
    return (float *)sqz_activation_at(plan, workspace, sqz_plan_output(plan));
}
static inline float *sqz_d_logits_at(const sqz_plan *plan, const sqz_workspace *workspace) {
    return (float *)sqz_gradient_at(plan, workspace, sqz_plan_output(plan));
}

/* What the last node reads, whose means are the logits. */
static inline int sqz_plan_maps(const sqz_plan *plan) {
    return plan->tape.nodes[plan->tape.node_count - 1].input;
}

/* What the last convolution reads, whose means are the features. */
static inline int sqz_plan_features(const sqz_plan *plan) {
    return plan->tape.nodes[plan->tape.node_count - 2].input;
}

/* The stored channel of a logical one. */
static inline int sqz_plan_stored(const sqz_plan *plan, int activation, int channel) {
    int first = plan->tape.activations[activation].channels[0];
    return channel < first ? channel : plan->placed[activation].first_stored[1] + channel - first;
}

/* Whether the pictures are bytes, as a plan of integers reads them; else they are float32. */
static inline bool sqz_plan_reads_bytes(const sqz_plan *plan) {
    return plan->placed[0].element == SQZ_ELEMENT_UINT8;
}

/* Whether the input has a place in the workspace, as the backend reads no float32. */
static inline bool sqz_plan_rounds_input(const sqz_plan *plan) {
    return plan->placed[0].element == SQZ_ELEMENT_BFLOAT16;
}

/* Bytes from an activation's start to the slice that belongs to a convolution: of its output, or of
 * one with the same channels. */
size_t sqz_plan_slice(const sqz_plan *plan, const sqz_node *node, int activation);

#endif
