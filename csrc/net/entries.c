/* entries.c: a model's plans, of which the last few are kept, with what is needed to run them. */
#include "model.h"

#include "../base/guard.h"

#include <stdlib.h>

enum { CACHED_PLANS = 8 };

/* -- One entry --------------------------------------------------------------------------------- */

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
    sqz_plan_destroy(entry->plan);
    free(entry);
}

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

/* -- The cache --------------------------------------------------------------------------------- */

/* What a plan is made for. */
typedef struct {
    const sqz_ops *ops;
    int h, w, threads;
    bool training;
} wish;

/* All of these with the model locked. */

/* The newest, or NULL. */
static sqz_entry *find(const sqz_model *model, const wish *wish) {
    sqz_entry *entry = model->entries;
    while (entry && !(entry->h == wish->h && entry->w == wish->w &&
                      entry->plan->training == wish->training && entry->plan->ops == wish->ops))
        entry = entry->next;
    return entry;
}

/* A plan whose convolutions are cut for sharing takes longer to make than one picture takes: so
 * only a plan that is asked for again is made anew for it. Until then, and where it would not help,
 * the plan at hand will do. */
static bool worth_sharing(const sqz_entry *entry, int threads) {
    return entry->plan->ops->conv_share && entry->threads < threads;
}

/* Takes from the list superseded entries, and those used longest ago until CACHED_PLANS are left,
 * passing over those in use. The entries taken, linked by next. */
static sqz_entry *trim(sqz_model *model) {
    sqz_entry *taken = NULL;
    for (;;) {
        int count = 0;
        sqz_entry **oldest = NULL;
        for (sqz_entry **link = &model->entries; *link; link = &(*link)->next) {
            count++;
            if (!(*link)->users && (!oldest || (*link)->last_use < (*oldest)->last_use))
                oldest = link;
        }
        if (!oldest || (count <= CACHED_PLANS && (*oldest)->last_use > 0))
            return taken;
        sqz_entry *entry = *oldest;
        *oldest = entry->next;
        entry->next = taken;
        taken = entry;
    }
}

/* Adds an entry, with the model unlocked meanwhile. */
static sqz_status make(sqz_model *model, const wish *wish, int threads, sqz_error *error) {
    sqz_entry *entry = NULL;
    model->making = true;
    sqz_model_unlock(model);
    sqz_guard_begin_making();
    sqz_status status =
        entry_create(&entry, model, wish->h, wish->w, wish->training, threads, wish->ops, error);
    sqz_guard_end_making();
    sqz_model_lock(model);
    model->making = false;
    pthread_cond_broadcast(&model->changed);
    if (status != SQZ_OK)
        return status;
    sqz_entry *earlier = find(model, wish);
    if (earlier)
        earlier->last_use = 0; /* goes as soon as nobody uses it */
    entry->next = model->entries;
    model->entries = entry;
    return SQZ_OK;
}

static sqz_status find_or_make(sqz_model *model, sqz_entry **result, const wish *wish,
                               sqz_error *error) {
    sqz_entry *entry = find(model, wish);
    if (entry && worth_sharing(entry, wish->threads) && !model->making) {
        SQZ_TRY(make(model, wish, wish->threads, error));
        entry = find(model, wish);
    }
    while (!entry) {
        if (model->making)
            SQZ_TRY(sqz_guard_wait(&model->changed, error));
        else
            SQZ_TRY(make(model, wish, 1, error));
        entry = find(model, wish);
    }
    entry->users++;
    entry->last_use = ++model->clock;
    *result = entry;
    return SQZ_OK;
}

/* -- Its use ----------------------------------------------------------------------------------- */

static void entries_destroy(sqz_entry *first) {
    while (first) {
        sqz_entry *next = first->next;
        entry_destroy(first);
        first = next;
    }
}

static sqz_status entry_for(sqz_model *model, sqz_entry **entry, sqz_precision precision,
                            bool emulate, wish *wish, sqz_error *error) {
    SQZ_TRY(sqz_model_check_quantized(model, precision, error));
    SQZ_TRY(sqz_ops_current(&wish->ops, precision, emulate, error));
    if (wish->training && precision == SQZ_INT8)
        return sqz_fail(error, SQZ_INVALID,
                        "precision \"int8\" is for inference: set another one to train");
    sqz_model_lock(model);
    sqz_status status = find_or_make(model, entry, wish, error);
    sqz_entry *taken = status == SQZ_OK ? trim(model) : NULL;
    sqz_model_unlock(model);
    entries_destroy(taken);
    return status;
}

sqz_status sqz_model_entry(sqz_model *model, sqz_entry **entry, int h, int w, bool training,
                           int threads, sqz_error *error) {
    wish wish = {.h = h, .w = w, .threads = threads, .training = training};
    sqz_model_lock(model);
    sqz_precision precision = model->precision;
    bool emulate = model->emulate;
    sqz_model_unlock(model);
    return entry_for(model, entry, precision, emulate, &wish, error);
}

sqz_status sqz_model_entry_of(sqz_model *model, sqz_entry **entry, sqz_precision precision, int h,
                              int w, bool training, int threads, sqz_error *error) {
    wish wish = {.h = h, .w = w, .threads = threads, .training = training};
    return entry_for(model, entry, precision, false, &wish, error);
}

void sqz_model_entry_release(sqz_model *model, sqz_entry *entry) {
    sqz_model_lock(model);
    entry->users--;
    sqz_model_unlock(model);
}

void sqz_entries_destroy(sqz_model *model) {
    entries_destroy(model->entries);
    model->entries = NULL;
}

void sqz_entries_forget_used(sqz_model *model) {
    sqz_entry **link = &model->entries;
    while (*link)
        if ((*link)->users)
            *link = (*link)->next;
        else
            link = &(*link)->next;
}

/* -- Workspaces -------------------------------------------------------------------------------- */

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

/* -- Packing ----------------------------------------------------------------------------------- */

typedef struct {
    sqz_plan *plan;
    const float *parameters;
    const sqz_quantization *quantization;
} packing;

static sqz_status pack_slot(void *context, int slot, sqz_workspace *workspace, sqz_error *error) {
    const packing *packing = context;
    return sqz_plan_pack(packing->plan, slot, packing->parameters, packing->quantization, workspace,
                         error);
}

sqz_status sqz_entry_pack(sqz_entry *entry, const sqz_model *model, int threads, sqz_error *error) {
    /* The generation cannot change: this call is in, so no writer is. */
    sqz_status status = SQZ_OK;
    pthread_mutex_lock(&entry->pack_lock);
    if (entry->packed_generation != model->generation) {
        packing packing = {entry->plan, model->parameters, NULL};
        if (sqz_plan_reads_bytes(entry->plan))
            packing.quantization = model->quantization;
        status =
            sqz_entry_parallel(entry, entry->plan->conv_count, threads, pack_slot, &packing, error);
        entry->packed_generation = status == SQZ_OK ? model->generation : 0;
    }
    pthread_mutex_unlock(&entry->pack_lock);
    return status;
}
