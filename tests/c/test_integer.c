/* test_integer.c: int8 without Python, against the definition in csrc/README.md written out
 * plainly, one sum after the other: the same bits. And what is refused. */
#include "check.h"

#include "../../csrc/base/rng.h"
#include "../../csrc/sqz.h"

#include <stdlib.h>

enum { N = 2, SIDE = 61, PICTURE = 3 * SIDE * SIDE, CLASSES = 3, MOST = 64 };
#define NOTED_HASH 0x59dfe1abu /* of check_noted_bits */

/* -- The definition ---------------------------------------------------------------------------- */

/* A feature map, [c][h][w], of bytes or of sums. */
typedef struct {
    int c, h, w;
    int32_t *values;
} map;

typedef struct {
    sqz_model *model;
    const sqz_quantization *scales;
    map maps[MOST];
    float logits[CLASSES];
} network;

static map *map_of(network *network, int number, int c, int h, int w) {
    map *map = &network->maps[number];
    if (!map->values) {
        map->values = calloc((size_t)(c * h * w), sizeof *map->values);
        map->c = c;
        map->h = h;
        map->w = w;
    }
    return map;
}

static const float *tensor_of(const sqz_model *model, const char *layer, const char *kind,
                              size_t *channels_before) {
    char name[80];
    snprintf(name, sizeof name, "%s.%s", layer, kind);
    *channels_before = 0;
    for (size_t i = 0; i < sqz_model_tensor_count(model); i++) {
        const sqz_parameter *row = sqz_model_tensor(model, i);
        if (strcmp(row->name, name) == 0)
            return sqz_model_parameters((sqz_model *)model) + row->offset;
        *channels_before += row->rank == 1 ? row->count : 0;
    }
    return NULL;
}

static double clamp(double value, double least, double most) {
    return value < least ? least : value > most ? most : value;
}

/* One output of a convolution, before it is requantised. */
static int32_t sum_at(const map *in, const sqz_layer *layer, const int8_t *steps, int32_t bias,
                      int y, int x) {
    int32_t sum = bias;
    for (int c = 0; c < in->c; c++)
        for (int i = 0; i < layer->kernel; i++)
            for (int j = 0; j < layer->kernel; j++, steps++) {
                int row = y * layer->stride + i - layer->padding;
                int column = x * layer->stride + j - layer->padding;
                if (row >= 0 && row < in->h && column >= 0 && column < in->w)
                    sum += *steps * in->values[(c * in->h + row) * in->w + column];
            }
    return sum;
}

/* An output channel's weights in whole steps; and its bias, in steps of `scale`. */
static int32_t quantise(int8_t *steps, const network *network, const sqz_layer *layer,
                        const float *weights, double bias, double weight_scale, double scale) {
    int taps = layer->kernel * layer->kernel;
    for (int c = 0; c < layer->in_c; c++)
        for (int k = 0; k < taps; k++) {
            double w = weights[c * taps + k];
            if (layer->input == 0) {
                bias -= w * (double)network->scales->mean[c] / (double)network->scales->std[c];
                w /= 255.0 * (double)network->scales->std[c];
            }
            steps[c * taps + k] = (int8_t)clamp(rint(w / weight_scale), -127, 127);
        }
    return (int32_t)clamp(rint(bias / scale), -1073741824.0, 1073741824.0);
}

static int32_t byte_of(int32_t sum, float multiplier) {
    float value = (float)sum * multiplier;
    value = value < 255.0f ? value : 255.0f;
    value = value > 0.0f ? value : 0.0f;
    return (int32_t)rintf(value);
}

