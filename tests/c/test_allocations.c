/* test_allocations.c: memory runs out at every place in turn. The library's own allocations are
 * counted (the linker sends them here, see WRAPPED in c_programs.py); those of OpenMP, oneDNN and
 * the C library itself are theirs. With the k-th refused, or all from the k-th on, a call says so
 * by its status or does its work all the same; nothing is lost (the leak sanitizer looks), and the
 * same call succeeds afterwards, with the same bits. */
#include "check.h"

#include "../../csrc/base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* -- Refusals ---------------------------------------------------------------------------------- */

static long left;       /* allocations before the one that is refused; below 0: past it */
static bool armed, all; /* all: those after it too */
static long refusals;

static bool refused(void) {
    if (!__atomic_load_n(&armed, __ATOMIC_RELAXED))
        return false;
    long before = __atomic_fetch_sub(&left, 1, __ATOMIC_RELAXED);
    if (before > 0 || (before < 0 && !all))
        return false;
    __atomic_fetch_add(&refusals, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return true;
}

static void arm(long place, bool all_after) {
    left = place;
    all = all_after;
    refusals = 0;
    __atomic_store_n(&armed, true, __ATOMIC_RELEASE);
}

static bool disarm(void) {
    __atomic_store_n(&armed, false, __ATOMIC_RELEASE);
    return refusals > 0;
}

#define WRAP(name, result, none, parameters, arguments)                                            \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters {                                                              \
        return refused() ? (none) : __real_##name arguments;                                       \
    }
WRAP(malloc, void *, NULL, (size_t size), (size))
WRAP(calloc, void *, NULL, (size_t count, size_t size), (count, size))
WRAP(realloc, void *, NULL, (void *memory, size_t size), (memory, size))
WRAP(posix_memalign, int, ENOMEM, (void **memory, size_t alignment, size_t size),
     (memory, alignment, size))
WRAP(strdup, char *, NULL, (const char *text), (text))
WRAP(strndup, char *, NULL, (const char *text, size_t size), (text, size))
WRAP(realpath, char *, NULL, (const char *path, char *resolved), (path, resolved))
WRAP(opendir, DIR *, NULL, (const char *path), (path))
WRAP(pthread_create, int, EAGAIN,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument),
     (thread, attributes, start, argument))

/* -- What is tried ----------------------------------------------------------------------------- */

enum { N = 3, SIDE = 32, PICTURE = 3 * SIDE * SIDE, CLASSES = 3, MOST_PLACES = 5000 };

static float x[N * PICTURE];
static const int64_t labels[N] = {0, 2, 1};

/* One kind of work. `run` does it from scratch or on what `begin` made; what it finds is compared
 * over all tries. After a failure it is run again on the same thing. */
typedef struct {
    const char *name;
    void *(*begin)(void);
    sqz_status (*run)(void *thing, float found[N * CLASSES], sqz_error *error);
    void (*end)(void *thing);
} work;

static void check_once(const work *work, const float expected[N * CLASSES], long place,
                       bool all_after, bool *past) {
    float found[N * CLASSES] = {0};
    sqz_error error = {0};
    void *thing = work->begin();
    arm(place, all_after);
    sqz_status status = work->run(thing, found, &error);
    *past = !disarm();
    if (status == SQZ_OK) {
        CHECK(memcmp(found, expected, sizeof found) == 0);
    } else if (status != SQZ_NO_MEMORY || !error.message[0] || *past) {
        sqz_checks_failed++;
        fprintf(stderr, "%s, allocation %ld%s: status %d, \"%s\"\n", work->name, place,
                all_after ? " and all after it" : "", (int)status, error.message);
    }
    CHECK_OK(work->run(thing, found, &error), error);
    CHECK(memcmp(found, expected, sizeof found) == 0);
    work->end(thing);
}

static void check_every_place(const work *work) {
    float expected[N * CLASSES] = {0};
    sqz_error error;
    void *thing = work->begin();
    CHECK_OK(work->run(thing, expected, &error), error);
    work->end(thing);
    for (int all_after = 0; all_after < 2; all_after++) {
        bool past = false;
        long place = 0;
        for (; !past && place < MOST_PLACES; place++)
            check_once(work, expected, place, all_after, &past);
        CHECK(place > 1 && place < MOST_PLACES); /* something was refused, and it came to an end */
        if (all_after)
            printf("  %s: %ld allocations, each refused in turn\n", work->name, place - 1);
    }
    fflush(stdout);
}

/* -- A model ----------------------------------------------------------------------------------- */

typedef struct {
    sqz_model *model;
    sqz_optimizer *adam;
} trained;

static sqz_status make(trained *made, sqz_error *error) {
    sqz_spec spec;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, CLASSES);
    spec.base_e = 16;
    spec.incr_e = 8;
    *made = (trained){0};
    SQZ_TRY(sqz_model_create(&made->model, &spec, 7, error));
    sqz_rule_options options = sqz_rule_defaults(SQZ_ADAM);
    SQZ_TRY(
        sqz_optimizer_create(&made->adam, sqz_model_parameter_count(made->model), &options, error));
    sqz_optimizer_span spans[] = {{1, 0, 0}, {made->adam->count - 1, 1, 0.1}};
    SQZ_TRY(sqz_optimizer_keep_average(made->adam, sqz_model_parameters(made->model), 0.9, error));
    return sqz_optimizer_set_spans(made->adam, spans, 2, error);
}

