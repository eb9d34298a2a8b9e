/* test_sharing.c: one picture over several threads: the bits of one thread, failures that leave
 * nobody waiting, calls side by side, and nothing allocated once a network is warm. */
#include "check.h"

#include "../../csrc/base/barrier.h"
#include "../../csrc/base/parallel.h"
#include "../../csrc/base/part.h"
#include "../../csrc/base/rng.h"
#include "../../csrc/ops/ops.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { CLASSES = 3, MOST = 3, LARGEST = 3 * 96 * 96 };

/* -- Parts ------------------------------------------------------------------------------------- */

static void test_parts(void) {
    for (int count = 1; count <= 9; count++)
        for (size_t units = 0; units < 40; units++) {
            size_t end = 0, fewest = units, most = 0;
            for (int index = 0; index < count; index++) {
                sqz_span span = sqz_part_span((sqz_part){index, count}, units);
                size_t size = span.end - span.begin;
                CHECK(span.begin == end && span.end >= span.begin);
                end = span.end;
                fewest = size < fewest ? size : fewest;
                most = size > most ? size : most;
            }
            CHECK(end == units && most - fewest <= 1);
        }
}

/* -- The barrier ------------------------------------------------------------------------------- */

enum { ROUNDS = 200, THREADS = 5 };

typedef struct {
    sqz_barrier barrier;
    int done[THREADS]; /* rounds, each written by its thread alone */
    int failing_round; /* of thread 2; -1: none */
    int next;
    int wrong, left;
} meeting;

