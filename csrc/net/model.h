/* model.h: what the files that make up a model share. */
#ifndef SQZ_NET_MODEL_H
#define SQZ_NET_MODEL_H

#include "lanes.h"
#include "plan.h"

#include <pthread.h>

/* A plan in the model's cache, with the workspaces that wait for their next use. */
typedef struct sqz_entry {
    sqz_plan *plan;
    int h, w;
    int threads; /* that it was made for to share a picture */
    int users;
    uint64_t last_use;
    uint64_t packed_generation; /* of the parameters the packed weights hold; 0: never packed */
    sqz_lanes lanes;            /* training: of plan->lane_count floats */
    double *losses;             /* training: one a picture, losses_capacity of them */
    int losses_capacity;
    sqz_workspace *idle, *idle_helpers;
    pthread_mutex_t lock;      /* guards both */
    pthread_mutex_t pack_lock; /* held while the packed weights are made */
    struct sqz_entry *next;
} sqz_entry;

struct sqz_model {
    sqz_spec spec;
    sqz_tape tape; /* for the names and shapes of parameters */
    float *parameters, *gradients;
    pthread_mutex_t lock; /* guards all below, and the entries' list */
    uint64_t generation;  /* grows when parameters change; starts at 1 */
    int readers;          /* calls that read the parameters */
    bool exclusive;       /* a call that writes parameters or gradients */
    sqz_precision precision;
    bool emulate; /* by our kernels where the backend does not offer the precision */
    uint64_t clock;
    sqz_entry *entries;
};

/* -- Who is in (access.c) ---------------------------------------------------------------------- */

/* A call on a model begins and ends with these. Several readers may be in at once; an exclusive
 * call is alone. SQZ_BUSY otherwise. */
sqz_status sqz_model_enter(sqz_model *model, bool exclusive, sqz_error *error);
void sqz_model_leave(sqz_model *model, bool exclusive);

/* -- The cache of plans (entries.c) --------------------------------------------------------------
 */

/* The cache's entry for a plan with the current backend, made if need be, and given back. threads:
 * as many as will share a picture, else 1. */
sqz_status sqz_model_entry(sqz_model *model, sqz_entry **entry, int h, int w, bool training,
                           int threads, sqz_error *error);
void sqz_model_entry_release(sqz_model *model, sqz_entry *entry);
void sqz_entries_destroy(sqz_model *model); /* all of them, when the model goes */

/* A workspace for one thread, given back after use. NULL may be given back. A helper's has no
 * memory: it works in another's. */
sqz_status sqz_entry_workspace(sqz_entry *entry, sqz_workspace **workspace, sqz_error *error);
sqz_status sqz_entry_helper(sqz_entry *entry, sqz_workspace **workspace, sqz_error *error);
void sqz_entry_workspace_release(sqz_entry *entry, sqz_workspace *workspace);

/* Bring the packed weights up to the model's parameters, on up to `threads` threads. */
sqz_status sqz_entry_pack(sqz_entry *entry, const sqz_model *model, int threads, sqz_error *error);

/* -- Threads that work together (team.c) ---------------------------------------------------------
 */

/* SQZ_INVALID if one of x[count] is NaN or infinite; `picture` is named in the message. */
sqz_status sqz_check_finite(const float *x, size_t count, int picture, sqz_error *error);

/* The first failure of several threads, whichever had it: later ones are dropped. Start from {0};
 * `end` returns it after the threads have met. */
typedef struct {
    sqz_status status;
    sqz_error error;
} sqz_outcome;
void sqz_outcome_set(sqz_outcome *outcome, sqz_status status, const sqz_error *error);
sqz_status sqz_outcome_end(const sqz_outcome *outcome, sqz_error *error);

/* Calls work(context, i, workspace, error) for i in 0..count-1, on up to `threads` threads, each
 * with a workspace of its own. After a failure no further call begins, and the first is returned.
 */
typedef sqz_status (*sqz_entry_work)(void *context, int i, sqz_workspace *workspace,
                                     sqz_error *error);
sqz_status sqz_entry_parallel(sqz_entry *entry, int count, int threads, sqz_entry_work work,
                              void *context, sqz_error *error);

#endif
