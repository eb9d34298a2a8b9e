/* test_network.c: the network without Python: it learns, whatever the threads, on every backend,
 * and refuses what it should. */
#include "check.h"
#include "windows_calls.h"

#include "../../csrc/base/rng.h"
#include "../../csrc/sqz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 5, SIDE = 64, PICTURE = 3 * SIDE * SIDE };

static float *new_pictures(void) {
    float *x = malloc(N * PICTURE * sizeof *x);
    sqz_rng rng;
    sqz_rng_start(&rng, 1, SQZ_RNG_INIT, 0);
    for (int i = 0; x && i < N * PICTURE; i++)
        x[i] = (float)(2 * sqz_rng_uniform(&rng) - 1);
    return x;
}

static sqz_model *new_model(sqz_version version, sqz_bypass bypass) {
    sqz_model *model = NULL;
    sqz_spec spec;
    sqz_error error;
    sqz_spec_default(&spec, version, 3);
    spec.bypass = bypass;
    spec.base_e = 40; /* no multiple of a block */
    spec.incr_e = 24;
    CHECK(sqz_model_create(&model, &spec, 7, &error) == SQZ_OK);
    return model;
}

static const int64_t labels[N] = {0, 1, 2, 0, 1};

static sqz_batch batch_of(const float *x) {
    return (sqz_batch){.x = x,
                       .labels = labels,
                       .n = N,
                       .h = SIDE,
                       .w = SIDE,
                       .global_batch = N,
                       .temperature = 1};
}

static double gradients_of(sqz_model *model, const float *x, uint64_t step) {
    sqz_batch batch = batch_of(x);
    batch.dropout = 0.3;
    batch.seed = 1;
    batch.step = step;
    double loss = NAN, losses[N];
    sqz_error error;
    CHECK(sqz_model_compute_gradients(model, &loss, losses, NULL, &batch, &error) == SQZ_OK);
    return loss;
}

static void check_learning(const float *x, sqz_version version, sqz_bypass bypass) {
    sqz_model *model = new_model(version, bypass);
    size_t count = sqz_model_parameter_count(model);
    sqz_optimizer *adam = NULL;
    sqz_rule_options options = sqz_rule_defaults(SQZ_ADAM);
    sqz_error error;
    CHECK(sqz_optimizer_create(&adam, count, &options, &error) == SQZ_OK);
    double first = gradients_of(model, x, 0), last = first;
    for (uint64_t step = 0; step < 15; step++) {
        last = gradients_of(model, x, step);
        CHECK(sqz_model_begin_write(model, &error) == SQZ_OK);
        CHECK(sqz_optimizer_step(adam, sqz_model_parameters(model), sqz_model_gradients(model),
                                 &error) == SQZ_OK);
        sqz_model_end_write(model);
    }
    CHECK(isfinite(first) && last < first);
    float logits[N * 3];
    CHECK(sqz_model_forward(model, logits, x, N, SIDE, SIDE, &error) == SQZ_OK);
    for (int i = 0; i < N * 3; i++)
        CHECK(isfinite(logits[i]));
    sqz_optimizer_destroy(adam);
    sqz_model_destroy(model);
}

/* The mean of a class's map is its logit. */
static void check_maps(const float *x) {
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE);
    sqz_layer rows[64];
    sqz_error error;
    size_t count = 0;
    CHECK(sqz_model_layers(model, SIDE, SIDE, rows, 64, &count, &error) == SQZ_OK);
    const sqz_layer *last = &rows[count - 1];
    size_t pixels = (size_t)last->in_h * (size_t)last->in_w, maps_count = N * 3 * pixels;
    float logits[N * 3], *maps = malloc(maps_count * sizeof *maps);
    CHECK(sqz_model_forward(model, logits, x, N, SIDE, SIDE, &error) == SQZ_OK);
    CHECK(sqz_model_maps(model, maps, x, N, SIDE, SIDE, &error) == SQZ_OK);
    for (size_t i = 0; i < N * 3; i++) {
        double sum = 0;
        for (size_t pixel = 0; pixel < pixels; pixel++)
            sum += maps[i * pixels + pixel];
        CHECK(fabs(sum / (double)pixels - logits[i]) < 1e-5);
    }
    CHECK(sqz_model_maps(model, maps, x, 0, SIDE, SIDE, &error) == SQZ_INVALID);
    free(maps);
    sqz_model_destroy(model);
}