static void drop(trained *made) {
    sqz_optimizer_destroy(made->adam);
    sqz_model_destroy(made->model);
}

static void *nothing(void) {
    return NULL;
}

static void end_nothing(void *thing) {
    (void)thing;
}

static sqz_status run_create(void *thing, float found[N * CLASSES], sqz_error *error) {
    (void)thing;
    trained made;
    sqz_status status = make(&made, error);
    if (status == SQZ_OK)
        memcpy(found, sqz_model_parameters(made.model), N * CLASSES * sizeof *found);
    drop(&made);
    return status;
}

static void *begin_model(void) {
    trained *made = malloc(sizeof *made);
    sqz_error error;
    CHECK_OK(make(made, &error), error);
    return made;
}

static void end_model(void *thing) {
    drop(thing);
    free(thing);
}

static sqz_status run_predict(void *thing, float found[N * CLASSES], sqz_error *error) {
    return sqz_model_forward(((trained *)thing)->model, found, x, N, SIDE, SIDE, error);
}

/* A batch, then the step: neither has done a part of its work where it fails, so that the first to
 * succeed is the first there is. */
static sqz_status run_train(void *thing, float found[N * CLASSES], sqz_error *error) {
    trained *made = thing;
    sqz_batch batch = {.x = x,
                       .labels = labels,
                       .n = N,
                       .h = SIDE,
                       .w = SIDE,
                       .global_batch = N,
                       .dropout = 0.5,
                       .temperature = 1};
    double loss = 0, losses[N];
    if (made->adam->step == 0) {
        SQZ_TRY(sqz_model_compute_gradients(made->model, &loss, losses, NULL, &batch, error));
        SQZ_TRY(sqz_model_begin_write(made->model, error));
        sqz_status status = sqz_optimizer_step(made->adam, sqz_model_parameters(made->model),
                                               sqz_model_gradients(made->model), error);
        sqz_model_end_write(made->model);
        SQZ_TRY(status);
    }
    memcpy(found, sqz_model_parameters(made->model), N * CLASSES * sizeof *found);
    return SQZ_OK;
}

/* Scales that suit nothing in particular. */
static sqz_status run_quantise(void *thing, float found[N * CLASSES], sqz_error *error) {
    sqz_model *model = ((trained *)thing)->model;
    static uint8_t pictures[N * PICTURE];
    float activations[64], weights[2048];
    int groups[64];
    size_t count = 0, channels = 0;
    for (int i = 0; i < N * PICTURE; i++)
        pictures[i] = (uint8_t)(i * 7);
    SQZ_TRY(sqz_model_activation_groups(model, groups, 64, &count, error));
    for (size_t i = 0; i < count; i++)
        activations[i] = groups[i] < 0 ? 1.0f : 0.02f;
    for (size_t i = 0; i < sqz_model_tensor_count(model); i++)
        if (sqz_model_tensor(model, i)->rank == 1)
            channels += sqz_model_tensor(model, i)->count;
    for (size_t i = 0; i < channels && i < 2048; i++)
        weights[i] = i < 64 ? 2e-5f : 0.004f;
    sqz_quantization wanted = {.activation_scales = activations,
                               .activation_count = count,
                               .weight_scales = weights,
                               .weight_scale_count = channels,
                               .mean = {0.5f, 0.5f, 0.5f},
                               .std = {0.5f, 0.5f, 0.5f}};
    if (!sqz_model_quantization(model))
        SQZ_TRY(sqz_model_quantize(model, &wanted, error));
    SQZ_TRY(sqz_model_set_precision(model, SQZ_INT8, error));
    return sqz_model_forward_pictures(model, found, pictures, N, SIDE, SIDE, error);
}

/* -- Files ------------------------------------------------------------------------------------- */

static char folder[64], path[96], link_path[96];

static const float old_values[2] = {1, 2}, new_values[3] = {3, 4, 5};
static const uint8_t bytes[4] = {1, 2, 3, 4};

static sqz_status save(const float *values, size_t count, sqz_error *error) {
    sqz_tensor tensors[] = {
        {.name = "a", .rank = 1, .shape = {(int64_t)count}, .count = count, .values = values},
        {.name = "b", .dtype = SQZ_U8, .rank = 1, .shape = {4}, .count = 4, .bytes = bytes},
    };
    sqz_metadata metadata = {"key", "a \"value\""};
    return sqz_tensor_file_write(link_path, tensors, 2, &metadata, 1, error);
}

static sqz_status load(float found[N * CLASSES], sqz_error *error) {
    sqz_tensor_file *file;
    SQZ_TRY(sqz_tensor_file_read(&file, path, error));
    const sqz_tensor *tensor = sqz_tensor_file_tensor(file, 0);
    memcpy(found, tensor->values, tensor->count * sizeof *found);
    sqz_tensor_file_destroy(file);
    return SQZ_OK;
}