static void convolve(network *network, const sqz_layer *layer, int out_channels, bool last) {
    size_t first;
    const float *biases = tensor_of(network->model, layer->name, "bias", &first);
    const float *weights = tensor_of(network->model, layer->name, "weight", &first);
    const map *in = &network->maps[layer->input];
    map *out = map_of(network, layer->output, out_channels, layer->out_h, layer->out_w);
    int count = layer->in_c * layer->kernel * layer->kernel;
    int8_t *steps = malloc((size_t)count);
    double in_scale = (double)network->scales->activation_scales[layer->input];
    double out_scale = (double)network->scales->activation_scales[layer->output];
    for (int o = 0; o < layer->out_c; o++) {
        double weight_scale = (double)network->scales->weight_scales[first + (size_t)o];
        double scale = weight_scale * in_scale;
        int32_t bias = quantise(steps, network, layer, weights + o * count, (double)biases[o],
                                weight_scale, scale);
        int32_t *to = out->values + (layer->first_channel + o) * out->h * out->w;
        int64_t total = 0;
        for (int y = 0; y < out->h; y++)
            for (int x = 0; x < out->w; x++, to++) {
                *to = sum_at(in, layer, steps, bias, y, x);
                if (last)
                    total += layer->relu && *to < 0 ? 0 : *to;
                else
                    *to = byte_of(*to, (float)(scale / out_scale));
            }
        if (last)
            network->logits[o] = (float)total * (float)(scale / (out->h * out->w));
    }
    free(steps);
}

static void pool(network *network, const sqz_layer *layer) {
    const map *in = &network->maps[layer->input];
    map *out = map_of(network, layer->output, in->c, layer->out_h, layer->out_w);
    for (int i = 0; i < out->c * out->h * out->w; i++) {
        int c = i / (out->h * out->w), y = i / out->w % out->h, x = i % out->w;
        for (int row = y * 2; row < y * 2 + 3 && row < in->h; row++)
            for (int column = x * 2; column < x * 2 + 3 && column < in->w; column++) {
                int32_t value = in->values[(c * in->h + row) * in->w + column];
                out->values[i] = value > out->values[i] ? value : out->values[i];
            }
    }
}

static void add(network *network, const sqz_layer *layer) {
    const map *a = &network->maps[layer->input], *b = &network->maps[layer->addend];
    map *out = map_of(network, layer->output, a->c, a->h, a->w);
    for (int i = 0; i < a->c * a->h * a->w; i++) {
        int32_t sum = a->values[i] + b->values[i];
        out->values[i] = sum < 255 ? sum : 255;
    }
}

/* Channels of an activation: of all layers that write it. */
static int channels_of(const sqz_layer *layers, size_t count, int activation) {
    int channels = 0;
    for (size_t i = 0; i < count; i++)
        channels += layers[i].output == activation ? layers[i].out_c : 0;
    return channels;
}

static void define(float *logits, sqz_model *model, const uint8_t *picture) {
    network network = {.model = model, .scales = sqz_model_quantization(model)};
    sqz_layer layers[MOST];
    size_t count = 0;
    sqz_error error;
    CHECK_OK(sqz_model_layers(model, SIDE, SIDE, layers, MOST, &count, &error), error);
    map *input = map_of(&network, 0, 3, SIDE, SIDE);
    for (int i = 0; i < PICTURE; i++) /* [h][w][3] to [3][h][w] */
        input->values[i % 3 * SIDE * SIDE + i / 3] = picture[i];
    for (size_t i = 0; i + 1 < count; i++) {
        const sqz_layer *layer = &layers[i];
        if (strcmp(layer->kind, "conv") == 0)
            convolve(&network, layer, channels_of(layers, count, layer->output), i + 2 == count);
        else if (strcmp(layer->kind, "max_pool") == 0)
            pool(&network, layer);
        else if (strcmp(layer->kind, "sum") == 0)
            add(&network, layer);
        else { /* dropout */
            const map *in = &network.maps[layer->input];
            map *out = map_of(&network, layer->output, in->c, in->h, in->w);
            memcpy(out->values, in->values, (size_t)(in->c * in->h * in->w) * sizeof(int32_t));
        }
    }
    memcpy(logits, network.logits, sizeof network.logits);
    for (int i = 0; i < MOST; i++)
        free(network.maps[i].values);
}

/* -- A quantised model ------------------------------------------------------------------------- */

static sqz_model *new_model(sqz_version version, sqz_bypass bypass, bool final_relu) {
    sqz_model *model = NULL;
    sqz_spec spec;
    sqz_error error;
    sqz_spec_default(&spec, version, CLASSES);
    spec.bypass = bypass;
    spec.final_relu = final_relu;
    spec.base_e = 20; /* no multiple of a block */
    spec.incr_e = 12;
    CHECK_OK(sqz_model_create(&model, &spec, 7, &error), error);
    return model;
}

