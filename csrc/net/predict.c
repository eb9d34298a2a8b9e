/* predict.c: inference, for its logits, its class maps or its features. Pictures that fill all
 * threads go one to a thread. The rest, fewer than threads, are shared: the threads form as many
 * groups as there are pictures, and each group walks its picture together in the memory of its
 * first thread. */
#include "model.h"

#include "../base/parallel.h"
#include "../ops/layout.h"
#include "walk.h"

#include <string.h>

/* More would do little but repeat what each part does for itself (framing or transforming a source)
 * and wait for each other: the smallest convolutions have 26 tiles. */
enum { MOST_PARTS = 16 };

typedef struct {
    sqz_entry *entry;
    float *logits;          /* NULL: not wanted */
    float *maps, *features; /* likewise */
    const void *x;
} prediction;

/* float32, or bytes. */
static const void *picture_at(const prediction *prediction, int picture) {
    const sqz_plan *plan = prediction->entry->plan;
    size_t number = sqz_plan_reads_bytes(plan) ? 1 : sizeof(float);
    return (const unsigned char *)prediction->x + (size_t)picture * plan->placed[0].count * number;
}

/* A share of a picture's numbers. Bytes are always finite. */
static sqz_status check_numbers(const prediction *prediction, int picture, sqz_span span,
                                sqz_error *error) {
    if (sqz_plan_reads_bytes(prediction->entry->plan))
        return SQZ_OK;
    const float *x = picture_at(prediction, picture);
    return sqz_check_finite(x + span.begin, span.end - span.begin, picture, error);
}

static void copy_logits(const prediction *prediction, const sqz_workspace *workspace, int picture) {
    const sqz_plan *plan = prediction->entry->plan;
    size_t classes = (size_t)plan->tape.activations[sqz_plan_output(plan)].channels[0];
    memcpy(prediction->logits + (size_t)picture * classes, sqz_logits_at(plan, workspace),
           classes * sizeof(float));
}

/* From channel blocks of the backend's element. The maps are what the last node reads and the
 * logits what it writes, so both are in the workspace at the end of a walk. */
static void copy_maps(const prediction *prediction, const sqz_workspace *workspace, int picture) {
    const sqz_plan *plan = prediction->entry->plan;
    int activation = sqz_plan_maps(plan);
    const sqz_activation *shape = &plan->tape.activations[activation];
    size_t classes = (size_t)shape->channels[0], pixels = (size_t)shape->h * (size_t)shape->w;
    const unsigned char *source = sqz_activation_at(plan, workspace, activation);
    float *maps = prediction->maps + (size_t)picture * classes * pixels;
    for (size_t c = 0; c < classes; c++) {
        float scale = plan->map_scales ? plan->map_scales[c] : 1;
        for (size_t pixel = 0; pixel < pixels; pixel++) {
            size_t from = sqz_layout_offset((int)c, pixel, pixels, plan->ops->block);
            maps[c * pixels + pixel] =
                sqz_element_get(plan->placed[activation].element, source, from) * scale;
        }
    }
}

/* Means over pixels of what the last convolution reads, which the workspace keeps to the end.
 * In double, which holds sums of bytes exactly. */
static void copy_features(const prediction *prediction, const sqz_workspace *workspace,
                          int picture) {
    const sqz_plan *plan = prediction->entry->plan;
    int activation = sqz_plan_features(plan);
    const sqz_activation *shape = &plan->tape.activations[activation];
    int channels = sqz_activation_channels(shape);
    size_t pixels = (size_t)shape->h * (size_t)shape->w;
    const unsigned char *source = sqz_activation_at(plan, workspace, activation);
    float *features = prediction->features + (size_t)picture * (size_t)channels;
    for (int c = 0; c < channels; c++) {
        int stored = sqz_plan_stored(plan, activation, c);
        double sum = 0;
        for (size_t pixel = 0; pixel < pixels; pixel++)
            sum += sqz_element_get(plan->placed[activation].element, source,
                                   sqz_layout_offset(stored, pixel, pixels, plan->ops->block));
        features[c] = (float)(sum * plan->feature_scale / (double)pixels);
    }
}

static void copy_results(const prediction *prediction, const sqz_workspace *workspace,
                         int picture) {
    if (prediction->logits)
        copy_logits(prediction, workspace, picture);
    if (prediction->maps)
        copy_maps(prediction, workspace, picture);
    if (prediction->features)
        copy_features(prediction, workspace, picture);
}

