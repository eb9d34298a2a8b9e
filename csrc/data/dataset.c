/* dataset.c: files, or pictures in memory, that become square pictures, kept once decoded while
 * they fit.
 *
 * A picture is [image_size][image_size][3] uint8. A slot of the cache is written once, under the
 * mutex, and its pixels never change or move until the data set is destroyed: who has read the
 * pointer under the mutex may read the pixels without it. Decoding is done without the mutex, so
 * two threads may decode the same file; the first to finish keeps its picture. Failures are not
 * kept: a file that was bad is read again when it is asked for again. */
#include "dataset.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../base/memory.h"

/* How much one data set and those that share its cache may keep, and do. */
typedef struct {
    size_t limit;
    atomic_size_t used, owners;
} budget;

struct sqz_dataset {
    size_t count;
    char **paths;      /* [count]; NULL where the pictures are in memory */
    sqz_image *images; /* [count], their pixels the caller's; NULL where there are paths */
    int image_size;
    sqz_fit fit;
    size_t picture_bytes;
    budget *budget;
    pthread_mutex_t mutex; /* of the two below */
    uint8_t **cached;      /* [count], NULL where the picture is not kept */
    size_t cached_bytes;
};

static budget *make_budget(size_t limit) {
    budget *made = malloc(sizeof *made);
    if (made) {
        made->limit = limit;
        atomic_init(&made->used, 0);
        atomic_init(&made->owners, 1);
    }
    return made;
}

static void leave_budget(budget *left, size_t cached_bytes) {
    if (!left)
        return;
    atomic_fetch_sub(&left->used, cached_bytes);
    if (atomic_fetch_sub(&left->owners, 1) == 1)
        free(left);
}

static bool take_from_budget(budget *from, size_t bytes) {
    size_t used = atomic_load(&from->used);
    do
        if (bytes > from->limit - used) /* used never exceeds it */
            return false;
    while (!atomic_compare_exchange_weak(&from->used, &used, used + bytes));
    return true;
}

/* 3 GiB a picture: beyond it a wrong number is likelier than a wish. */
enum { MAX_IMAGE_SIZE = 32768 };

static sqz_status check_paths(const char *const *paths, size_t count, sqz_error *error) {
    for (size_t i = 0; i < count; i++)
        if (!paths[i] || !paths[i][0])
            return sqz_fail(error, SQZ_INVALID, "paths[%zu] is empty, expected a file's path", i);
    return SQZ_OK;
}

static sqz_status check_images(const sqz_image *images, size_t count, sqz_error *error) {
    for (size_t i = 0; i < count; i++)
        if (images[i].h < 1 || images[i].w < 1 || !images[i].pixels)
            return sqz_fail(error, SQZ_INVALID, "images[%zu] is %d x %d, expected at least a pixel",
                            i, images[i].w, images[i].h);
    return SQZ_OK;
}

/* Of no picture yet, with room for what is kept of `count`. */
static sqz_status create_empty(sqz_dataset **dataset, size_t count, int image_size, sqz_fit fit,
                               size_t cache_bytes, sqz_error *error) {
    *dataset = NULL;
    if (image_size < 1 || image_size > MAX_IMAGE_SIZE)
        return sqz_fail(error, SQZ_INVALID, "image_size is %d, expected 1 to %d", image_size,
                        MAX_IMAGE_SIZE);
    sqz_dataset *made = calloc(1, sizeof *made);
    if (!made)
        return sqz_fail_memory(error, "a data set", sizeof *made);
    if (pthread_mutex_init(&made->mutex, NULL) != 0) {
        free(made);
        return sqz_fail(error, SQZ_INTERNAL, "a data set's mutex could not be made");
    }
    made->image_size = image_size;
    made->fit = fit;
    made->picture_bytes =
        sqz_size_multiply(sqz_size_multiply((size_t)image_size, (size_t)image_size), 3);
    made->budget = make_budget(cache_bytes);
    made->cached = calloc(count ? count : 1, sizeof *made->cached);
    if (!made->budget || !made->cached) {
        sqz_dataset_destroy(made);
        return sqz_fail_memory(error, "a data set's cache",
                               sqz_size_multiply(count, sizeof *made->cached));
    }
    *dataset = made;
    return SQZ_OK;
}

sqz_status sqz_dataset_create(sqz_dataset **dataset, const char *const *paths, size_t count,
                              int image_size, sqz_fit fit, size_t cache_bytes, sqz_error *error) {
    *dataset = NULL;
    SQZ_TRY(check_paths(paths, count, error));
    sqz_dataset *made;
    SQZ_TRY(create_empty(&made, count, image_size, fit, cache_bytes, error));
    made->paths = calloc(count ? count : 1, sizeof *made->paths);
    if (made->paths)
        while (made->count < count && (made->paths[made->count] = strdup(paths[made->count])))
            made->count++;
    if (!made->paths || made->count < count) {
        sqz_dataset_destroy(made);
        return sqz_fail_memory(error, "a data set's paths",
                               sqz_size_multiply(count, sizeof *made->paths));
    }
    *dataset = made;
    return SQZ_OK;
}