static size_t names_in_folder(void) {
    size_t count = 0;
    DIR *opened = opendir(folder);
    while (opened && readdir(opened))
        count++;
    closedir(opened);
    return count - 2; /* . and .. */
}

static void *begin_file(void) {
    sqz_error error;
    CHECK_OK(sqz_file_write(path, "", 0, &error), error); /* for the link to lead to */
    CHECK_OK(save(old_values, 2, &error), error);
    return NULL;
}

/* What is there stays until the new file is whole, with nothing beside it; through a link too. */
static sqz_status run_save(void *thing, float found[N * CLASSES], sqz_error *error) {
    (void)thing;
    sqz_status status = save(new_values, 3, error);
    bool was_armed = __atomic_exchange_n(&armed, false, __ATOMIC_RELAXED);
    float kept[N * CLASSES] = {0};
    sqz_error other;
    CHECK_OK(load(kept, &other), other);
    CHECK(kept[0] == (status == SQZ_OK ? 3 : 1) && names_in_folder() == 2);
    memcpy(found, kept, sizeof kept);
    __atomic_store_n(&armed, was_armed, __ATOMIC_RELAXED);
    return status;
}

static sqz_status run_load(void *thing, float found[N * CLASSES], sqz_error *error) {
    (void)thing;
    return load(found, error);
}

/* -- Pictures and codes ------------------------------------------------------------------------ */

/* A grey BMP of 24 bits, 8 x 8. */
static void *begin_pictures(void) {
    uint8_t file[54 + 8 * 8 * 3] = {'B', 'M', sizeof file};
    sqz_error error;
    file[10] = 54;
    file[14] = 40;
    file[18] = file[22] = 8;
    file[26] = 1;
    file[28] = 24;
    for (size_t i = 54; i < sizeof file; i++)
        file[i] = (uint8_t)i;
    CHECK_OK(sqz_file_write(path, file, sizeof file, &error), error);
    return NULL;
}

static sqz_status run_pictures(void *thing, float found[N * CLASSES], sqz_error *error) {
    (void)thing;
    static const int64_t order[] = {0, 1, 0, 1};
    const char *paths[] = {path, path};
    uint8_t pictures[4 * 5 * 5 * 3];
    sqz_dataset *dataset;
    sqz_loader *loader = NULL;
    SQZ_TRY(sqz_dataset_create(&dataset, paths, 2, 5, SQZ_FIT_PAD, 1 << 20, error));
    sqz_status status = sqz_loader_create(&loader, dataset, order, 4, 2, 2, error);
    if (status == SQZ_OK)
        status = sqz_loader_next(loader, pictures, 4, error);
    for (int i = 0; status == SQZ_OK && i < N * CLASSES; i++)
        found[i] = pictures[17 * i];
    sqz_loader_destroy(loader);
    sqz_dataset_destroy(dataset);
    return status;
}

static sqz_status run_codes(void *thing, float found[N * CLASSES], sqz_error *error) {
    (void)thing;
    static const int8_t values[9] = {0, 5, 0, 0, -3, 5, 0, 0, 1};
    int8_t decoded[9];
    uint8_t *coded;
    size_t size_bytes, used_bytes;
    SQZ_TRY(sqz_codes_encode(values, 9, &coded, &size_bytes, error));
    sqz_status status = sqz_codes_decode(coded, size_bytes, &used_bytes, decoded, 9, error);
    sqz_codes_free(coded);
    for (int i = 0; status == SQZ_OK && i < 9; i++)
        found[i] = decoded[i];
    return status;
}

void test_allocations(void) {
    static const work works[] = {
        {"create", nothing, run_create, end_nothing},
        {"predict", begin_model, run_predict, end_model},
        {"train", begin_model, run_train, end_model},
        {"quantise", begin_model, run_quantise, end_model},
        {"save", begin_file, run_save, end_nothing},
        {"load", begin_file, run_load, end_nothing},
        {"pictures", begin_pictures, run_pictures, end_nothing},
        {"codes", nothing, run_codes, end_nothing},
    };
    sqz_build_info info;
    sqz_error error;
    sqz_rng rng;
    int threads = sqz_get_num_threads();
    sqz_rng_start(&rng, 1, SQZ_RNG_INIT, 0);
    for (int i = 0; i < N * PICTURE; i++)
        x[i] = (float)(2 * sqz_rng_uniform(&rng) - 1);
    strcpy(folder, "allocations-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(link_path, sizeof link_path, "%s/link", folder);
    CHECK(symlink("file", link_path) == 0);
    CHECK_OK(sqz_get_build_info(&info, &error), error);
    CHECK_OK(sqz_set_backend("openmp", &error), error);
    CHECK_OK(sqz_set_num_threads(2, &error), error);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        check_every_place(&works[i]);
    CHECK_OK(sqz_set_num_threads(threads, &error), error);
    CHECK_OK(sqz_set_backend(info.backend, &error), error);
    CHECK(remove(path) == 0 && remove(link_path) == 0 && rmdir(folder) == 0);
}
