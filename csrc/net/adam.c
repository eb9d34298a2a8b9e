/* adam.c: Adam, see sqz.h. */
#include "../base/memory.h"
#include "../base/parallel.h"

#include <math.h>
#include <stdlib.h>

sqz_status sqz_adam_create(sqz_adam **result, size_t count, double lr, double beta1, double beta2,
                           double eps, sqz_error *error) {
    *result = NULL;
    /* Written so that NaN is refused too. */
    if (!(lr >= 0) || isinf(lr))
        return sqz_fail(error, SQZ_INVALID, "lr is %g, expected a number of at least 0", lr);
    if (!(beta1 >= 0 && beta1 < 1) || !(beta2 >= 0 && beta2 < 1))
        return sqz_fail(error, SQZ_INVALID, "betas are (%g, %g), expected each in [0, 1)", beta1,
                        beta2);
    if (!(eps >= 0) || isinf(eps))
        return sqz_fail(error, SQZ_INVALID, "eps is %g, expected a number of at least 0", eps);
    sqz_adam *adam = calloc(1, sizeof *adam);
    if (!adam)
        return sqz_fail_memory(error, "an optimizer", sizeof *adam);
    *adam = (sqz_adam){.lr = lr, .beta1 = beta1, .beta2 = beta2, .eps = eps, .count = count};
    adam->m = sqz_aligned_calloc(count, sizeof(float));
    adam->v = sqz_aligned_calloc(count, sizeof(float));
    if (!adam->m || !adam->v) {
        sqz_adam_destroy(adam);
        return sqz_fail_memory(error, "Adam's moments",
                               sqz_size_multiply(2 * count, sizeof(float)));
    }
    *result = adam;
    return SQZ_OK;
}

void sqz_adam_destroy(sqz_adam *adam) {
    if (!adam)
        return;
    sqz_aligned_free(adam->m);
    sqz_aligned_free(adam->v);
    free(adam);
}

void sqz_adam_step(sqz_adam *adam, float *parameters, const float *gradients) {
    adam->step++;
    /* The order of operations of torch.optim.Adam's single-tensor form: corrections in double, then
     * rounded to float; eps is added after the corrected root. */
    double correction1 = 1 - pow(adam->beta1, (double)adam->step);
    double correction2 = 1 - pow(adam->beta2, (double)adam->step);
    float step_size = (float)(adam->lr / correction1);
    float root_correction2 = (float)sqrt(correction2);
    float gain1 = (float)(1 - adam->beta1), gain2 = (float)(1 - adam->beta2);
    float beta2 = (float)adam->beta2, eps = (float)adam->eps;
    float *m = adam->m, *v = adam->v;
    ptrdiff_t count = (ptrdiff_t)adam->count;
#pragma omp parallel for simd schedule(static) num_threads(sqz_get_num_threads())
    for (ptrdiff_t i = 0; i < count; i++) {
        float gradient = gradients[i];
        m[i] += gain1 * (gradient - m[i]);
        v[i] = beta2 * v[i] + gain2 * gradient * gradient;
        parameters[i] -= step_size * (m[i] / (sqrtf(v[i]) / root_correction2 + eps));
    }
}
