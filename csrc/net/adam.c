/* adam.c: Adam, see sqz.h. Parameters, gradients and moments are flat arrays alike; a span is a
 * stretch of all four. */
#include "../base/memory.h"
#include "../base/parallel.h"
#include "lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    adam->spans = malloc(sizeof *adam->spans);
    if (!adam->m || !adam->v || !adam->spans) {
        sqz_adam_destroy(adam);
        return sqz_fail_memory(error, "Adam's moments",
                               sqz_size_multiply(2 * count, sizeof(float)));
    }
    adam->spans[0] = (sqz_adam_span){.count = count, .lr_scale = 1};
    adam->span_count = 1;
    *result = adam;
    return SQZ_OK;
}

void sqz_adam_destroy(sqz_adam *adam) {
    if (!adam)
        return;
    sqz_aligned_free(adam->m);
    sqz_aligned_free(adam->v);
    free(adam->spans);
    free(adam->mask);
    free(adam);
}

/* -- Spans ------------------------------------------------------------------------------------- */

static sqz_status check_spans(const sqz_adam *adam, const sqz_adam_span *spans, size_t span_count,
                              sqz_error *error) {
    size_t left = adam->count;
    for (size_t i = 0; i < span_count; i++) {
        const sqz_adam_span *span = &spans[i];
        if (span->count < 1 || span->count > left)
            return sqz_fail(error, SQZ_INVALID, "span %zu has %zu floats, expected 1 to %zu", i,
                            span->count, left);
        if (!(span->lr_scale >= 0) || isinf(span->lr_scale))
            return sqz_fail(error, SQZ_INVALID,
                            "lr_scale of span %zu is %g, expected a number of at least 0", i,
                            span->lr_scale);
        if (!(span->weight_decay >= 0) || isinf(span->weight_decay))
            return sqz_fail(error, SQZ_INVALID,
                            "weight_decay of span %zu is %g, expected a number of at least 0", i,
                            span->weight_decay);
        left -= span->count;
    }
    if (left)
        return sqz_fail(error, SQZ_INVALID, "the spans have %zu floats, expected %zu",
                        adam->count - left, adam->count);
    return SQZ_OK;
}

sqz_status sqz_adam_set_spans(sqz_adam *adam, const sqz_adam_span *spans, size_t span_count,
                              sqz_error *error) {
    SQZ_TRY(check_spans(adam, spans, span_count, error));
    sqz_adam_span *copy = malloc(sqz_size_multiply(span_count, sizeof *copy));
    if (!copy)
        return sqz_fail_memory(error, "an optimizer's spans",
                               sqz_size_multiply(span_count, sizeof *copy));
    memcpy(copy, spans, span_count * sizeof *copy);
    free(adam->spans);
    adam->spans = copy;
    adam->span_count = span_count;
    return SQZ_OK;
}

/* -- The mask ---------------------------------------------------------------------------------- */

sqz_status sqz_adam_set_mask(sqz_adam *adam, const uint8_t *mask, sqz_error *error) {
    uint8_t *copy = NULL;
    if (mask) {
        copy = malloc(adam->count ? adam->count : 1);
        if (!copy)
            return sqz_fail_memory(error, "an optimizer's mask", adam->count);
        memcpy(copy, mask, adam->count);
    }
    free(adam->mask);
    adam->mask = copy;
    return SQZ_OK;
}

/* -- Steps ------------------------------------------------------------------------------------- */

/* One step of one span, as floats. */
typedef struct {
    float keep; /* what weight decay leaves of a parameter */
    float step_size, root_correction2;
    float gain1, gain2, beta2, eps;
} update;

/* The order of operations of torch.optim.AdamW's single-tensor form: corrections in double, then
 * rounded to float; eps is added after the corrected root. Without decay keep is 1 and changes no
 * bit. */