/* Scales by the largest value of each group on the pictures; wild ones of the weights. */
static sqz_status quantise_model(sqz_model *model, const uint8_t *pictures, size_t drop,
                                 sqz_error *error) {
    float maxima[MOST] = {0}, activations[MOST], weights[4096];
    int groups[MOST];
    size_t count = 0, channels = 0;
    float mean[3] = {0.5f, 0.4f, 0.3f}, std[3] = {0.5f, 0.3f, 0.2f};
    float *x = malloc(N * PICTURE * sizeof *x);
    for (int i = 0; i < N; i++)
        sqz_image_normalise(x + i * PICTURE, pictures + i * PICTURE, SIDE, SIDE, 0, mean, std);
    CHECK_OK(sqz_model_observe(model, maxima, NULL, NULL, 0, x, N, SIDE, SIDE, error), *error);
    free(x);
    CHECK_OK(sqz_model_activation_groups(model, groups, MOST, &count, error), *error);
    for (size_t i = 0; i < count; i++) {
        float largest = 0;
        for (size_t j = 0; j < count; j++)
            largest = groups[j] == groups[i] && maxima[j] > largest ? maxima[j] : largest;
        activations[i] = groups[i] < 0 ? 1 : largest / 200; /* the largest are cut off */
    }
    for (size_t i = 0; i < sqz_model_tensor_count(model); i++)
        if (sqz_model_tensor(model, i)->rank == 1)
            for (size_t o = 0; o < sqz_model_tensor(model, i)->count; o++, channels++)
                weights[channels] = i < 2 ? 2e-5f : 0.004f + 0.0001f * (float)(channels % 50);
    sqz_quantization wanted = {.activation_scales = activations,
                               .activation_count = count,
                               .weight_scales = weights,
                               .weight_scale_count = channels - drop};
    memcpy(wanted.mean, mean, sizeof mean);
    memcpy(wanted.std, std, sizeof std);
    return sqz_model_quantize(model, &wanted, error);
}

static void check_bits(sqz_version version, sqz_bypass bypass, bool final_relu,
                       const uint8_t *pictures) {
    sqz_model *model = new_model(version, bypass, final_relu);
    sqz_error error;
    float expected[N * CLASSES], found[N * CLASSES];
    CHECK_OK(quantise_model(model, pictures, 0, &error), error);
    CHECK_OK(sqz_model_set_precision(model, SQZ_INT8, &error), error);
    for (int i = 0; i < N; i++)
        define(expected + i * CLASSES, model, pictures + i * PICTURE);
    for (int threads = 1; threads <= 3; threads++) { /* 3: two pictures share them */
        CHECK_OK(sqz_set_num_threads(threads, &error), error);
        CHECK_OK(sqz_model_forward_pictures(model, found, pictures, N, SIDE, SIDE, &error), error);
        CHECK(memcmp(found, expected, sizeof found) == 0);
    }
    CHECK(expected[0] != expected[1] && expected[0] != expected[CLASSES]);
    sqz_model_destroy(model);
}

/* -- The same bits everywhere -------------------------------------------------------------------
 */

/* Weights and scales without libm or a sum of floats, so that every machine has the same; then so
 * are the logits, which were noted on an x86-64 with AVX-512. */
