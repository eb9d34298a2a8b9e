/* model.c: the handle: parameters, gradients and the precision of coming passes. */
#include "model.h"

#include "../base/guard.h"
#include "../base/memory.h"

#include <stdlib.h>

/* -- The handle -------------------------------------------------------------------------------- */

sqz_status sqz_model_create(sqz_model **result, const sqz_spec *spec, uint64_t seed,
                            sqz_error *error) {
    *result = NULL;
    SQZ_TRY(sqz_spec_check(spec, error));
    sqz_model *model = calloc(1, sizeof *model);
    if (!model)
        return sqz_fail_memory(error, "a model", sizeof *model);
    model->spec = *spec;
    model->generation = 1;
    sqz_guard_lock();
    model->forks = sqz_guard_forks();
    sqz_guard_unlock();
    pthread_cond_init(&model->changed, NULL);
    sqz_status status = sqz_tape_build(&model->tape, spec, SQZ_ANY_SIDE, SQZ_ANY_SIDE, error);
    if (status == SQZ_OK) {
        model->parameters = sqz_aligned_calloc(model->tape.float_count, sizeof(float));
        model->gradients = sqz_aligned_calloc(model->tape.float_count, sizeof(float));
        if (!model->parameters || !model->gradients)
            status = sqz_fail_memory(error, "a model's parameters and gradients",
                                     2 * model->tape.float_count * sizeof(float));
    }
    if (status != SQZ_OK) {
        sqz_model_destroy(model);
        return status;
    }
    sqz_tape_initialise(&model->tape, model->parameters, seed);
    *result = model;
    return SQZ_OK;
}

void sqz_model_destroy(sqz_model *model) {
    if (!model)
        return;
    sqz_model_lock(model); /* in a fork's child: not to wait for threads that are not there */
    sqz_model_unlock(model);
    sqz_entries_destroy(model);
    sqz_quantization_destroy(model->quantization);
    pthread_cond_destroy(&model->changed);
    sqz_aligned_free(model->parameters);
    sqz_aligned_free(model->gradients);
    free(model);
}

const sqz_spec *sqz_model_spec(const sqz_model *model) {
    return &model->spec;
}
size_t sqz_model_tensor_count(const sqz_model *model) {
    return (size_t)model->tape.parameter_count;
}
const sqz_parameter *sqz_model_tensor(const sqz_model *model, size_t index) {
    return index < (size_t)model->tape.parameter_count ? &model->tape.parameters[index] : NULL;
}
size_t sqz_model_parameter_count(const sqz_model *model) {
    return model->tape.float_count;
}
float *sqz_model_parameters(sqz_model *model) {
    return model->parameters;
}
float *sqz_model_gradients(sqz_model *model) {
    return model->gradients;
}

/* -- Precision --------------------------------------------------------------------------------- */

/* Whether the model is quantised is looked at as its parameters are. */
static sqz_status check_offered(sqz_model *model, sqz_precision precision, bool *emulate,
                                sqz_error *error) {
    const sqz_ops *ops;
    SQZ_TRY(sqz_ops_emulates(emulate, error));
    SQZ_TRY(sqz_ops_current(&ops, precision, *emulate, error));
    if (precision != SQZ_INT8)
        return SQZ_OK;
    SQZ_TRY(sqz_model_enter(model, false, error));
    sqz_status status = sqz_model_check_quantized(model, precision, error);
    sqz_model_leave(model, false);
    return status;
}

sqz_status sqz_model_set_precision(sqz_model *model, sqz_precision precision, sqz_error *error) {
    bool emulate = false;
    if (precision != SQZ_FLOAT32) /* which is always there */
        SQZ_TRY(check_offered(model, precision, &emulate, error));
    sqz_model_lock(model);
    model->precision = precision;
    model->emulate = emulate;
    sqz_model_unlock(model);
    return SQZ_OK;
}

sqz_status sqz_model_check_precision(sqz_model *model, sqz_error *error) {
    const sqz_ops *ops;
    sqz_model_lock(model);
    sqz_precision precision = model->precision;
    bool emulate = model->emulate;
    sqz_model_unlock(model);
    return sqz_ops_current(&ops, precision, emulate, error);
}

sqz_precision sqz_model_precision(sqz_model *model) {
    sqz_model_lock(model);
    sqz_precision precision = model->precision;
    sqz_model_unlock(model);
    return precision;
}
