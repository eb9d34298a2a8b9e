/* loader.c: reads a data set in a given order, decoding ahead on threads of its own.
 *
 * Positions are places in the order. Position p is decoded into slot p % slot_count of a ring:
 *
 *     0 ... taken ................ claimed .............. count
 *           |-- being decoded or ready --|   at most slot_count of them
 *
 * Workers claim positions in order, so when one fails, every earlier one is in work or done: the
 * smallest failed position is the one to report, and nothing past it is claimed any more. */
#include "dataset.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/interrupt.h"
#include "../base/memory.h"
#include "../base/signals.h"

struct sqz_loader {
    sqz_dataset *dataset;
    int64_t *order; /* [count] */
    size_t count, slot_count, picture_bytes;
    uint8_t *pictures; /* [slot_count] */
    pthread_t *threads;
    int thread_count;
    pid_t process;    /* that has the threads: a fork has not */
    bool reported;    /* the failure, by next. Both are the reading thread's own */
    bool interrupted; /* in the midst of next */

    pthread_mutex_t mutex;     /* of all below */
    pthread_cond_t ready_cond; /* a position became ready, or failed */
    pthread_cond_t room_cond;  /* a slot was emptied, or it is time to stop */
    bool *ready;               /* [slot_count] */
    size_t taken, claimed;     /* see above */
    size_t failed;             /* the first position that failed, count if none has */
    sqz_status failure;
    sqz_error failure_error;
    bool stopping;
};

/* More would only wait for the disk and each other. */
enum { MAX_THREADS = 256 };

/* -- Workers ----------------------------------------------------------------------------------- */

/* The next position to decode, waiting for room; false when there is none. Mutex held. */
static bool claim(sqz_loader *loader, size_t *position) {
    for (;;) {
        if (loader->stopping || loader->claimed >= loader->failed)
            return false;
        if (loader->claimed - loader->taken < loader->slot_count) {
            *position = loader->claimed++;
            return true;
        }
        pthread_cond_wait(&loader->room_cond, &loader->mutex);
    }
}

/* Mutex held. */
static void note_failure(sqz_loader *loader, size_t position, sqz_status status,
                         const sqz_error *error) {
    if (position >= loader->failed)
        return;
    loader->failed = position;
    loader->failure = status;
    loader->failure_error = *error;
    pthread_cond_broadcast(&loader->room_cond); /* the others stop */
}