sqz_status sqz_dataset_create_in_memory(sqz_dataset **dataset, const sqz_image *images,
                                        size_t count, int image_size, sqz_fit fit,
                                        size_t cache_bytes, sqz_error *error) {
    *dataset = NULL;
    SQZ_TRY(check_images(images, count, error));
    sqz_dataset *made;
    SQZ_TRY(create_empty(&made, count, image_size, fit, cache_bytes, error));
    made->images = calloc(count ? count : 1, sizeof *made->images);
    if (!made->images) {
        sqz_dataset_destroy(made);
        return sqz_fail_memory(error, "a data set's pictures",
                               sqz_size_multiply(count, sizeof *made->images));
    }
    if (count)
        memcpy(made->images, images, count * sizeof *images);
    made->count = count;
    *dataset = made;
    return SQZ_OK;
}

void sqz_dataset_share_cache(sqz_dataset *fresh, sqz_dataset *other) {
    if (fresh->budget == other->budget)
        return;
    leave_budget(fresh->budget, 0);
    fresh->budget = other->budget;
    atomic_fetch_add(&fresh->budget->owners, 1);
}

void sqz_dataset_destroy(sqz_dataset *dataset) {
    if (!dataset)
        return;
    leave_budget(dataset->budget, dataset->cached_bytes);
    for (size_t i = 0; i < dataset->count; i++) {
        if (dataset->paths)
            free(dataset->paths[i]);
        free(dataset->cached[i]);
    }
    free(dataset->paths);
    free(dataset->images);
    free(dataset->cached);
    pthread_mutex_destroy(&dataset->mutex);
    free(dataset);
}

size_t sqz_dataset_count(const sqz_dataset *dataset) {
    return dataset->count;
}

size_t sqz_dataset_picture_bytes(const sqz_dataset *dataset) {
    return dataset->picture_bytes;
}

size_t sqz_dataset_cached_bytes(const sqz_dataset *dataset) {
    pthread_mutex_t *mutex = (pthread_mutex_t *)&dataset->mutex; /* to look changes nothing else */
    pthread_mutex_lock(mutex);
    size_t cached_bytes = dataset->cached_bytes;
    pthread_mutex_unlock(mutex);
    return cached_bytes;
}

static sqz_status decode(const sqz_dataset *dataset, size_t index, uint8_t *picture,
                         sqz_error *error) {
    sqz_image image;
    if (dataset->images) {
        image = dataset->images[index];
        return sqz_image_fit(picture, dataset->image_size, dataset->fit, image.pixels, image.h,
                             image.w, error);
    }
    SQZ_TRY(sqz_image_read(&image, dataset->paths[index], error));
    sqz_status status = sqz_image_fit(picture, dataset->image_size, dataset->fit, image.pixels,
                                      image.h, image.w, error);
    sqz_image_free(&image);
    return status;
}

/* Whether the picture is in memory as it is wanted. */
static bool is_square_already(const sqz_dataset *dataset, size_t index) {
    return dataset->images && dataset->images[index].h == dataset->image_size &&
           dataset->images[index].w == dataset->image_size;
}

/* Keeps a copy of the picture if there is room, and memory, for it. */
static void keep(sqz_dataset *dataset, size_t index, const uint8_t *picture) {
    uint8_t *copy = malloc(dataset->picture_bytes);
    if (!copy)
        return; /* a smaller cache, not a failure */
    memcpy(copy, picture, dataset->picture_bytes);
    pthread_mutex_lock(&dataset->mutex);
    bool kept =
        !dataset->cached[index] && take_from_budget(dataset->budget, dataset->picture_bytes);
    if (kept) {
        dataset->cached[index] = copy;
        dataset->cached_bytes += dataset->picture_bytes;
    }
    pthread_mutex_unlock(&dataset->mutex);
    if (!kept)
        free(copy);
}

sqz_status sqz_dataset_picture(sqz_dataset *dataset, size_t index, uint8_t *picture,
                               sqz_error *error) {
    if (index >= dataset->count)
        return sqz_fail(error, SQZ_INVALID, "index is %zu, expected less than %zu, the count",
                        index, dataset->count);
    pthread_mutex_lock(&dataset->mutex);
    const uint8_t *cached = dataset->cached[index];
    bool room =
        dataset->picture_bytes <= dataset->budget->limit - atomic_load(&dataset->budget->used);
    pthread_mutex_unlock(&dataset->mutex);
    if (cached) {
        memcpy(picture, cached, dataset->picture_bytes);
        return SQZ_OK;
    }
    SQZ_TRY(decode(dataset, index, picture, error));
    if (room && !is_square_already(dataset, index))
        keep(dataset, index, picture);
    return SQZ_OK;
}