/* The logits are the last convolution of the features. */
static void check_features(const float *x) {
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE);
    size_t count = sqz_model_tensor_count(model);
    const sqz_parameter *weight = sqz_model_tensor(model, count - 2);
    const sqz_parameter *bias = sqz_model_tensor(model, count - 1);
    size_t channels = (size_t)weight->shape[1];
    float logits[N * 3], *features = malloc(N * channels * sizeof *features);
    sqz_error error;
    CHECK(sqz_model_forward(model, logits, x, N, SIDE, SIDE, &error) == SQZ_OK);
    CHECK(sqz_model_features(model, features, x, N, SIDE, SIDE, &error) == SQZ_OK);
    CHECK(sqz_model_begin_read(model, &error) == SQZ_OK);
    const float *parameters = sqz_model_parameters(model);
    for (size_t i = 0; i < N * 3; i++) {
        double sum = parameters[bias->offset + i % 3];
        for (size_t c = 0; c < channels; c++)
            sum += (double)features[i / 3 * channels + c] *
                   parameters[weight->offset + i % 3 * channels + c];
        CHECK(fabs(sum - logits[i]) < 1e-5);
    }
    sqz_model_end_read(model);
    CHECK(sqz_model_features(model, features, x, 0, SIDE, SIDE, &error) == SQZ_INVALID);
    free(features);
    sqz_model_destroy(model);
}

static void check_threads(const float *x) {
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE);
    size_t size_bytes = sqz_model_parameter_count(model) * sizeof(float);
    float *single = malloc(size_bytes);
    sqz_error error;
    int before = sqz_get_num_threads();
    CHECK(sqz_set_num_threads(1, &error) == SQZ_OK);
    double loss = gradients_of(model, x, 4);
    memcpy(single, sqz_model_gradients(model), size_bytes);
    CHECK(sqz_set_num_threads(4, &error) == SQZ_OK);
    CHECK(gradients_of(model, x, 4) == loss);
    CHECK(memcmp(single, sqz_model_gradients(model), size_bytes) == 0);
    CHECK(sqz_set_num_threads(before, &error) == SQZ_OK);
    free(single);
    sqz_model_destroy(model);
}

/* Emulated where the backend does not offer it: the environment is this process's own. */
static void check_bfloat16(const float *x) {
    sqz_model *model = new_model(SQZ_VERSION_1_0, SQZ_BYPASS_COMPLEX);
    sqz_error error;
    sqz_build_info info;
    float plain[N * 3], rounded[N * 3];
    CHECK(sqz_get_build_info(&info, &error) == SQZ_OK);
    CHECK(info.bfloat16_offered == !info.bfloat16_reason[0]);
    unsetenv("SQZ_BF16");
    CHECK(sqz_model_precision(model) == SQZ_FLOAT32);
    CHECK(sqz_model_set_precision(model, SQZ_BFLOAT16, &error) ==
          (info.bfloat16_offered ? SQZ_OK : SQZ_UNSUPPORTED));
    CHECK(sqz_model_set_precision(model, SQZ_FLOAT32, &error) == SQZ_OK);
    CHECK(sqz_model_forward(model, plain, x, N, SIDE, SIDE, &error) == SQZ_OK);
    double loss = gradients_of(model, x, 0);
    setenv("SQZ_BF16", "no", 1);
    CHECK(sqz_model_set_precision(model, SQZ_BFLOAT16, &error) == SQZ_INVALID);
    CHECK(strstr(error.message, "SQZ_BF16") && sqz_model_precision(model) == SQZ_FLOAT32);
    setenv("SQZ_BF16", "emulate", 1);
    CHECK(sqz_model_set_precision(model, SQZ_BFLOAT16, &error) == SQZ_OK);
    unsetenv("SQZ_BF16"); /* read once, when the precision is set */
    CHECK(sqz_model_precision(model) == SQZ_BFLOAT16);
    CHECK(sqz_model_forward(model, rounded, x, N, SIDE, SIDE, &error) == SQZ_OK);
    double near = gradients_of(model, x, 0);
    CHECK(near != loss && fabs(near - loss) < 0.02 * fabs(loss));
    double largest = 0, distance = 0;
    for (int i = 0; i < N * 3; i++) {
        largest = fmax(largest, fabs(plain[i]));
        distance = fmax(distance, fabs(plain[i] - rounded[i]));
    }
    CHECK(distance > 0 && distance < 0.03 * largest);
    sqz_model_destroy(model);
}