static void *meet(void *context) {
    meeting *meeting = context;
    int me = __atomic_fetch_add(&meeting->next, 1, __ATOMIC_RELAXED);
    for (int round = 1; round <= ROUNDS; round++) {
        if (me == 2 && round == meeting->failing_round) {
            sqz_barrier_break(&meeting->barrier);
            return NULL;
        }
        meeting->done[me] = round;
        if (!sqz_barrier_wait(&meeting->barrier, THREADS)) {
            __atomic_fetch_add(&meeting->left, 1, __ATOMIC_RELAXED);
            return NULL;
        }
        for (int i = 0; i < THREADS; i++) /* plain reads: the barrier orders them */
            if (meeting->done[i] != round)
                __atomic_fetch_add(&meeting->wrong, 1, __ATOMIC_RELAXED);
        if (!sqz_barrier_wait(&meeting->barrier, THREADS))
            __atomic_fetch_add(&meeting->wrong, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void run_meeting(meeting *meeting) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, meet, meeting) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void test_barrier(void) {
    meeting whole = {.failing_round = -1};
    run_meeting(&whole);
    CHECK(whole.wrong == 0 && whole.left == 0);
    meeting broken = {.failing_round = 77};
    run_meeting(&broken);
    CHECK(broken.left == THREADS - 1);
}

/* -- Bits -------------------------------------------------------------------------------------- */

static sqz_model *new_model(sqz_version version, sqz_bypass bypass) {
    sqz_model *model = NULL;
    sqz_spec spec;
    sqz_error error;
    sqz_spec_default(&spec, version, CLASSES);
    spec.bypass = bypass;
    spec.base_e = 50; /* no multiple of a block */
    spec.incr_e = 37;
    spec.squeeze_ratio = 0.3;
    CHECK_OK(sqz_model_create(&model, &spec, 7, &error), error);
    return model;
}

static void forward(sqz_model *model, float logits[MOST * CLASSES], const float *x, int threads,
                    int n, int h, int w) {
    sqz_error error;
    CHECK_OK(sqz_set_num_threads(threads, &error), error);
    CHECK_OK(sqz_model_forward(model, logits, x, n, h, w, &error), error);
}

static void check_bits(sqz_model *model, const float *x, int h, int w) {
    static const int threads[] = {2, 3, 4, 7};
    float expected[MOST * CLASSES], found[MOST * CLASSES];
    forward(model, expected, x, 1, MOST, h, w);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        for (int n = 1; n <= MOST; n++)
            for (int again = 0; again < 2; again++) { /* the plan at hand; one made for it */
                memset(found, 0, sizeof found);
                forward(model, found, x, threads[i], n, h, w);
                CHECK(memcmp(found, expected, (size_t)n * CLASSES * sizeof *found) == 0);
            }
}

/* -- Failures ---------------------------------------------------------------------------------- */

static void check_failures(sqz_model *model, float *x) {
    enum { SIDE = 48, PICTURE = 3 * SIDE * SIDE };
    static const size_t places[] = {0, PICTURE / 2, PICTURE - 1};
    float expected[MOST * CLASSES], found[MOST * CLASSES];
    sqz_error error;
    forward(model, expected, x, 1, 2, SIDE, SIDE);
    for (int threads = 2; threads <= 5; threads++)
        for (size_t i = 0; i < 3; i++) {
            float kept = x[places[i]];
            x[places[i]] = NAN;
            CHECK_OK(sqz_set_num_threads(threads, &error), error);
            CHECK_FAILS(sqz_model_forward(model, found, x, 1, SIDE, SIDE, &error), error,
                        SQZ_INVALID, "x has NaN or infinity in picture 0");
            x[places[i]] = kept;
            forward(model, found, x, threads, 1, SIDE, SIDE);
            CHECK(memcmp(found, expected, CLASSES * sizeof *found) == 0);
            kept = x[PICTURE + places[i]]; /* of two pictures, the other is done in peace */
            x[PICTURE + places[i]] = INFINITY;
            CHECK_FAILS(sqz_model_forward(model, found, x, 2, SIDE, SIDE, &error), error,
                        SQZ_INVALID, "x has NaN or infinity in picture 1");
            x[PICTURE + places[i]] = kept;
        }
}

/* -- Side by side ------------------------------------------------------------------------------ */

typedef struct {
    sqz_model *model;
    const float *x, *expected;
    int wrong;
} caller;

static void *call(void *context) {
    caller *caller = context;
    float found[CLASSES];
    for (int i = 0; i < 6; i++) {
        sqz_status status = sqz_model_forward(caller->model, found, caller->x, 1, 48, 48, NULL);
        caller->wrong += status != SQZ_OK || memcmp(found, caller->expected, sizeof found) != 0;
    }
    return NULL;
}

static void check_callers(sqz_model *model, const float *x) {
    enum { CALLERS = 4 };
    float expected[MOST * CLASSES];
    sqz_error error;
    forward(model, expected, x, 1, 1, 48, 48);
    CHECK_OK(sqz_set_num_threads(3, &error), error);
    pthread_t threads[CALLERS];
    caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){model, x, expected, 0};
        CHECK(pthread_create(&threads[i], NULL, call, &callers[i]) == 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(callers[i].wrong == 0);
    }
}

/* -- Nothing is allocated ---------------------------------------------------------------------- */

/* The address sanitizer's, absent without it: then nothing is counted. (The thread sanitizer has
 * hooks too, but comes with another OpenMP, which allocates as it likes.) */
void __asan_init(void) __attribute__((weak));
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *, size_t),
                                              void (*freed)(const volatile void *))
    __attribute__((weak));

#ifdef __ELF__
#define HOOKS_THERE (__asan_init && __sanitizer_install_malloc_and_free_hooks)
#else /* whose linkers want weak functions to be there */
#define HOOKS_THERE false
#define __sanitizer_install_malloc_and_free_hooks(allocated, freed)                                \
    ((void)allocated, (void)freed, 0)
#endif

static long allocations;
static bool counting;

static void count_allocation(const volatile void *memory, size_t size_bytes) {
    (void)memory;
    (void)size_bytes;
    if (__atomic_load_n(&counting, __ATOMIC_RELAXED))
        __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
}

static void count_free(const volatile void *memory) {
    (void)memory;
}

static void train(sqz_model *model, const float *x) {
    static const int64_t labels[MOST] = {0, 1, 2};
    sqz_batch batch = {.x = x,
                       .labels = labels,
                       .n = MOST,
                       .h = 48,
                       .w = 48,
                       .global_batch = MOST,
                       .dropout = 0.5,
                       .temperature = 1};
    double loss, losses[MOST];
    sqz_error error;
    CHECK_OK(sqz_model_compute_gradients(model, &loss, losses, NULL, &batch, &error), error);
}

