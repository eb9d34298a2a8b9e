/* sgd.c: a step of stochastic gradient descent with momentum, see sqz.h. */
#include "optimizer.h"

/* Written so that NaN is refused too. */
static sqz_status check(const sqz_rule_options *options, sqz_error *error) {
    if (!(options->momentum >= 0 && options->momentum < 1))
        return sqz_fail(error, SQZ_INVALID, "momentum is %g, expected 0 or more, less than 1",
                        options->momentum);
    if (options->nesterov && options->momentum == 0)
        return sqz_fail(error, SQZ_INVALID, "nesterov needs a momentum above 0, and it is 0");
    return SQZ_OK;
}

static sqz_update update_of(const sqz_optimizer *optimizer, const sqz_optimizer_span *span) {
    const sqz_rule_options *options = &optimizer->options;
    return (sqz_update){.sgd = {.lr = (float)(options->lr * span->lr_scale),
                                .decay = (float)span->weight_decay,
                                .momentum = (float)options->momentum,
                                .nesterov = options->nesterov}};
}

/* The order of operations of torch.optim.SGD. Its first step has the gradient itself for a buffer,
 * which is what momentum makes of zeros. */
static void step_all(float *restrict parameters, float *restrict buffer,
                     const float *restrict gradients, ptrdiff_t count, const sqz_update *update) {
    float lr = update->sgd.lr, decay = update->sgd.decay, momentum = update->sgd.momentum;
    bool nesterov = update->sgd.nesterov;
#pragma omp simd
    for (ptrdiff_t i = 0; i < count; i++) {
        float gradient = gradients[i] + decay * parameters[i];
        buffer[i] = momentum * buffer[i] + gradient;
        parameters[i] -= lr * (nesterov ? gradient + momentum * buffer[i] : buffer[i]);
    }
}

static void step_unmasked(float *restrict parameters, float *restrict buffer,
                          const float *restrict gradients, const uint8_t *restrict mask,
                          ptrdiff_t count, const sqz_update *update) {
    float lr = update->sgd.lr, decay = update->sgd.decay, momentum = update->sgd.momentum;
    bool nesterov = update->sgd.nesterov;
#pragma omp simd
    for (ptrdiff_t i = 0; i < count; i++) {
        float gradient = gradients[i] + decay * parameters[i];
        float summed = momentum * buffer[i] + gradient;
        float moved = parameters[i] - lr * (nesterov ? gradient + momentum * summed : summed);
        buffer[i] = mask[i] ? summed : buffer[i];
        parameters[i] = mask[i] ? moved : parameters[i];
    }
}

static void step(float *parameters, float *const moments[], const float *gradients,
                 const uint8_t *mask, ptrdiff_t count, const sqz_update *by) {
    if (mask)
        step_unmasked(parameters, moments[0], gradients, mask, count, by);
    else
        step_all(parameters, moments[0], gradients, count, by);
}

const sqz_rule_row sqz_rule_sgd = {{"momentum_buffer"}, check, update_of, step};
