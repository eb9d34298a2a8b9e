/* test_races.c: one thread trains a model while others predict with it, in pictures of
 * changing sizes. Nobody is refused, and what comes out is what comes
 * out of the same calls one after the other. For the thread sanitizer above all. */
#include "check.h"

#include "../../csrc/base/rng.h"

#include <pthread.h>
#include <stdlib.h>

enum { N = 2, LARGEST = 44, STEPS = 6, PREDICTORS = 6, CLASSES = 2 };

static float x[N * 3 * LARGEST * LARGEST];
static const int64_t labels[N] = {0, 1};

typedef struct run {
    sqz_model *model;
    sqz_optimizer *adam;
    bool done;
    int wrong;
} run;

static void start(run *run, uint64_t seed) {
    sqz_spec spec;
    sqz_error error;
    *run = (struct run){0};
    sqz_spec_default(&spec, SQZ_VERSION_1_1, CLASSES);
    spec.base_e = 16;
    spec.incr_e = 8;
    CHECK_OK(sqz_model_create(&run->model, &spec, seed, &error), error);
    sqz_rule_options options = sqz_rule_defaults(SQZ_ADAM);
    CHECK_OK(
        sqz_optimizer_create(&run->adam, sqz_model_parameter_count(run->model), &options, &error),
        error);
}

static void *train(void *context) {
    run *run = context;
    sqz_batch batch = {
        .x = x, .labels = labels, .n = N, .global_batch = N, .dropout = 0.5, .temperature = 1};
    for (int step = 0; step < STEPS; step++) {
        double loss, losses[N];
        sqz_error error;
        batch.h = batch.w = LARGEST - step;
        batch.step = (uint64_t)step;
        CHECK_OK(sqz_model_compute_gradients(run->model, &loss, losses, NULL, &batch, &error),
                 error);
        CHECK_OK(sqz_model_begin_write(run->model, &error), error);
        CHECK_OK(sqz_optimizer_step(run->adam, sqz_model_parameters(run->model),
                                    sqz_model_gradients(run->model), &error),
                 error);
        sqz_model_end_write(run->model);
    }
    __atomic_store_n(&run->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void *predict(void *context) {
    run *run = context;
    for (int i = 0; i < 3 || !__atomic_load_n(&run->done, __ATOMIC_ACQUIRE); i++) {
        float logits[N * CLASSES];
        int side = LARGEST - i % 3;
        if (sqz_model_forward(run->model, logits, x, 1 + i % N, side, side, NULL) != SQZ_OK ||
            !isfinite(logits[0]))
            __atomic_fetch_add(&run->wrong, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

void test_races(void) {
    run together, alone;
    pthread_t trainer, predictors[PREDICTORS];
    sqz_error error;
    sqz_rng rng;
    int threads = sqz_get_num_threads();
    sqz_rng_start(&rng, 1, SQZ_RNG_INIT, 0);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)(2 * sqz_rng_uniform(&rng) - 1);
    CHECK_OK(sqz_set_num_threads(2, &error), error);
    start(&together, 3);
    for (int i = 0; i < PREDICTORS; i++)
        CHECK(pthread_create(&predictors[i], NULL, predict, &together) == 0);
    CHECK(pthread_create(&trainer, NULL, train, &together) == 0);
    pthread_join(trainer, NULL);
    for (int i = 0; i < PREDICTORS; i++)
        pthread_join(predictors[i], NULL);
    CHECK(together.wrong == 0);
    start(&alone, 3);
    train(&alone);
    CHECK(memcmp(sqz_model_parameters(together.model), sqz_model_parameters(alone.model),
                 together.adam->count * sizeof(float)) == 0);
    run *runs[] = {&together, &alone};
    for (int i = 0; i < 2; i++) {
        sqz_optimizer_destroy(runs[i]->adam);
        sqz_model_destroy(runs[i]->model);
    }
    CHECK_OK(sqz_set_num_threads(threads, &error), error);
}