static void check_plan(void) {
    sqz_model *model = new_model(SQZ_VERSION_1_0, SQZ_BYPASS_COMPLEX);
    sqz_error error;
    size_t count = 0;
    CHECK(sqz_model_plan(model, SIDE, SIDE, true, 0, NULL, 0, &count, &error) == SQZ_OK);
    sqz_plan_row *rows = calloc(count, sizeof *rows);
    CHECK(count > 60 && rows);
    CHECK(sqz_model_plan(model, SIDE, SIDE, true, 1, rows, count, &count, &error) == SQZ_OK);
    for (size_t i = 0; rows && i < count; i++)
        CHECK(rows[i].implementation[0] && rows[i].milliseconds > 0);
    free(rows);
    sqz_model_destroy(model);
}

static void check_refusals(float *x) {
    sqz_model *model = NULL;
    sqz_spec spec;
    sqz_error error;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, 0);
    CHECK(sqz_model_create(&model, &spec, 0, &error) == SQZ_INVALID && !model);
    CHECK(strstr(error.message, "num_classes is 0"));
    model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_SIMPLE);
    float logits[N * 3];
    CHECK(sqz_model_forward(model, logits, x, 0, SIDE, SIDE, &error) == SQZ_INVALID);
    CHECK(sqz_model_forward(model, logits, x, 1, 1, 1, &error) == SQZ_INVALID);
    float kept = x[PICTURE + 5];
    x[PICTURE + 5] = NAN;
    CHECK(sqz_model_forward(model, logits, x, N, SIDE, SIDE, &error) == SQZ_INVALID);
    CHECK(strstr(error.message, "picture 1"));
    x[PICTURE + 5] = kept;
    CHECK(sqz_model_forward(model, logits, x, N, SIDE, SIDE, NULL) == SQZ_OK);
    CHECK(sqz_model_begin_write(model, &error) == SQZ_OK);
    CHECK(sqz_model_forward(model, logits, x, N, SIDE, SIDE, &error) == SQZ_BUSY);
    sqz_model_end_write(model);
    sqz_model_destroy(model);
    sqz_model_destroy(NULL);
    sqz_optimizer *adam = NULL;
    sqz_rule_options options = sqz_rule_defaults(SQZ_ADAM);
    options.lr = NAN;
    CHECK(sqz_optimizer_create(&adam, 4, &options, &error) == SQZ_INVALID && !adam);
}

/* A frozen float, a slow one, and one that decays: with gradients of 0 only decay moves. */
static void check_spans(void) {
    sqz_optimizer *adam = NULL;
    sqz_rule_options options = sqz_rule_defaults(SQZ_ADAM);
    sqz_error error;
    options.lr = 0.5;
    CHECK(sqz_optimizer_create(&adam, 3, &options, &error) == SQZ_OK);
    sqz_optimizer_span spans[] = {{1, 0, 0.5}, {1, 0.5, 0}, {1, 1, 0.5}};
    CHECK(sqz_optimizer_set_spans(adam, spans, 3, &error) == SQZ_OK);
    CHECK(sqz_optimizer_set_spans(adam, spans, 2, &error) == SQZ_INVALID);
    CHECK(sqz_optimizer_set_spans(adam, NULL, 0, &error) == SQZ_INVALID);
    spans[2].weight_decay = NAN;
    CHECK(sqz_optimizer_set_spans(adam, spans, 3, &error) == SQZ_INVALID && adam->span_count == 3);
    float parameters[3] = {1, 1, 1}, gradients[3] = {0, 0, 0};
    CHECK(sqz_optimizer_step(adam, parameters, gradients, &error) == SQZ_OK);
    CHECK(parameters[0] == 1 && parameters[1] == 1 && parameters[2] == 0.75f);
    gradients[0] = gradients[1] = 1;
    CHECK(sqz_optimizer_step(adam, parameters, gradients, &error) == SQZ_OK);
    CHECK(parameters[0] == 1 && adam->moments[0][0] == 0 && adam->moments[1][0] == 0 &&
          parameters[1] < 1);
    sqz_optimizer_destroy(adam);
}