/* -- A picture a thread ------------------------------------------------------------------------ */

static sqz_status forward_picture(void *context, int picture, sqz_workspace *workspace,
                                  sqz_error *error) {
    const prediction *prediction = context;
    const sqz_plan *plan = prediction->entry->plan;
    SQZ_TRY(check_numbers(prediction, picture, (sqz_span){0, plan->placed[0].count}, error));
    SQZ_TRY(sqz_walk_forward(plan, workspace, picture_at(prediction, picture), NULL, NULL, error));
    copy_results(prediction, workspace, picture);
    return SQZ_OK;
}

/* -- Threads that share a picture -------------------------------------------------------------- */

/* A part of a picture, by a thread with a worker of its own, in the leader's memory. Each part
 * looks at its share of the picture for NaN. */
static sqz_status forward_part(const prediction *prediction, int picture, sqz_part part,
                               sqz_workspace *leader, sqz_worker *worker, sqz_error *error) {
    const sqz_plan *plan = prediction->entry->plan;
    sqz_workspace own = {.memory = leader->memory, .worker = worker};
    sqz_span span = sqz_part_span(part, plan->placed[0].count);
    sqz_status status = check_numbers(prediction, picture, span, error);
    if (status != SQZ_OK) {
        sqz_barrier_break(&leader->barrier);
        return status;
    }
    SQZ_TRY(sqz_walk_forward_part(plan, &own, picture_at(prediction, picture), part,
                                  &leader->barrier, error));
    if (sqz_barrier_wait(&leader->barrier, part.count) && part.index == 0)
        copy_results(prediction, leader, picture);
    return SQZ_OK;
}

/* Where a thread of a team is: its group, its part in it, and the group's leader. */
typedef struct {
    int group;
    sqz_part part;
    sqz_workspace *leader;
} seat;

static seat seat_of(int thread, int threads, int groups, sqz_workspace *leaders) {
    seat seat = {.leader = leaders};
    for (;; seat.group++, seat.leader = seat.leader->next) {
        sqz_span span = sqz_part_span((sqz_part){seat.group, groups}, (size_t)threads);
        if ((size_t)thread >= span.end)
            continue;
        seat.part = (sqz_part){thread - (int)span.begin, (int)(span.end - span.begin)};
        return seat;
    }
}

/* What one thread of a team does: its part of its group's picture. Where OpenMP gave fewer threads
 * than there are pictures, they go round again, each alone. */
static void take_part(const prediction *prediction, int first, int end, int thread, int threads,
                      sqz_workspace *leaders, sqz_outcome *outcome) {
    int count = end - first, groups = count < threads ? count : threads;
    seat seat = seat_of(thread, threads, groups, leaders);
    sqz_error error;
    sqz_workspace *helper = NULL;
    sqz_worker *worker = seat.leader->worker;
    sqz_status status = SQZ_OK;
    if (seat.part.index > 0) {
        status = sqz_entry_helper(prediction->entry, &helper, &error);
        worker = helper ? helper->worker : NULL;
    }
    if (status != SQZ_OK)
        sqz_barrier_break(&seat.leader->barrier);
    for (int picture = first + seat.group; picture < end && status == SQZ_OK; picture += groups)
        status = forward_part(prediction, picture, seat.part, seat.leader, worker, &error);
    if (status != SQZ_OK)
        sqz_outcome_set(outcome, status, &error);
    sqz_entry_workspace_release(prediction->entry, helper);
}

/* `count` workspaces, linked by next; NULL after an error. */
static sqz_status leaders_take(sqz_workspace **leaders, sqz_entry *entry, int count,
                               sqz_error *error) {
    *leaders = NULL;
    for (int i = 0; i < count; i++) {
        sqz_workspace *leader;
        SQZ_TRY(sqz_entry_workspace(entry, &leader, error));
        leader->barrier = (sqz_barrier){0};
        leader->next = *leaders;
        *leaders = leader;
    }
    return SQZ_OK;
}

static void leaders_release(sqz_entry *entry, sqz_workspace *leaders) {
    while (leaders) {
        sqz_workspace *next = leaders->next;
        sqz_entry_workspace_release(entry, leaders);
        leaders = next;
    }
}

