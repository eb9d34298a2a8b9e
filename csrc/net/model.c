/* model.c: the handle: parameters, who may use them when, and the cache of plans. */
#include "model.h"

#include "../base/memory.h"
#include "../base/parallel.h"

#include <stdlib.h>
#include <string.h>

enum { CACHED_PLANS = 8 };

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
    pthread_mutex_init(&model->lock, NULL);
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

static void workspaces_destroy(sqz_workspace *first, const sqz_plan *plan) {
    while (first) {
        sqz_workspace *next = first->next;
        sqz_workspace_destroy(first, plan);
        first = next;
    }
}

static void entry_destroy(sqz_entry *entry) {
    workspaces_destroy(entry->idle, entry->plan);
    workspaces_destroy(entry->idle_helpers, entry->plan);
    pthread_mutex_destroy(&entry->lock);
    pthread_mutex_destroy(&entry->pack_lock);
    sqz_lanes_free(&entry->lanes);
    free(entry->losses);
    sqz_plan_destroy(entry->plan);
    free(entry);
}

void sqz_model_destroy(sqz_model *model) {
    if (!model)
        return;
    while (model->entries) {
        sqz_entry *entry = model->entries;
        model->entries = entry->next;
        entry_destroy(entry);
    }
    pthread_mutex_destroy(&model->lock);
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

sqz_status sqz_model_set_precision(sqz_model *model, sqz_precision precision, sqz_error *error) {
    const sqz_ops *ops;
    bool emulate = false;
    if (precision != SQZ_FLOAT32) { /* which is always there */
        SQZ_TRY(sqz_ops_emulates(&emulate, error));
        SQZ_TRY(sqz_ops_current(&ops, precision, emulate, error));
    }
    pthread_mutex_lock(&model->lock);
    model->precision = precision;
    model->emulate = emulate;
    pthread_mutex_unlock(&model->lock);
    return SQZ_OK;
}

sqz_status sqz_model_check_precision(sqz_model *model, sqz_error *error) {
    const sqz_ops *ops;
    pthread_mutex_lock(&model->lock);
    sqz_precision precision = model->precision;
    bool emulate = model->emulate;
    pthread_mutex_unlock(&model->lock);
    return sqz_ops_current(&ops, precision, emulate, error);
}

sqz_precision sqz_model_precision(sqz_model *model) {
    pthread_mutex_lock(&model->lock);
    sqz_precision precision = model->precision;
    pthread_mutex_unlock(&model->lock);
    return precision;
}

/* -- Who is in --------------------------------------------------------------------------------- */

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

/* -- The cache of plans ------------------------------------------------------------------------ */

static sqz_status entry_create(sqz_entry **result, const sqz_model *model, int h, int w,
                               bool training, int threads, const sqz_ops *ops, sqz_error *error) {
    sqz_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return sqz_fail_memory(error, "a plan", sizeof *entry);
    pthread_mutex_init(&entry->lock, NULL);
    pthread_mutex_init(&entry->pack_lock, NULL);
    entry->h = h;
    entry->w = w;
    entry->threads = threads;
    sqz_status status =
        sqz_plan_create(&entry->plan, &model->spec, h, w, training, threads, ops, error);
    if (status == SQZ_OK && training)
        status = sqz_lanes_init(&entry->lanes, entry->plan->lane_count, error);
    if (status != SQZ_OK) {
        entry_destroy(entry);
        return status;
    }
    *result = entry;
    return SQZ_OK;
}

/* Drops superseded entries, and those used longest ago until CACHED_PLANS are left, passing over
 * those in use. */
static void trim(sqz_model *model) {
    for (;;) {
        int count = 0;
        sqz_entry **oldest = NULL;
        for (sqz_entry **link = &model->entries; *link; link = &(*link)->next) {
            count++;
            if (!(*link)->users && (!oldest || (*link)->last_use < (*oldest)->last_use))
                oldest = link;
        }
        if (!oldest || (count <= CACHED_PLANS && (*oldest)->last_use > 0))
            return;
        sqz_entry *entry = *oldest;
        *oldest = entry->next;
        entry_destroy(entry);
    }
}

static void add(sqz_model *model, sqz_entry *entry) {
    entry->next = model->entries;
    model->entries = entry;
}

/* A plan whose convolutions are cut for sharing takes longer to make than one picture takes: so
 * only a plan that is asked for again is made anew for it. Until then, and where it would not help,
 * the plan at hand will do. */
static bool worth_sharing(const sqz_entry *entry, int threads) {
    return entry->plan->ops->conv_share && entry->threads < threads;
}

/* With the model's lock held. */
static sqz_status find_or_create(sqz_model *model, sqz_entry **result, int h, int w, bool training,
                                 int threads, sqz_error *error) {
    const sqz_ops *ops;
    SQZ_TRY(sqz_ops_current(&ops, model->precision, model->emulate, error));
    sqz_entry *entry = model->entries; /* the newest of equals */
    while (entry && !(entry->h == h && entry->w == w && entry->plan->training == training &&
                      entry->plan->ops == ops))
        entry = entry->next;
    if (!entry) {
        SQZ_TRY(entry_create(&entry, model, h, w, training, 1, ops, error));
        add(model, entry);
    } else if (worth_sharing(entry, threads)) {
        sqz_entry *earlier = entry;
        SQZ_TRY(entry_create(&entry, model, h, w, training, threads, ops, error));
        add(model, entry);
        earlier->last_use = 0; /* goes as soon as nobody uses it */
    }
    entry->users++;
    entry->last_use = ++model->clock;
    *result = entry;
    return SQZ_OK;
}

sqz_status sqz_model_entry(sqz_model *model, sqz_entry **entry, int h, int w, bool training,
                           int threads, sqz_error *error) {
    pthread_mutex_lock(&model->lock);
    sqz_status status = find_or_create(model, entry, h, w, training, threads, error);
    if (status == SQZ_OK)
        trim(model);
    pthread_mutex_unlock(&model->lock);
    return status;
}

void sqz_model_entry_release(sqz_model *model, sqz_entry *entry) {
    pthread_mutex_lock(&model->lock);
    entry->users--;
    pthread_mutex_unlock(&model->lock);
}

static sqz_status workspace(sqz_entry *entry, sqz_workspace **result, bool helper,
                            sqz_error *error) {
    sqz_workspace **idle = helper ? &entry->idle_helpers : &entry->idle;
    pthread_mutex_lock(&entry->lock);
    *result = *idle;
    if (*result)
        *idle = (*result)->next;
    pthread_mutex_unlock(&entry->lock);
    return *result ? SQZ_OK : sqz_workspace_create(result, entry->plan, helper, error);
}

sqz_status sqz_entry_workspace(sqz_entry *entry, sqz_workspace **result, sqz_error *error) {
    return workspace(entry, result, false, error);
}

sqz_status sqz_entry_helper(sqz_entry *entry, sqz_workspace **result, sqz_error *error) {
    return workspace(entry, result, true, error);
}

void sqz_entry_workspace_release(sqz_entry *entry, sqz_workspace *workspace) {
    if (!workspace)
        return;
    pthread_mutex_lock(&entry->lock);
    sqz_workspace **idle = workspace->memory ? &entry->idle : &entry->idle_helpers;
    workspace->next = *idle;
    *idle = workspace;
    pthread_mutex_unlock(&entry->lock);
}

/* -- Parallel loops that can fail -------------------------------------------------------------- */

void sqz_outcome_set(sqz_outcome *outcome, sqz_status status, const sqz_error *error) {
#pragma omp critical(sqz_outcome)
    if (outcome->status == SQZ_OK) {
        outcome->error = *error;
        __atomic_store_n(&outcome->status, status, __ATOMIC_RELEASE);
    }
}

sqz_status sqz_outcome_end(const sqz_outcome *outcome, sqz_error *error) {
    if (outcome->status != SQZ_OK && error)
        *error = outcome->error;
    return outcome->status;
}

sqz_status sqz_entry_parallel(sqz_entry *entry, int count, int threads, sqz_entry_work work,
                              void *context, sqz_error *error) {
    sqz_outcome outcome = {0};
    (void)threads;
#pragma omp parallel num_threads(threads)
    {
        sqz_error own_error;
        sqz_workspace *workspace = NULL;
        sqz_status status = sqz_entry_workspace(entry, &workspace, &own_error);
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < count; i++) {
            if (__atomic_load_n(&outcome.status, __ATOMIC_ACQUIRE) != SQZ_OK)
                continue;
            if (status == SQZ_OK)
                status = work(context, i, workspace, &own_error);
            if (status != SQZ_OK)
                sqz_outcome_set(&outcome, status, &own_error);
        }
        sqz_entry_workspace_release(entry, workspace);
    }
    return sqz_outcome_end(&outcome, error);
}