static update update_of(const sqz_adam *adam, const sqz_adam_span *span) {
    double correction1 = 1 - pow(adam->beta1, (double)adam->step);
    double correction2 = 1 - pow(adam->beta2, (double)adam->step);
    double lr = adam->lr * span->lr_scale;
    return (update){.keep = (float)(1 - lr * span->weight_decay),
                    .step_size = (float)(lr / correction1),
                    .root_correction2 = (float)sqrt(correction2),
                    .gain1 = (float)(1 - adam->beta1),
                    .gain2 = (float)(1 - adam->beta2),
                    .beta2 = (float)adam->beta2,
                    .eps = (float)adam->eps};
}

/* Neighbours as many as keep a thread busy for some microseconds. */
enum { STRIDE = 8192 };

static void step_neighbours(float *restrict parameters, float *restrict m, float *restrict v,
                            const float *restrict gradients, ptrdiff_t count, update by) {
#pragma omp simd
    for (ptrdiff_t i = 0; i < count; i++) {
        float gradient = gradients[i];
        m[i] += by.gain1 * (gradient - m[i]);
        v[i] = by.beta2 * v[i] + by.gain2 * gradient * gradient;
        parameters[i] = by.keep * parameters[i] -
                        by.step_size * (m[i] / (sqrtf(v[i]) / by.root_correction2 + by.eps));
    }
}

/* The same where the mask is not 0; elsewhere all stays as it is. */
static void step_unmasked(float *restrict parameters, float *restrict m, float *restrict v,
                          const float *restrict gradients, const uint8_t *restrict mask,
                          ptrdiff_t count, update by) {
#pragma omp simd
    for (ptrdiff_t i = 0; i < count; i++) {
        float gradient = gradients[i];
        float first = m[i] + by.gain1 * (gradient - m[i]);
        float second = by.beta2 * v[i] + by.gain2 * gradient * gradient;
        float moved = by.keep * parameters[i] -
                      by.step_size * (first / (sqrtf(second) / by.root_correction2 + by.eps));
        m[i] = mask[i] ? first : m[i];
        v[i] = mask[i] ? second : v[i];
        parameters[i] = mask[i] ? moved : parameters[i];
    }
}

/* Called by all threads of a team, each of which takes its share and does not wait for the others.
 */
static void step_span(float *parameters, float *m, float *v, const float *gradients,
                      const uint8_t *mask, ptrdiff_t count, update by) {
#pragma omp for schedule(static) nowait
    for (ptrdiff_t first = 0; first < count; first += STRIDE) {
        ptrdiff_t rest = count - first < STRIDE ? count - first : STRIDE;
        if (mask)
            step_unmasked(parameters + first, m + first, v + first, gradients + first, mask + first,
                          rest, by);
        else
            step_neighbours(parameters + first, m + first, v + first, gradients + first, rest, by);
    }
}

static void step(sqz_adam *adam, float *parameters, const float *gradients, int threads) {
    adam->step++;
    (void)threads;
#pragma omp parallel num_threads(threads)
    {
        size_t first = 0;
        for (size_t i = 0; i < adam->span_count; i++) {
            const sqz_adam_span *span = &adam->spans[i];
            if (span->lr_scale > 0)
                step_span(parameters + first, adam->m + first, adam->v + first, gradients + first,
                          adam->mask ? adam->mask + first : NULL, (ptrdiff_t)span->count,
                          update_of(adam, span));
            first += span->count;
        }
    }
}

/* An element depends on no other, so the bits are the same on any number of threads. More than the
 * batch had, which OpenMP would have to start for every step, take longer to start than they save.
 */
sqz_status sqz_adam_step(sqz_adam *adam, float *parameters, const float *gradients,
                         sqz_error *error) {
    int threads = sqz_get_num_threads();
    threads = sqz_threads_take(threads < SQZ_LANES ? threads : SQZ_LANES);
    sqz_status status = sqz_threads_ready(threads, error);
    if (status == SQZ_OK)
        step(adam, parameters, gradients, threads);
    sqz_threads_give(threads);
    return status;
}