static void check_noted_bits(const uint8_t *pictures) {
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE, false);
    float activations[MOST], weights[4096], logits[N * CLASSES];
    int groups[MOST];
    size_t count = 0, channels = 0;
    uint32_t hash = 2166136261u; /* FNV-1a */
    sqz_rng rng;
    sqz_error error;
    sqz_rng_start(&rng, 5, SQZ_RNG_INIT, 0);
    CHECK_OK(sqz_model_begin_write(model, &error), error);
    for (size_t i = 0; i < sqz_model_tensor_count(model); i++) {
        const sqz_parameter *row = sqz_model_tensor(model, i);
        for (size_t j = 0; j < row->count; j++)
            sqz_model_parameters(model)[row->offset + j] =
                (float)((int)sqz_rng_below(&rng, 255) - 120) / 512.0f;
        for (size_t o = 0; row->rank == 1 && o < row->count; o++, channels++)
            weights[channels] = i < 2 ? 1.0f / 32768 : 1.0f / 512;
    }
    sqz_model_end_write(model);
    CHECK_OK(sqz_model_activation_groups(model, groups, MOST, &count, &error), error);
    for (size_t i = 0; i < count; i++)
        activations[i] = groups[i] < 0 ? 1 : (float)(1 << groups[i] / 4) / 32;
    sqz_quantization wanted = {.activation_scales = activations,
                               .activation_count = count,
                               .weight_scales = weights,
                               .weight_scale_count = channels,
                               .mean = {0.5f, 0.4f, 0.3f},
                               .std = {0.5f, 0.3f, 0.2f}};
    CHECK_OK(sqz_model_quantize(model, &wanted, &error), error);
    CHECK_OK(sqz_model_set_precision(model, SQZ_INT8, &error), error);
    CHECK_OK(sqz_model_forward_pictures(model, logits, pictures, N, SIDE, SIDE, &error), error);
    for (size_t i = 0; i < N * CLASSES; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (bits >> shift & 0xFF)) * 16777619u;
    }
    for (size_t i = 1; i < N * CLASSES; i++)
        CHECK(logits[i] != logits[0]);
    CHECK(hash == NOTED_HASH);
    sqz_model_destroy(model);
}

/* -- What is refused --------------------------------------------------------------------------- */

static void check_refusals(const uint8_t *pictures) {
    sqz_error error;
    float logits[N * CLASSES], x[PICTURE] = {0};
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE, false);
    CHECK_FAILS(sqz_model_set_precision(model, SQZ_INT8, &error), error, SQZ_INVALID, "quantize");
    CHECK_FAILS(quantise_model(model, pictures, 1, &error), error, SQZ_INVALID, "weight scales");
    CHECK(!sqz_model_quantization(model));
    CHECK_OK(quantise_model(model, pictures, 0, &error), error);
    CHECK_FAILS(sqz_model_forward_pictures(model, logits, pictures, 1, SIDE, SIDE, &error), error,
                SQZ_INVALID, "bytes");
    CHECK_OK(sqz_model_set_precision(model, SQZ_INT8, &error), error);
    CHECK_FAILS(sqz_model_forward(model, logits, x, 1, SIDE, SIDE, &error), error, SQZ_INVALID,
                "float32");
    int64_t label = 0;
    double loss, losses[1];
    sqz_batch batch = {.x = x,
                       .labels = &label,
                       .n = 1,
                       .h = SIDE,
                       .w = SIDE,
                       .global_batch = 1,
                       .temperature = 1};
    CHECK_FAILS(sqz_model_compute_gradients(model, &loss, losses, NULL, &batch, &error), error,
                SQZ_INVALID, "inference");
    CHECK_OK(sqz_model_begin_write(model, &error), error);
    sqz_model_end_write(model);
    CHECK_FAILS(sqz_model_forward_pictures(model, logits, pictures, 1, SIDE, SIDE, &error), error,
                SQZ_INVALID, "quantize");
    sqz_model_destroy(model);
    model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_COMPLEX, false);
    CHECK_FAILS(quantise_model(model, pictures, 0, &error), error, SQZ_INVALID, "complex");
    sqz_model_destroy(model);
}

void test_integer(void) {
    uint8_t *pictures = malloc(N * PICTURE);
    sqz_rng rng;
    sqz_error error;
    int threads = sqz_get_num_threads();
    sqz_rng_start(&rng, 3, SQZ_RNG_INIT, 0);
    for (int i = 0; i < N * PICTURE; i++)
        pictures[i] = (uint8_t)(256 * sqz_rng_uniform(&rng));
    check_bits(SQZ_VERSION_1_0, SQZ_BYPASS_NONE, false, pictures);
    check_bits(SQZ_VERSION_1_1, SQZ_BYPASS_SIMPLE, true, pictures);
    check_noted_bits(pictures);
    check_refusals(pictures);
    CHECK_OK(sqz_set_num_threads(threads, &error), error);
    free(pictures);
}
