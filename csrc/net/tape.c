/* tape.c: SqueezeNet written down as a tape. Layer numbers and names are torchvision's
 * (torchvision/models/squeezenet.py), so that a file of its weights fits as it is. */
#include "tape.h"

#include "../base/rng.h"
#include "../base/status.h"
#include "../ops/ops.h"
#include "spec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *sqz_node_kind_name(sqz_node_kind kind) {
    static const char *const names[] = {"conv", "max_pool", "dropout", "sum", "average_pool"};
    return names[kind];
}

int sqz_node_out_channels(const sqz_tape *tape, const sqz_node *node) {
    const sqz_activation *output = &tape->activations[node->output];
    return node->segment < 0 ? sqz_activation_channels(output) : output->channels[node->segment];
}

/* -- Writing a tape ---------------------------------------------------------------------------- */

static int add_activation(sqz_tape *tape, int channels0, int channels1, int h, int w) {
    int index = tape->activation_count++;
    tape->activations[index] = (sqz_activation){{channels0, channels1}, h, w};
    return index;
}

static sqz_node *add_node(sqz_tape *tape, sqz_node_kind kind, const char *name, int input,
                          int output) {
    sqz_node *node = &tape->nodes[tape->node_count++];
    *node = (sqz_node){.kind = kind,
                       .input = input,
                       .output = output,
                       .addend = -1,
                       .segment = -1,
                       .weight = -1,
                       .bias = -1};
    snprintf(node->name, sizeof node->name, "%s", name);
    return node;
}

static int add_parameter(sqz_tape *tape, const char *layer, const char *kind, int rank,
                         const int *shape) {
    int index = tape->parameter_count++;
    sqz_parameter *parameter = &tape->parameters[index];
    memset(parameter, 0, sizeof *parameter);
    snprintf(parameter->name, sizeof parameter->name, "%.50s.%s", layer, kind);
    parameter->rank = rank;
    parameter->count = 1;
    for (int i = 0; i < rank; i++) {
        parameter->shape[i] = shape[i];
        parameter->count *= (size_t)shape[i];
    }
    parameter->offset = tape->float_count;
    tape->float_count += parameter->count;
    return index;
}

/* A square convolution from `input` into `output` (a segment of it, or all if segment is -1). */
static const sqz_nonlinearity RELU = {.relu = true}, NONE = {.relu = false};

static void add_conv(sqz_tape *tape, const char *name, int input, int output, int segment,
                     int kernel, int stride, int pad, sqz_nonlinearity nonlinearity) {
    sqz_node *node = add_node(tape, SQZ_NODE_CONV, name, input, output);
    node->segment = segment;
    node->kernel = kernel;
    node->stride = stride;
    node->pad = pad;
    node->nonlinearity = nonlinearity;
    int out_channels = sqz_node_out_channels(tape, node);
    int in_channels = sqz_activation_channels(&tape->activations[input]);
    node->weight =
        add_parameter(tape, name, "weight", 4, (int[]){out_channels, in_channels, kernel, kernel});
    node->bias = add_parameter(tape, name, "bias", 1, &out_channels);
}

static int add_max_pool(sqz_tape *tape, const char *name, int input) {
    enum { KERNEL = 3, STRIDE = 2 };
    sqz_activation in = tape->activations[input];
    int output = add_activation(tape, in.channels[0], in.channels[1],
                                sqz_pool_out_size(in.h, KERNEL, STRIDE),
                                sqz_pool_out_size(in.w, KERNEL, STRIDE));
    sqz_node *node = add_node(tape, SQZ_NODE_MAX_POOL, name, input, output);
    node->kernel = KERNEL;
    node->stride = STRIDE;
    return output;
}

/* A Fire module (section 3.2), with the bypass around it that the spec asks for (section 6). */
static int add_fire(sqz_tape *tape, const sqz_spec *spec, int index, int feature, int input) {
    char layer[64];
    sqz_fire fire = sqz_spec_fire(spec, index);
    int h = tape->activations[input].h, w = tape->activations[input].w;
    int squeezed = add_activation(tape, fire.squeeze, 0, h, w);
    int expanded = add_activation(tape, fire.expand1x1, fire.expand3x3, h, w);
    snprintf(layer, sizeof layer, "features.%d.squeeze", feature);
    add_conv(tape, layer, input, squeezed, 0, 1, 1, 0, RELU);
    snprintf(layer, sizeof layer, "features.%d.expand1x1", feature);
    add_conv(tape, layer, squeezed, expanded, 0, 1, 1, 0, RELU);
    snprintf(layer, sizeof layer, "features.%d.expand3x3", feature);
    add_conv(tape, layer, squeezed, expanded, 1, 3, 1, 1, RELU);

    bool identity = spec->bypass != SQZ_BYPASS_NONE && index % 2 == 1; /* fire 3, 5, 7, 9 */
    bool convolution = spec->bypass == SQZ_BYPASS_COMPLEX && index % 2 == 0;
    if (!identity && !convolution)
        return expanded;
    int shortcut = input;
    if (convolution) {
        shortcut = add_activation(tape, fire.expand1x1, fire.expand3x3, h, w);
        snprintf(layer, sizeof layer, "features.%d.bypass", feature);
        add_conv(tape, layer, input, shortcut, -1, 1, 1, 0, NONE);
    }
    int sum = add_activation(tape, fire.expand1x1, fire.expand3x3, h, w);
    snprintf(layer, sizeof layer, "features.%d.sum", feature);
    add_node(tape, SQZ_NODE_SUM, layer, expanded, sum)->addend = shortcut;
    return sum;
}