static void *work(void *argument) {
    sqz_loader *loader = argument;
    size_t position;
    pthread_mutex_lock(&loader->mutex);
    while (claim(loader, &position)) {
        pthread_mutex_unlock(&loader->mutex);
        size_t slot = position % loader->slot_count;
        sqz_error error;
        sqz_status status =
            sqz_dataset_picture(loader->dataset, (size_t)loader->order[position],
                                loader->pictures + slot * loader->picture_bytes, &error);
        pthread_mutex_lock(&loader->mutex);
        if (status == SQZ_OK)
            loader->ready[slot] = true;
        else
            note_failure(loader, position, status, &error);
        pthread_cond_signal(&loader->ready_cond);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

/* As many of `wanted` threads as the system grants, but at least one. */
static sqz_status start_threads(sqz_loader *loader, int wanted, sqz_error *error) {
    sqz_signals before = sqz_signals_block();
    int code = 0;
    while (loader->thread_count < wanted && code == 0) {
        code = pthread_create(&loader->threads[loader->thread_count], NULL, work, loader);
        if (code == 0)
            loader->thread_count++;
    }
    sqz_signals_restore(before);
    if (wanted > 0 && loader->thread_count == 0)
        return sqz_fail(error, SQZ_NO_MEMORY, "no thread could be started to decode pictures: %s",
                        strerror(code));
    return SQZ_OK;
}

static void join_threads(sqz_loader *loader) {
    pthread_mutex_lock(&loader->mutex);
    loader->stopping = true;
    pthread_cond_broadcast(&loader->room_cond);
    pthread_mutex_unlock(&loader->mutex);
    for (int i = 0; i < loader->thread_count; i++)
        pthread_join(loader->threads[i], NULL);
}

/* -- Making and destroying --------------------------------------------------------------------- */

static sqz_status check_arguments(const sqz_dataset *dataset, const int64_t *order, size_t count,
                                  size_t ahead, int threads, sqz_error *error) {
    size_t limit = sqz_dataset_count(dataset);
    if (ahead < 1)
        return sqz_fail(error, SQZ_INVALID, "ahead is 0, expected at least 1 picture");
    if (threads < 1)
        return sqz_fail(error, SQZ_INVALID, "threads is %d, expected at least 1", threads);
    for (size_t i = 0; i < count; i++)
        if (order[i] < 0 || (uint64_t)order[i] >= limit)
            return sqz_fail(error, SQZ_INVALID,
                            "order[%zu] is %lld, expected 0 or more and less than %zu, the count "
                            "of pictures",
                            i, (long long)order[i], limit);
    return SQZ_OK;
}

static bool init_locks(sqz_loader *loader) {
    if (pthread_mutex_init(&loader->mutex, NULL) != 0)
        return false;
    if (pthread_cond_init(&loader->ready_cond, NULL) == 0) {
        if (pthread_cond_init(&loader->room_cond, NULL) == 0)
            return true;
        pthread_cond_destroy(&loader->ready_cond);
    }
    pthread_mutex_destroy(&loader->mutex);
    return false;
}

static sqz_status allocate(sqz_loader *loader, int threads, sqz_error *error) {
    size_t slot_count = loader->slot_count ? loader->slot_count : 1;
    size_t count = loader->count ? loader->count : 1;
    size_t ring_bytes = sqz_size_multiply(slot_count, loader->picture_bytes);
    loader->order = calloc(count, sizeof *loader->order);
    loader->pictures = malloc(ring_bytes);
    loader->ready = calloc(slot_count, sizeof *loader->ready);
    loader->threads = calloc((size_t)threads + 1, sizeof *loader->threads);
    if (!loader->order || !loader->pictures || !loader->ready || !loader->threads)
        return sqz_fail_memory(error, "the pictures decoded ahead", ring_bytes);
    return SQZ_OK;
}

sqz_status sqz_loader_create(sqz_loader **loader, sqz_dataset *dataset, const int64_t *order,
                             size_t count, size_t ahead, int threads, sqz_error *error) {
    *loader = NULL;
    SQZ_TRY(check_arguments(dataset, order, count, ahead, threads, error));
    sqz_loader *made = calloc(1, sizeof *made);
    if (!made)
        return sqz_fail_memory(error, "a loader", sizeof *made);
    if (!init_locks(made)) {
        free(made);
        return sqz_fail(error, SQZ_INTERNAL, "a loader's mutex could not be made");
    }
    made->dataset = dataset;
    made->count = made->failed = count;
    made->slot_count = ahead < count ? ahead : count;
    made->picture_bytes = sqz_dataset_picture_bytes(dataset);
    made->process = getpid();
    threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    threads = (size_t)threads < made->slot_count ? threads : (int)made->slot_count;
    sqz_status status = allocate(made, threads, error);
    if (status == SQZ_OK) {
        if (count)
            memcpy(made->order, order, count * sizeof *order);
        status = start_threads(made, threads, error);
    }
    if (status != SQZ_OK) {
        sqz_loader_destroy(made);
        return status;
    }
    *loader = made;
    return SQZ_OK;
}

void sqz_loader_destroy(sqz_loader *loader) {
    if (!loader)
        return;
    if (loader->process != getpid())
        return; /* a fork has no threads to join, and may hold the mutex: leave the copy alone */
    join_threads(loader);
    pthread_cond_destroy(&loader->room_cond);
    pthread_cond_destroy(&loader->ready_cond);
    pthread_mutex_destroy(&loader->mutex);
    free(loader->order);
    free(loader->pictures);
    free(loader->ready);
    free(loader->threads);
    free(loader);
}

/* -- Reading ----------------------------------------------------------------------------------- */

/* The failure does not change any more once it is the turn of its position. */
static sqz_status report(sqz_loader *loader, sqz_error *error) {
    loader->reported = true;
    if (error)
        *error = loader->failure_error;
    return loader->failure;
}

/* Waits until the position that is next is ready; or fails as it did. Mutex held. */
static sqz_status wait_for_next(sqz_loader *loader, sqz_error *error) {
    while (!loader->ready[loader->taken % loader->slot_count]) {
        if (loader->failed == loader->taken)
            return report(loader, error);
        SQZ_TRY(sqz_interrupt_wait(&loader->ready_cond, &loader->mutex, error));
    }
    return SQZ_OK;
}

static sqz_status take(sqz_loader *loader, uint8_t *picture, sqz_error *error) {
    size_t slot = loader->taken % loader->slot_count; /* only this thread changes taken */
    pthread_mutex_lock(&loader->mutex);
    sqz_status status = wait_for_next(loader, error);
    pthread_mutex_unlock(&loader->mutex);
    if (status != SQZ_OK)
        return status;
    /* A ready slot is this thread's alone until taken moves past it. */
    memcpy(picture, loader->pictures + slot * loader->picture_bytes, loader->picture_bytes);
    pthread_mutex_lock(&loader->mutex);
    loader->ready[slot] = false;
    loader->taken++;
    pthread_cond_signal(&loader->room_cond);
    pthread_mutex_unlock(&loader->mutex);
    return SQZ_OK;
}

sqz_status sqz_loader_next(sqz_loader *loader, uint8_t *pictures, size_t n, sqz_error *error) {
    if (loader->reported)
        return report(loader, error);
    if (loader->interrupted)
        return sqz_fail(error, SQZ_INVALID, "the loader was interrupted, which lost its place");
    if (n > loader->count - loader->taken)
        return sqz_fail(error, SQZ_INVALID,
                        "%zu pictures were asked for, but only %zu of %zu are left", n,
                        loader->count - loader->taken, loader->count);
    if (loader->process != getpid())
        return sqz_fail(error, SQZ_INVALID, "a loader works only in the process that made it");
    sqz_status status = SQZ_OK;
    for (size_t i = 0; i < n && status == SQZ_OK; i++) {
        status = sqz_interrupt_check(error);
        if (status == SQZ_OK)
            status = take(loader, pictures + i * loader->picture_bytes, error);
    }
    loader->interrupted = status == SQZ_INTERRUPTED;
    return status;
}