/* By hand: a gradient of length 5 is scaled to 1, and momentum adds the one before. */
static void check_sgd(void) {
    sqz_optimizer *sgd = NULL;
    sqz_rule_options options = sqz_rule_defaults(SQZ_SGD);
    sqz_error error;
    options.nesterov = true;
    CHECK(sqz_optimizer_create(&sgd, 3, &options, &error) == SQZ_INVALID && !sgd);
    options.rule = SQZ_RULES;
    CHECK(sqz_optimizer_create(&sgd, 3, &options, &error) == SQZ_INVALID && !sgd);
    options = (sqz_rule_options){.rule = SQZ_SGD, .lr = 1, .momentum = 0.5};
    CHECK(sqz_optimizer_create(&sgd, 3, &options, &error) == SQZ_OK);
    CHECK(sqz_optimizer_set_clip_norm(sgd, 0, &error) == SQZ_INVALID);
    CHECK(sqz_optimizer_set_clip_norm(sgd, 1, &error) == SQZ_OK);
    float parameters[3] = {1, 1, 1}, gradients[3] = {3, 4, 100};
    CHECK(sqz_optimizer_keep_average(sgd, parameters, 1, &error) == SQZ_INVALID);
    CHECK(sqz_optimizer_keep_average(sgd, parameters, 0.25, &error) == SQZ_OK);
    sqz_optimizer_span spans[] = {{2, 1, 0}, {1, 0, 0}}; /* what is frozen has no length */
    CHECK(sqz_optimizer_set_spans(sgd, spans, 2, &error) == SQZ_OK);
    CHECK(sqz_optimizer_step(sgd, parameters, gradients, &error) == SQZ_OK);
    CHECK(fabsf(gradients[0] - 0.6f) < 1e-6f && fabsf(gradients[1] - 0.8f) < 1e-6f);
    CHECK(fabsf(parameters[0] - 0.4f) < 1e-6f && fabsf(parameters[1] - 0.2f) < 1e-6f);
    CHECK(parameters[2] == 1 && sgd->average[2] == 1);
    /* Of decays, 2 / 11 is below 0.25. */
    CHECK(fabsf(sgd->average[0] - (1 - 0.6f * 9 / 11)) < 1e-6f);
    gradients[0] = gradients[1] = 0;
    CHECK(sqz_optimizer_step(sgd, parameters, gradients, &error) == SQZ_OK);
    CHECK(fabsf(parameters[0] - 0.1f) < 1e-6f && fabsf(parameters[1] + 0.2f) < 1e-6f);
    CHECK(fabsf(sgd->average[0] - (0.25f * (1 - 0.6f * 9 / 11) + 0.75f * 0.1f)) < 1e-6f);
    sqz_optimizer_destroy(sgd);
}

/* Weights of the loss: where all are equal they divide out. */
static void check_class_weights(const float *x) {
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE);
    const int64_t zeros[N] = {0};
    const double equal[3] = {2, 2, 2}, none[3] = {1, 0, 1};
    sqz_batch batch = batch_of(x);
    batch.labels = zeros;
    sqz_error error;
    double plain = NAN, weighted = NAN, losses[N];
    CHECK(sqz_model_compute_gradients(model, &plain, losses, NULL, &batch, &error) == SQZ_OK);
    batch.class_weights = equal;
    CHECK(sqz_model_compute_gradients(model, &weighted, losses, NULL, &batch, &error) == SQZ_OK);
    CHECK(fabs(weighted - plain) < 1e-12);
    batch.label_smoothing = 1.5;
    CHECK(sqz_model_compute_gradients(model, &weighted, losses, NULL, &batch, &error) ==
          SQZ_INVALID);
    batch.label_smoothing = 0;
    batch.class_weights = none;
    CHECK(sqz_model_compute_gradients(model, &weighted, losses, NULL, &batch, &error) ==
          SQZ_INVALID);
    sqz_model_destroy(model);
}