/* What the two versions do not share. torchvision's module list numbers the first convolution 0,
 * its ReLU 1, its pool 2 and counts on. */
typedef struct {
    int first_channels, first_kernel;
    int pool_after[2]; /* Fire modules (0 for fire 2) a pool follows */
} version_layout;
static const version_layout layouts[] = {{96, 7, {2, 6}}, {64, 3, {1, 3}}};

static sqz_status check_sizes(const sqz_tape *tape, const sqz_spec *spec, int h, int w,
                              sqz_error *error) {
    for (int i = 1; i < tape->activation_count; i++)
        if (tape->activations[i].h < 1 || tape->activations[i].w < 1)
            return sqz_fail(error, SQZ_INVALID,
                            "a picture of %d x %d (height x width) is too small for SqueezeNet %s: "
                            "a layer's output would be empty",
                            h, w, spec->version == SQZ_VERSION_1_0 ? "1_0" : "1_1");
    return SQZ_OK;
}

sqz_status sqz_tape_build(sqz_tape *tape, const sqz_spec *spec, int h, int w, sqz_error *error) {
    enum { LARGEST_SIDE = 1 << 14 };
    const version_layout *layout = &layouts[spec->version == SQZ_VERSION_1_1];
    if (h < 1 || w < 1 || h > LARGEST_SIDE || w > LARGEST_SIDE)
        return sqz_fail(error, SQZ_INVALID,
                        "a picture of %d x %d (height x width): each side must be 1 to %d", h, w,
                        (int)LARGEST_SIDE);
    memset(tape, 0, sizeof *tape);
    int input = add_activation(tape, 3, 0, h, w);
    int current = add_activation(
        tape, layout->first_channels, 0,
        h < layout->first_kernel ? 0 : sqz_conv_out_size(h, layout->first_kernel, 2, 0),
        w < layout->first_kernel ? 0 : sqz_conv_out_size(w, layout->first_kernel, 2, 0));
    add_conv(tape, "features.0", input, current, 0, layout->first_kernel, 2, 0, RELU);
    current = add_max_pool(tape, "features.2", current);
    int feature = 3;
    for (int index = 0; index < SQZ_FIRES; index++) {
        current = add_fire(tape, spec, index, feature++, current);
        if (index == layout->pool_after[0] || index == layout->pool_after[1]) {
            char name[64];
            snprintf(name, sizeof name, "features.%d", feature++);
            current = add_max_pool(tape, name, current);
        }
    }
    sqz_activation features = tape->activations[current];
    int dropped =
        add_activation(tape, features.channels[0], features.channels[1], features.h, features.w);
    add_node(tape, SQZ_NODE_DROPOUT, "classifier.0", current, dropped);
    int maps = add_activation(tape, spec->num_classes, 0, features.h, features.w);
    add_conv(tape, "classifier.1", dropped, maps, 0, 1, 1, 0,
             (sqz_nonlinearity){.relu = spec->final_relu});
    int logits = add_activation(tape, spec->num_classes, 0, 1, 1);
    add_node(tape, SQZ_NODE_AVERAGE_POOL, "classifier.3", maps, logits);
    return check_sizes(tape, spec, h, w, error);
}

/* -- Fresh weights ----------------------------------------------------------------------------- */

void sqz_tape_initialise(const sqz_tape *tape, float *parameters, uint64_t seed) {
    for (int i = 0; i < tape->parameter_count; i++) {
        const sqz_parameter *parameter = &tape->parameters[i];
        float *values = parameters + parameter->offset;
        if (parameter->rank == 1) {
            memset(values, 0, parameter->count * sizeof *values);
            continue;
        }
        sqz_rng rng;
        sqz_rng_start(&rng, seed, SQZ_RNG_INIT, (uint64_t)i);
        bool last = strcmp(parameter->name, "classifier.1.weight") == 0;
        /* He et al. 2015, equation 10 with a uniform distribution: bound = sqrt(6 / fan in). */
        int fan_in = parameter->shape[1] * parameter->shape[2] * parameter->shape[3];
        double bound = sqrt(6.0 / fan_in);
        for (size_t j = 0; j < parameter->count; j++)
            values[j] = (float)(last ? 0.01 * sqz_rng_normal(&rng)
                                     : bound * (2 * sqz_rng_uniform(&rng) - 1));
    }
}
