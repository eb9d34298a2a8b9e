/* team.c: work on an entry that several threads do together, any of which may fail. */
#include "model.h"

#include "../base/parallel.h"

#include <string.h>

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
    SQZ_TRY(sqz_threads_ready(threads, error));
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
