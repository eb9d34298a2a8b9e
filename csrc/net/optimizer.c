/* optimizer.c: what all optimizers have in common, see sqz.h. Parameters, gradients and moments are
 * flat arrays alike; a span is a stretch of all of them. */
#include "optimizer.h"

#include "../base/memory.h"
#include "../base/parallel.h"
#include "lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const sqz_rule_row *const RULES[SQZ_RULES] = {[SQZ_ADAM] = &sqz_rule_adam,
                                                     [SQZ_SGD] = &sqz_rule_sgd};

sqz_rule_options sqz_rule_defaults(sqz_rule rule) {
    return (sqz_rule_options){.rule = rule, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
}

const char *sqz_moment_name(sqz_rule rule, int moment) {
    return moment < SQZ_MOST_MOMENTS ? RULES[rule]->moments[moment] : NULL;
}

static sqz_status fill(sqz_optimizer *optimizer, sqz_error *error) {
    size_t count = optimizer->count;
    for (int i = 0; sqz_moment_name(optimizer->options.rule, i); i++) {
        optimizer->moments[i] = sqz_aligned_calloc(count, sizeof(float));
        if (!optimizer->moments[i])
            return sqz_fail_memory(error, "an optimizer's moments",
                                   sqz_size_multiply(count, sizeof(float)));
    }
    optimizer->spans = malloc(sizeof *optimizer->spans);
    if (!optimizer->spans)
        return sqz_fail_memory(error, "an optimizer's spans", sizeof *optimizer->spans);
    optimizer->spans[0] = (sqz_optimizer_span){.count = count, .lr_scale = 1};
    optimizer->span_count = 1;
    return SQZ_OK;
}

sqz_status sqz_optimizer_create(sqz_optimizer **result, size_t count,
                                const sqz_rule_options *options, sqz_error *error) {
    *result = NULL;
    /* Written so that NaN is refused too. */
    if (!(options->lr >= 0) || isinf(options->lr))
        return sqz_fail(error, SQZ_INVALID, "lr is %g, expected a number of at least 0",
                        options->lr);
    if (options->rule < 0 || options->rule >= SQZ_RULES)
        return sqz_fail(error, SQZ_INVALID, "there is no rule %d", (int)options->rule);
    SQZ_TRY(RULES[options->rule]->check(options, error));
    sqz_optimizer *optimizer = calloc(1, sizeof *optimizer);
    if (!optimizer)
        return sqz_fail_memory(error, "an optimizer", sizeof *optimizer);
    optimizer->options = *options;
    optimizer->count = count;
    sqz_status status = fill(optimizer, error);
    if (status != SQZ_OK) {
        sqz_optimizer_destroy(optimizer);
        return status;
    }
    *result = optimizer;
    return SQZ_OK;
}

void sqz_optimizer_destroy(sqz_optimizer *optimizer) {
    if (!optimizer)
        return;
    for (int i = 0; i < SQZ_MOST_MOMENTS; i++)
        sqz_aligned_free(optimizer->moments[i]);
    free(optimizer->spans);
    free(optimizer->mask);
    sqz_aligned_free(optimizer->average);
    free(optimizer);
}

/* -- Spans ------------------------------------------------------------------------------------- */

static sqz_status check_spans(const sqz_optimizer *optimizer, const sqz_optimizer_span *spans,
                              size_t span_count, sqz_error *error) {
    size_t left = optimizer->count;
    for (size_t i = 0; i < span_count; i++) {
        const sqz_optimizer_span *span = &spans[i];
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
                        optimizer->count - left, optimizer->count);
    return SQZ_OK;
}

sqz_status sqz_optimizer_set_spans(sqz_optimizer *optimizer, const sqz_optimizer_span *spans,
                                   size_t span_count, sqz_error *error) {
    SQZ_TRY(check_spans(optimizer, spans, span_count, error));
    sqz_optimizer_span *copy = malloc(sqz_size_multiply(span_count, sizeof *copy));
    if (!copy)
        return sqz_fail_memory(error, "an optimizer's spans",
                               sqz_size_multiply(span_count, sizeof *copy));
    memcpy(copy, spans, span_count * sizeof *copy);
    free(optimizer->spans);
    optimizer->spans = copy;
    optimizer->span_count = span_count;
    return SQZ_OK;
}

/* -- The mask ---------------------------------------------------------------------------------- */

sqz_status sqz_optimizer_set_mask(sqz_optimizer *optimizer, const uint8_t *mask, sqz_error *error) {
    uint8_t *copy = NULL;
    if (mask) {
        copy = malloc(optimizer->count ? optimizer->count : 1);
        if (!copy)
            return sqz_fail_memory(error, "an optimizer's mask", optimizer->count);
        memcpy(copy, mask, optimizer->count);
    }
    free(optimizer->mask);
    optimizer->mask = copy;
    return SQZ_OK;
}

/* -- Clipping ---------------------------------------------------------------------------------- */

sqz_status sqz_optimizer_set_clip_norm(sqz_optimizer *optimizer, double norm, sqz_error *error) {
    if (!(norm > 0) || isinf(norm))
        return sqz_fail(error, SQZ_INVALID, "clip_norm is %g, expected a finite number above 0",
                        norm);
    optimizer->clip_norm = norm;
    return SQZ_OK;
}

enum { SUMS = 8 }; /* side by side, so that they are one vector */

static void add_squares(double sums[SUMS], const float *gradients, const uint8_t *mask,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        double gradient = !mask || mask[i] ? (double)gradients[i] : 0;
        sums[i % SUMS] += gradient * gradient;
    }
}