/* Of bytes, changed and normalised in the workspace: what floats that were made of them give. */
static void check_pictures(void) {
    enum { PICTURE = 3 * SIDE * SIDE };
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE);
    const sqz_augmentation ranges = {.rotation = 20, .hue = 0.1, .vertical_flip = true};
    uint8_t *pictures = malloc(N * PICTURE), *changed = malloc(PICTURE);
    float *x = malloc(N * PICTURE * sizeof *x);
    sqz_change changes[N];
    sqz_batch batch = {.pictures = pictures,
                       .changes = changes,
                       .mean = {0.5f, 0.4f, 0.3f},
                       .std = {0.5f, 0.25f, 1},
                       .labels = labels,
                       .n = N,
                       .h = SIDE,
                       .w = SIDE,
                       .global_batch = N,
                       .temperature = 1};
    sqz_error error;
    double of_bytes = NAN, of_floats = NAN, losses[N];
    CHECK(pictures && changed && x);
    for (size_t i = 0; i < N * PICTURE; i++)
        pictures[i] = (uint8_t)(i * i >> 7);
    for (int i = 0; i < N; i++) {
        CHECK(sqz_change_draw(&changes[i], &ranges, SIDE, SIDE, 1, 1, (uint64_t)i, &error) ==
              SQZ_OK);
        sqz_image_change(changed, pictures + i * PICTURE, SIDE, SIDE, &changes[i]);
        sqz_image_normalise(x + i * PICTURE, changed, SIDE, SIDE, 0, batch.mean, batch.std);
    }
    CHECK(sqz_model_compute_gradients(model, &of_bytes, losses, NULL, &batch, &error) == SQZ_OK);
    batch.std[1] = 0;
    CHECK(sqz_model_compute_gradients(model, &of_floats, losses, NULL, &batch, &error) ==
          SQZ_INVALID);
    batch.pictures = NULL;
    batch.x = x;
    CHECK(sqz_model_compute_gradients(model, &of_floats, losses, NULL, &batch, &error) == SQZ_OK);
    CHECK(of_bytes == of_floats);
    free(pictures);
    free(changed);
    free(x);
    sqz_model_destroy(model);
}

/* Probabilities that say what labels say, and such as are none. */
static void check_probabilities(const float *x) {
    sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_NONE);
    double sure[N][3] = {{0}}, plain = NAN, found = NAN, losses[N];
    for (int i = 0; i < N; i++)
        sure[i][labels[i]] = 1;
    sqz_batch batch = batch_of(x);
    sqz_error error;
    CHECK(sqz_model_compute_gradients(model, &plain, losses, NULL, &batch, &error) == SQZ_OK);
    batch.labels = NULL;
    batch.probabilities = sure[0];
    CHECK(sqz_model_compute_gradients(model, &found, losses, NULL, &batch, &error) == SQZ_OK);
    CHECK(found == plain);
    const double wrong[] = {-0.1, 0.9, 1.1, NAN, INFINITY};
    for (int i = 0; i < 5; i++) {
        sure[1][1] = wrong[i];
        CHECK(sqz_model_compute_gradients(model, &found, losses, NULL, &batch, &error) ==
              SQZ_INVALID);
    }
    sure[1][1] = 1;
    batch.temperature = 0;
    CHECK(sqz_model_compute_gradients(model, &found, losses, NULL, &batch, &error) == SQZ_INVALID);
    sqz_model_destroy(model);
}

void test_network(void) {
    float *x = new_pictures();
    sqz_build_info info;
    sqz_error error;
    CHECK(x && sqz_get_build_info(&info, &error) == SQZ_OK);
    if (!x)
        return;
    const char *backends[] = {"openmp", info.onednn_offered ? "onednn" : NULL};
    for (int i = 0; i < 2 && backends[i]; i++) {
        CHECK(sqz_set_backend(backends[i], &error) == SQZ_OK);
        check_learning(x, SQZ_VERSION_1_1, SQZ_BYPASS_NONE);
        check_learning(x, SQZ_VERSION_1_0, SQZ_BYPASS_COMPLEX);
        check_maps(x);
        check_features(x);
        check_threads(x);
        check_plan();
        check_bfloat16(x);
    }
    check_refusals(x);
    check_spans();
    check_sgd();
    check_class_weights(x);
    check_probabilities(x);
    check_pictures();
    free(x);
}
