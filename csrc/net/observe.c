/* observe.c: how large a network's activations become, for choosing their scales. A training plan
 * keeps them all. */
#include "../base/parallel.h"
#include "model.h"
#include "walk.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_BINS = 1 << 16 };

typedef struct {
    sqz_entry *entry;
    const float *x;
    float *maxima;
    uint64_t *counts; /* NULL: not wanted */
    const float *limits;
    int bins;
} observation;

/* A picture's own counts of one activation, joined with all others' at its end: whole numbers, so
 * the order does not matter. */
static void count_values(const observation *observation, int activation, const float *values,
                         uint64_t *own) {
    int bins = observation->bins;
    size_t count = observation->entry->plan->placed[activation].count;
    float width = observation->limits[activation] / (float)bins;
    for (size_t i = 0; i < count; i++) {
        if (!(values[i] > 0))
            continue;
        float bin = values[i] / width;
        own[bin < (float)(bins - 1) ? (int)bin : bins - 1]++;
    }
}

static float largest_of(const float *values, size_t count) {
    float largest = -INFINITY;
    for (size_t i = 0; i < count; i++)
        largest = values[i] > largest ? values[i] : largest;
    return largest;
}

static sqz_status observe_picture(void *context, int picture, sqz_workspace *workspace,
                                  sqz_error *error) {
    const observation *observation = context;
    const sqz_plan *plan = observation->entry->plan;
    const float *x = observation->x + (size_t)picture * plan->placed[0].count;
    uint64_t *own = NULL;
    size_t bins = observation->counts ? (size_t)observation->bins : 0;
    SQZ_TRY(sqz_check_finite(x, plan->placed[0].count, picture, error));
    SQZ_TRY(sqz_walk_forward(plan, workspace, x, NULL, NULL, error));
    for (int i = 1; i < plan->tape.activation_count; i++) {
        const float *values = (const float *)sqz_activation_at(plan, workspace, i);
        float largest = largest_of(values, plan->placed[i].count);
        if (bins) {
            own = calloc(bins, sizeof *own);
            if (!own)
                return sqz_fail_memory(error, "a histogram", bins * sizeof *own);
            count_values(observation, i, values, own);
        }
#pragma omp critical(sqz_observe)
        {
            float *maximum = &observation->maxima[i];
            *maximum = largest > *maximum ? largest : *maximum;
            for (size_t bin = 0; bin < bins; bin++)
                observation->counts[(size_t)i * bins + bin] += own[bin];
        }
        free(own);
        own = NULL;
    }
    return SQZ_OK;
}

static sqz_status observe_entered(sqz_model *model, observation *observation, int n, int h, int w,
                                  sqz_error *error) {
    SQZ_TRY(sqz_model_entry_of(model, &observation->entry, SQZ_FLOAT32, h, w, true, 1, error));
    int threads = sqz_threads_take(sqz_get_num_threads());
    sqz_status status = sqz_entry_pack(observation->entry, model, threads < n ? threads : n, error);
    if (status == SQZ_OK)
        status =
            sqz_entry_parallel(observation->entry, n, threads, observe_picture, observation, error);
    sqz_threads_give(threads);
    sqz_model_entry_release(model, observation->entry);
    return status;
}

sqz_status sqz_model_observe(sqz_model *model, float *maxima, uint64_t *counts, const float *limits,
                             int bins, const float *x, int n, int h, int w, sqz_error *error) {
    observation observation = {
        .x = x, .maxima = maxima, .counts = counts, .limits = limits, .bins = bins};
    if (n < 1)
        return sqz_fail(error, SQZ_INVALID, "the batch has %d pictures, expected at least 1", n);
    if (counts && (bins < 1 || bins > MOST_BINS))
        return sqz_fail(error, SQZ_INVALID, "bins is %d, expected 1 to %d", bins, (int)MOST_BINS);
    for (int i = 1; counts && i < model->tape.activation_count; i++)
        if (!(limits[i] > 0) || isinf(limits[i]))
            return sqz_fail(error, SQZ_INVALID,
                            "the limit of activation %d is %g, expected a number above 0", i,
                            (double)limits[i]);
    SQZ_TRY(sqz_model_enter(model, false, error));
    sqz_status status = observe_entered(model, &observation, n, h, w, error);
    sqz_model_leave(model, false);
    return status;
}