/* One thread, and so one order: a million gradients take a millisecond. */
static void clip(const sqz_optimizer *optimizer, float *gradients) {
    double sums[SUMS] = {0}, sum = 0;
    size_t first = 0;
    for (size_t i = 0; i < optimizer->span_count; i++) {
        const sqz_optimizer_span *span = &optimizer->spans[i];
        if (span->lr_scale > 0)
            add_squares(sums, gradients + first, optimizer->mask ? optimizer->mask + first : NULL,
                        span->count);
        first += span->count;
    }
    for (int i = 0; i < SUMS; i++)
        sum += sums[i];
    double factor = optimizer->clip_norm / (sqrt(sum) + 1e-6);
    if (factor >= 1)
        return;
    for (size_t i = 0; i < optimizer->count; i++)
        gradients[i] *= (float)factor;
}

/* -- The average ------------------------------------------------------------------------------- */

sqz_status sqz_optimizer_keep_average(sqz_optimizer *optimizer, const float *parameters,
                                      double decay, sqz_error *error) {
    if (!(decay >= 0 && decay < 1))
        return sqz_fail(error, SQZ_INVALID, "ema is %g, expected 0 or more, less than 1", decay);
    float *average = sqz_aligned_calloc(optimizer->count, sizeof *average);
    if (!average)
        return sqz_fail_memory(error, "the average of a model's parameters",
                               sqz_size_multiply(optimizer->count, sizeof *average));
    memcpy(average, parameters, optimizer->count * sizeof *average);
    sqz_aligned_free(optimizer->average);
    optimizer->average = average;
    optimizer->decay = decay;
    return SQZ_OK;
}

/* Of the way from the average to new parameters. */
static float gain_of(const sqz_optimizer *optimizer) {
    double step = (double)optimizer->step, early = (1 + step) / (10 + step);
    return (float)(1 - (optimizer->decay < early ? optimizer->decay : early));
}

static void move_average(float *restrict average, const float *restrict parameters, float gain,
                         ptrdiff_t count) {
#pragma omp simd
    for (ptrdiff_t i = 0; i < count; i++)
        average[i] += gain * (parameters[i] - average[i]);
}

/* -- Steps ------------------------------------------------------------------------------------- */

/* Neighbours as many as keep a thread busy for some microseconds. */
enum { STRIDE = 8192 };

/* Called by all threads of a team, each of which takes its share and does not wait for the others.
 */
static void step_span(const sqz_optimizer *optimizer, const sqz_optimizer_span *span, size_t start,
                      float *parameters, const float *gradients) {
    const sqz_rule_row *rule = RULES[optimizer->options.rule];
    sqz_update update = rule->update_of(optimizer, span);
    ptrdiff_t count = (ptrdiff_t)span->count;
#pragma omp for schedule(static) nowait
    for (ptrdiff_t first = 0; first < count; first += STRIDE) {
        ptrdiff_t rest = count - first < STRIDE ? count - first : STRIDE;
        size_t at = start + (size_t)first;
        float *moments[SQZ_MOST_MOMENTS] = {NULL};
        for (int i = 0; sqz_moment_name(optimizer->options.rule, i); i++)
            moments[i] = optimizer->moments[i] + at;
        rule->step(parameters + at, moments, gradients + at,
                   optimizer->mask ? optimizer->mask + at : NULL, rest, &update);
        if (optimizer->average)
            move_average(optimizer->average + at, parameters + at, gain_of(optimizer), rest);
    }
}

static void step(sqz_optimizer *optimizer, float *parameters, float *gradients, int threads) {
    optimizer->step++;
    if (optimizer->clip_norm > 0)
        clip(optimizer, gradients);
    (void)threads;
#pragma omp parallel num_threads(threads)
    {
        size_t first = 0;
        for (size_t i = 0; i < optimizer->span_count; i++) {
            const sqz_optimizer_span *span = &optimizer->spans[i];
            if (span->lr_scale > 0)
                step_span(optimizer, span, first, parameters, gradients);
            first += span->count;
        }
    }
}

/* An element depends on no other, so the bits are the same on any number of threads. More than the
 * batch had, which OpenMP would have to start for every step, take longer to start than they save.
 */
sqz_status sqz_optimizer_step(sqz_optimizer *optimizer, float *parameters, float *gradients,
                              sqz_error *error) {
    int threads = sqz_get_num_threads();
    threads = sqz_threads_take(threads < SQZ_LANES ? threads : SQZ_LANES);
    sqz_status status = sqz_threads_ready(threads, error);
    if (status == SQZ_OK)
        step(optimizer, parameters, gradients, threads);
    sqz_threads_give(threads);
    return status;
}
