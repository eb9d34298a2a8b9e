/* access.c: who is in a model: calls that read its parameters, any number of them, or one that
 * writes. A reader waits for a writer that is in or waits, and a writer for those who are in. When
 * it leaves, the readers that have waited for it go before the next one, so neither side starves.
 */
#include "model.h"

#include "../base/guard.h"

/* Of the threads that were in only the copy of one lives on, which was in nothing: it forked. */
static void adopt(sqz_model *model) {
    model->forks = sqz_guard_forks();
    model->access = (sqz_access){0};
    model->making = false;
    pthread_cond_init(&model->changed, NULL);
    sqz_entries_forget_used(model);
}

void sqz_model_lock(sqz_model *model) {
    sqz_guard_lock();
    if (model->forks != sqz_guard_forks())
        adopt(model);
}

void sqz_model_unlock(sqz_model *model) {
    (void)model;
    sqz_guard_unlock();
}

static sqz_status enter_reading(sqz_model *model, sqz_error *error) {
    sqz_access *access = &model->access;
    unsigned turn = access->turn;
    sqz_status status = SQZ_OK;
    if (access->writing && pthread_equal(access->writer, pthread_self()))
        return sqz_fail(error, SQZ_BUSY, "the model is being written by this thread");
    if (access->writing || access->writer_waits) {
        access->waiting_readers++;
        while (status == SQZ_OK &&
               (access->writing || (access->writer_waits && access->turn == turn)))
            status = sqz_guard_wait(&model->changed, error);
        access->waiting_readers--;
        if (access->turn != turn && access->owed_readers > 0)
            access->owed_readers--;
    }
    if (status == SQZ_OK)
        access->readers++;
    else
        pthread_cond_broadcast(&model->changed); /* a writer may wait for it to go first */
    return status;
}

static sqz_status enter_writing(sqz_model *model, sqz_error *error) {
    sqz_access *access = &model->access;
    sqz_status status = SQZ_OK;
    if (access->writing || access->writer_waits)
        return sqz_fail(error, SQZ_BUSY, "the model is being trained by another thread");
    access->writer_waits = true;
    while (status == SQZ_OK && (access->readers || access->owed_readers))
        status = sqz_guard_wait(&model->changed, error);
    access->writer_waits = false;
    access->writing = status == SQZ_OK;
    access->writer = pthread_self();
    if (status != SQZ_OK)
        pthread_cond_broadcast(&model->changed);
    return status;
}

sqz_status sqz_model_enter(sqz_model *model, bool exclusive, sqz_error *error) {
    sqz_model_lock(model);
    sqz_status status = exclusive ? enter_writing(model, error) : enter_reading(model, error);
    sqz_model_unlock(model);
    return status;
}

static void leave(sqz_model *model, bool exclusive, bool written) {
    sqz_access *access = &model->access;
    sqz_model_lock(model);
    if (exclusive) {
        access->writing = false;
        access->turn++;
        access->owed_readers = access->waiting_readers;
        model->generation += written;
    } else {
        access->readers -= access->readers > 0; /* it may have forked while it was in */
    }
    pthread_cond_broadcast(&model->changed);
    sqz_model_unlock(model);
}

void sqz_model_leave(sqz_model *model, bool exclusive) {
    leave(model, exclusive, false);
}

sqz_status sqz_model_begin_read(sqz_model *model, sqz_error *error) {
    return sqz_model_enter(model, false, error);
}

void sqz_model_end_read(sqz_model *model) {
    leave(model, false, false);
}

sqz_status sqz_model_begin_write(sqz_model *model, sqz_error *error) {
    return sqz_model_enter(model, true, error);
}

void sqz_model_end_write_quantized(sqz_model *model, sqz_quantization *quantization) {
    sqz_quantization *former = model->quantization; /* a fork's child must not find it freed */
    model->quantization = quantization;
    sqz_quantization_destroy(former);
    leave(model, true, true);
}

void sqz_model_end_write(sqz_model *model) {
    sqz_model_end_write_quantized(model, NULL);
}
