/* packing.c: weights and biases between the model's flat arrays, by logical channels, and a plan's
 * packed ones and lanes, by stored channels: see plan.h. */
#include "plan.h"
#include "quantization.h"

#include <string.h>

/* The stored channel of a convolution's output, counted from the slice it writes. */
static int stored_output(const sqz_plan *plan, const sqz_node *node, int channel) {
    return node->segment < 0 ? sqz_plan_stored(plan, node->output, channel) : channel;
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
                stored + (stored_row + (size_t)sqz_plan_stored(plan, node->input, i)) * kernel;
            float *inner = logical + ((size_t)o * (size_t)shape[1] + (size_t)i) * kernel;
            if (way == TO_STORED)
                memcpy(outer, inner, kernel * sizeof(float));
            else
                memcpy(inner, outer, kernel * sizeof(float));
        }
    }
}

/* A convolution of integers, from its stored weights; its bias is where packed_bias has it. */
static sqz_status pack_scaled(sqz_plan *plan, int index, const float *weights,
                              const sqz_quantization *quantization, sqz_workspace *workspace,
                              sqz_error *error) {
    const sqz_node *node = &plan->tape.nodes[index];
    const sqz_step *step = &plan->steps[index];
    float *steps = plan->packed_scales + step->bias; /* holes too have one that can divide */
    size_t first = sqz_quantization_first(&plan->tape, node);
    for (int o = 0; o < step->conv->shape.out_channels; o++)
        steps[o] = 1;
    for (int o = 0; o < plan->tape.parameters[node->bias].shape[0]; o++)
        steps[stored_output(plan, node, o)] = quantization->weight_scales[first + (size_t)o];
    sqz_conv_scales scales = {.in = quantization->activation_scales[node->input],
                              .out = quantization->activation_scales[node->output],
                              .weights = steps,
                              .mean = node->input == 0 ? quantization->mean : NULL,
                              .std = node->input == 0 ? quantization->std : NULL};
    if (step->conv->shape.sums) {
        const sqz_activation *maps = &plan->tape.activations[node->output];
        plan->feature_scale = scales.in;
        for (int o = 0; o < step->conv->shape.out_channels; o++) {
            double scale = (double)steps[o] * scales.in;
            plan->map_scales[o] = (float)scale;
            plan->logit_scales[o] = (float)(scale / (maps->h * maps->w));
        }
    }
    return plan->ops->conv_pack_scaled(step->conv, workspace->worker,
                                       plan->packed_forward + step->forward, weights,
                                       plan->packed_bias + step->bias, &scales, error);
}

sqz_status sqz_plan_pack(sqz_plan *plan, int slot, const float *parameters,
                         const sqz_quantization *quantization, sqz_workspace *workspace,
                         sqz_error *error) {
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
    if (quantization)
        return pack_scaled(plan, index, weights, quantization, workspace, error);
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