/* -- Training takes its threads too ------------------------------------------------------------ */

typedef struct {
    sqz_model *model;
    const float *x;
    bool done;
} trainer;

static void *train_often(void *context) {
    trainer *trainer = context;
    for (int i = 0; i < 20; i++)
        train(trainer->model, trainer->x);
    __atomic_store_n(&trainer->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void check_training_is_counted(sqz_model *model, const float *x) {
    trainer trainer = {.model = model, .x = x};
    sqz_error error;
    pthread_t thread;
    int fewest = 2;
    CHECK_OK(sqz_set_num_threads(2, &error), error);
    CHECK(pthread_create(&thread, NULL, train_often, &trainer) == 0);
    while (!__atomic_load_n(&trainer.done, __ATOMIC_ACQUIRE)) {
        int taken = sqz_threads_take(2);
        fewest = taken < fewest ? taken : fewest;
        sqz_threads_give(taken);
        sched_yield();
    }
    pthread_join(thread, NULL);
    CHECK(fewest == 1);
}

/* For the own kernels: oneDNN allocates a little whenever it executes something. */
static void check_allocations(sqz_model *model, const float *x) {
    float logits[MOST * CLASSES];
    sqz_error error;
    CHECK_OK(sqz_set_num_threads(2, &error), error);
    __atomic_store_n(&counting, true, __ATOMIC_RELAXED);
    void *one = malloc(1);
    __atomic_store_n(&counting, false, __ATOMIC_RELAXED);
    free(one);
    CHECK(!one || allocations == 1);
    for (int round = 0; round < 4; round++) { /* the last one is looked at */
        __atomic_store_n(&allocations, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&counting, true, __ATOMIC_RELAXED);
        for (int n = 1; n <= MOST; n++)
            CHECK_OK(sqz_model_forward(model, logits, x, n, 48, 48, &error), error);
        train(model, x);
        __atomic_store_n(&counting, false, __ATOMIC_RELAXED);
    }
    CHECK(allocations == 0);
}

/* A plan is made a second time for sharing only where a forward convolution is prepared for it: the
 * mixture's are all ours in float32, whose parts need nothing. */
static void check_mixture_prepares_nothing(void) {
    const sqz_ops *mixed = sqz_ops_mixed(SQZ_FLOAT32);
    CHECK(!mixed || !mixed->conv_share);
}

void test_sharing(void);
void test_sharing(void) {
    test_parts();
    test_barrier();
    float *x = malloc(MOST * LARGEST * sizeof *x);
    sqz_build_info info;
    sqz_error error;
    CHECK_OK(sqz_get_build_info(&info, &error), error);
    CHECK(x != NULL);
    if (!x)
        return;
    sqz_rng rng;
    sqz_rng_start(&rng, 1, SQZ_RNG_INIT, 0);
    for (int i = 0; i < MOST * LARGEST; i++)
        x[i] = (float)(2 * sqz_rng_uniform(&rng) - 1);
    int before = sqz_get_num_threads();
    bool hooked =
        HOOKS_THERE && __sanitizer_install_malloc_and_free_hooks(count_allocation, count_free) > 0;
    check_mixture_prepares_nothing();
    const char *backends[] = {"openmp", info.onednn_offered ? "onednn" : NULL};
    for (int i = 0; i < 2 && backends[i]; i++) {
        CHECK_OK(sqz_set_backend(backends[i], &error), error);
        sqz_model *model = new_model(SQZ_VERSION_1_1, SQZ_BYPASS_COMPLEX);
        check_bits(model, x, 32, 32);
        check_bits(model, x, 96, 71);
        check_failures(model, x);
        check_callers(model, x);
        check_training_is_counted(model, x);
        if (i == 0 && hooked)
            check_allocations(model, x);
        sqz_model_destroy(model);
        model = new_model(SQZ_VERSION_1_0, SQZ_BYPASS_SIMPLE);
        check_bits(model, x, 47, 64);
        sqz_model_destroy(model);
    }
    CHECK_OK(sqz_set_num_threads(before, &error), error);
    CHECK_OK(sqz_set_backend(info.backend, &error), error);
    free(x);
}