/* Pictures first..end, fewer than threads. */
static sqz_status forward_together(const prediction *prediction, int first, int end, int threads,
                                   sqz_error *error) {
    sqz_outcome outcome = {0};
    sqz_workspace *leaders;
    int seats = (end - first) * MOST_PARTS;
    threads = threads < seats ? threads : seats;
    SQZ_TRY(sqz_threads_ready(threads, error));
    sqz_status status = leaders_take(&leaders, prediction->entry, end - first, error);
    if (status == SQZ_OK) {
#pragma omp parallel num_threads(threads)
        {
#ifdef _OPENMP
            int thread = omp_get_thread_num(), team = omp_get_num_threads();
#else
            int thread = 0, team = 1;
#endif
            take_part(prediction, first, end, thread, team, leaders, &outcome);
        }
        status = sqz_outcome_end(&outcome, error);
    }
    leaders_release(prediction->entry, leaders);
    return status;
}

/* -- The call ---------------------------------------------------------------------------------- */

static sqz_status forward_on(const prediction *prediction, const sqz_model *model, int n,
                             int threads, sqz_error *error) {
    /* Packing needs a workspace a thread: no more than the pictures do. */
    SQZ_TRY(sqz_entry_pack(prediction->entry, model, threads < n ? threads : n, error));
    int apart = n - n % threads;
    if (apart)
        SQZ_TRY(sqz_entry_parallel(prediction->entry, apart, threads, forward_picture,
                                   (void *)prediction, error));
    return apart < n ? forward_together(prediction, apart, n, threads, error) : SQZ_OK;
}

/* What the caller has: the plan is to read it. */
static sqz_status check_kind(const sqz_plan *plan, bool bytes, sqz_error *error) {
    if (sqz_plan_reads_bytes(plan) == bytes)
        return SQZ_OK;
    return sqz_fail(error, SQZ_INVALID,
                    bytes
                        ? "the pictures are bytes, which precision \"int8\" alone reads: expected "
                          "float32, normalised"
                        : "the pictures are float32, and the model's precision is \"int8\": "
                          "expected uint8 RGB, (N, H, W, 3)");
}

static sqz_status forward_entered(sqz_model *model, prediction *prediction, bool bytes, int n,
                                  int h, int w, sqz_error *error) {
    int threads = sqz_get_num_threads();
    int parts = threads < MOST_PARTS ? threads : MOST_PARTS;
    SQZ_TRY(
        sqz_model_entry(model, &prediction->entry, h, w, false, n % threads ? parts : 1, error));
    sqz_status status = check_kind(prediction->entry->plan, bytes, error);
    if (status == SQZ_OK) {
        threads = sqz_threads_take(threads);
        status = forward_on(prediction, model, n, threads, error);
        sqz_threads_give(threads);
    }
    sqz_model_entry_release(model, prediction->entry);
    return status;
}

static sqz_status forward(sqz_model *model, prediction prediction, bool bytes, int n, int h, int w,
                          sqz_error *error) {
    if (n < 1)
        return sqz_fail(error, SQZ_INVALID, "the batch has %d pictures, expected at least 1", n);
    SQZ_TRY(sqz_model_enter(model, false, error));
    sqz_status status = forward_entered(model, &prediction, bytes, n, h, w, error);
    sqz_model_leave(model, false);
    return status;
}

sqz_status sqz_model_forward(sqz_model *model, float *logits, const float *x, int n, int h, int w,
                             sqz_error *error) {
    return forward(model, (prediction){.logits = logits, .x = x}, false, n, h, w, error);
}

sqz_status sqz_model_maps(sqz_model *model, float *maps, const float *x, int n, int h, int w,
                          sqz_error *error) {
    return forward(model, (prediction){.maps = maps, .x = x}, false, n, h, w, error);
}

sqz_status sqz_model_features(sqz_model *model, float *features, const float *x, int n, int h,
                              int w, sqz_error *error) {
    return forward(model, (prediction){.features = features, .x = x}, false, n, h, w, error);
}

sqz_status sqz_model_forward_pictures(sqz_model *model, float *logits, const uint8_t *pictures,
                                      int n, int h, int w, sqz_error *error) {
    return forward(model, (prediction){.logits = logits, .x = pictures}, true, n, h, w, error);
}

sqz_status sqz_model_maps_pictures(sqz_model *model, float *maps, const uint8_t *pictures, int n,
                                   int h, int w, sqz_error *error) {
    return forward(model, (prediction){.maps = maps, .x = pictures}, true, n, h, w, error);
}

sqz_status sqz_model_features_pictures(sqz_model *model, float *features, const uint8_t *pictures,
                                       int n, int h, int w, sqz_error *error) {
    return forward(model, (prediction){.features = features, .x = pictures}, true, n, h, w, error);
}