sqz_status sqz_check_finite(const float *x, size_t count, int picture, sqz_error *error) {
    /* All exponent bits set: NaN or infinity. Without a branch, so that it vectorises. */
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        found |= (uint32_t)((bits & 0x7F800000u) == 0x7F800000u);
    }
    if (found)
        return sqz_fail(error, SQZ_INVALID, "x has NaN or infinity in picture %d", picture);
    return SQZ_OK;
}

/* -- Packing ----------------------------------------------------------------------------------- */

typedef struct {
    sqz_plan *plan;
    const float *parameters;
} packing;

static sqz_status pack_slot(void *context, int slot, sqz_workspace *workspace, sqz_error *error) {
    const packing *packing = context;
    return sqz_plan_pack(packing->plan, slot, packing->parameters, workspace, error);
}

sqz_status sqz_entry_pack(sqz_entry *entry, const sqz_model *model, int threads, sqz_error *error) {
    /* The generation cannot change: this call is in, so no writer is. */
    sqz_status status = SQZ_OK;
    pthread_mutex_lock(&entry->pack_lock);
    if (entry->packed_generation != model->generation) {
        packing packing = {entry->plan, model->parameters};
        status =
            sqz_entry_parallel(entry, entry->plan->conv_count, threads, pack_slot, &packing, error);
        entry->packed_generation = status == SQZ_OK ? model->generation : 0;
    }
    pthread_mutex_unlock(&entry->pack_lock);
    return status;
}
