/* adam.c: a step of Adam, see sqz.h. */
#include "optimizer.h"

#include <math.h>

/* Conditions here are written so that NaN is refused too. */
static sqz_status check(const sqz_rule_options *options, sqz_error *error) {
    double beta1 = options->beta1, beta2 = options->beta2, eps = options->eps;
    if (!(beta1 >= 0 && beta1 < 1) || !(beta2 >= 0 && beta2 < 1))
        return sqz_fail(error, SQZ_INVALID, "betas are (%g, %g), expected each in [0, 1)", beta1,
                        beta2);
    if (!(eps >= 0) || isinf(eps))
        return sqz_fail(error, SQZ_INVALID, "eps is %g, expected a number of at least 0", eps);
    return SQZ_OK;
}

/* The order of operations of torch.optim.AdamW's single-tensor form: corrections in double, then
 * rounded to float; eps is added after the corrected root. Without decay keep is 1 and changes no
 * bit. */
static sqz_update update_of(const sqz_optimizer *optimizer, const sqz_optimizer_span *span) {
    const sqz_rule_options *options = &optimizer->options;
    double correction1 = 1 - pow(options->beta1, (double)optimizer->step);
    double correction2 = 1 - pow(options->beta2, (double)optimizer->step);
    double lr = options->lr * span->lr_scale;
    return (sqz_update){.adam = {.keep = (float)(1 - lr * span->weight_decay),
                                 .step_size = (float)(lr / correction1),
                                 .root_correction2 = (float)sqrt(correction2),
                                 .gain1 = (float)(1 - options->beta1),
                                 .gain2 = (float)(1 - options->beta2),
                                 .beta2 = (float)options->beta2,
                                 .eps = (float)options->eps}};
}

static void step_all(float *restrict parameters, float *restrict m, float *restrict v,
                     const float *restrict gradients, ptrdiff_t count, const sqz_update *update) {
    float keep = update->adam.keep, step_size = update->adam.step_size;
    float root_correction2 = update->adam.root_correction2, eps = update->adam.eps;
    float gain1 = update->adam.gain1, gain2 = update->adam.gain2, beta2 = update->adam.beta2;
#pragma omp simd
    for (ptrdiff_t i = 0; i < count; i++) {
        float gradient = gradients[i];
        m[i] += gain1 * (gradient - m[i]);
        v[i] = beta2 * v[i] + gain2 * gradient * gradient;
        parameters[i] =
            keep * parameters[i] - step_size * (m[i] / (sqrtf(v[i]) / root_correction2 + eps));
    }
}

static void step_unmasked(float *restrict parameters, float *restrict m, float *restrict v,
                          const float *restrict gradients, const uint8_t *restrict mask,
                          ptrdiff_t count, const sqz_update *update) {
    float keep = update->adam.keep, step_size = update->adam.step_size;
    float root_correction2 = update->adam.root_correction2, eps = update->adam.eps;
    float gain1 = update->adam.gain1, gain2 = update->adam.gain2, beta2 = update->adam.beta2;
#pragma omp simd
    for (ptrdiff_t i = 0; i < count; i++) {
        float gradient = gradients[i];
        float first = m[i] + gain1 * (gradient - m[i]);
        float second = beta2 * v[i] + gain2 * gradient * gradient;
        float moved =
            keep * parameters[i] - step_size * (first / (sqrtf(second) / root_correction2 + eps));
        m[i] = mask[i] ? first : m[i];
        v[i] = mask[i] ? second : v[i];
        parameters[i] = mask[i] ? moved : parameters[i];
    }
}

static void step(float *parameters, float *const moments[], const float *gradients,
                 const uint8_t *mask, ptrdiff_t count, const sqz_update *by) {
    if (mask)
        step_unmasked(parameters, moments[0], moments[1], gradients, mask, count, by);
    else
        step_all(parameters, moments[0], moments[1], gradients, count, by);
}

const sqz_rule_row sqz_rule_adam = {{"exp_avg", "exp_avg_sq"}, check, update_of, step};
