/* access.c: who is in a model: several calls that read its parameters, or one that writes. */
#include "model.h"

sqz_status sqz_model_enter(sqz_model *model, bool exclusive, sqz_error *error) {
    sqz_status status = SQZ_OK;
    pthread_mutex_lock(&model->lock);
    if (model->exclusive)
        status = sqz_fail(error, SQZ_BUSY, "the model is being trained by another thread");
    else if (exclusive && model->readers)
        status = sqz_fail(error, SQZ_BUSY, "the model is predicting in another thread");
    else if (exclusive)
        model->exclusive = true;
    else
        model->readers++;
    pthread_mutex_unlock(&model->lock);
    return status;
}

void sqz_model_leave(sqz_model *model, bool exclusive) {
    pthread_mutex_lock(&model->lock);
    if (exclusive)
        model->exclusive = false;
    else
        model->readers--;
    pthread_mutex_unlock(&model->lock);
}

sqz_status sqz_model_begin_read(sqz_model *model, sqz_error *error) {
    return sqz_model_enter(model, false, error);
}

void sqz_model_end_read(sqz_model *model) {
    sqz_model_leave(model, false);
}

sqz_status sqz_model_begin_write(sqz_model *model, sqz_error *error) {
    return sqz_model_enter(model, true, error);
}

void sqz_model_end_write(sqz_model *model) {
    pthread_mutex_lock(&model->lock);
    model->generation++;
    model->exclusive = false;
    pthread_mutex_unlock(&model->lock);
}
