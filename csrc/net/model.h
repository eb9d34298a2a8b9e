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
    sqz_workspace *idle, *idle_helpers;
    pthread_mutex_t lock;      /* guards both */
    pthread_mutex_t pack_lock; /* held while the packed weights are made */
    struct sqz_entry *next;
} sqz_entry;

/* Who is in, and who waits. */
typedef struct {
    int readers;         /* calls that read the parameters */
    int waiting_readers; /* for a writer that is in, or waits */
    int owed_readers;    /* of these, those who go before the next writer */
    bool writing;        /* a call that writes parameters or gradients is in */
    bool writer_waits;
    pthread_t writer; /* while it is in */
    unsigned turn;    /* writers that have left */
} sqz_access;

struct sqz_model {
    sqz_spec spec;
    sqz_tape tape; /* for the names and shapes of parameters */
    float *parameters, *gradients;
    sqz_quantization *quantization; /* NULL: none. Belongs to the parameters, and goes when they are
                                       written: whoever is in may look at it */
    /* All below, and the entries' list, is looked at and changed with the model locked. */
    unsigned forks;         /* when it was last locked: see access.c */
    pthread_cond_t changed; /* somebody left, or a plan was made */
    uint64_t generation;    /* grows when parameters change; starts at 1 */
    sqz_access access;
    sqz_precision precision;
    bool emulate; /* by our kernels where the backend does not offer the precision */
    bool making;  /* a thread is making a plan */
    uint64_t clock;
    sqz_entry *entries;
};

/* -- Who is in (access.c) ---------------------------------------------------------------------- */

/* For a moment: base/guard.h. After a fork it first forgets what other threads were about. */
void sqz_model_lock(sqz_model *model);
void sqz_model_unlock(sqz_model *model);

/* A call on a model begins and ends with these. Several readers may be in at once; an exclusive
 * call is alone, and each waits for its turn. SQZ_BUSY: another exclusive call is in or waits, or
 * this thread is in one. SQZ_INTERRUPTED. */
sqz_status sqz_model_enter(sqz_model *model, bool exclusive, sqz_error *error);
void sqz_model_leave(sqz_model *model, bool exclusive);

/* Ends a write after which the parameters are those of this quantisation, or with NULL of none. */
void sqz_model_end_write_quantized(sqz_model *model, sqz_quantization *quantization);

/* -- The cache of plans (entries.c) --------------------------------------------------------------
 */

/* The cache's entry for a plan with the current backend, made if need be, and given back. threads:
 * as many as will share a picture, else 1. One thread at a time makes a plan for a model, with the
 * model unlocked; others that need it wait. */
sqz_status sqz_model_entry(sqz_model *model, sqz_entry **entry, int h, int w, bool training,
                           int threads, sqz_error *error);
/* The same for a precision that need not be the model's. */
sqz_status sqz_model_entry_of(sqz_model *model, sqz_entry **entry, sqz_precision precision, int h,
                              int w, bool training, int threads, sqz_error *error);
void sqz_model_entry_release(sqz_model *model, sqz_entry *entry);
void sqz_entries_destroy(sqz_model *model); /* all of them, when the model goes */

/* In a fork's child, with the model locked: those that other threads used were copied in the midst
 * of something. They are dropped from the list, and their memory is not used again. */
void sqz_entries_forget_used(sqz_model *model);

/* A workspace for one thread, given back after use. NULL may be given back. A helper's has no
 * memory: it works in another's. */
sqz_status sqz_entry_workspace(sqz_entry *entry, sqz_workspace **workspace, sqz_error *error);
sqz_status sqz_entry_helper(sqz_entry *entry, sqz_workspace **workspace, sqz_error *error);
void sqz_entry_workspace_release(sqz_entry *entry, sqz_workspace *workspace);

/* Bring the packed weights up to the model's parameters, on up to `threads` threads. */
sqz_status sqz_entry_pack(sqz_entry *entry, const sqz_model *model, int threads, sqz_error *error);

/* -- Quantisation (quantization.c) --------------------------------------------------------------
 */

/* SQZ_INVALID: the precision is for a quantised model, and the model is not. By a call that is in,
 * or with the model not yet known to others. */
sqz_status sqz_model_check_quantized(const sqz_model *model, sqz_precision precision,
                                     sqz_error *error);
void sqz_quantization_destroy(sqz_quantization *quantization);

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
