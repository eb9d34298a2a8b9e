/* backends.c: which op table is in use. The choice is sqz_set_backend's, else that of the
 * environment's SQZ_BACKEND, else oneDNN where it is offered, else the own kernels. It is the
 * process's, and a plan keeps the table it was made with. */
#include "../base/parallel.h"
#include "ops.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SQZ_WITH_ONEDNN
const sqz_ops *sqz_ops_onednn(void) {
    return NULL;
}

void sqz_onednn_explain(char reason[256], char version[32]) {
    snprintf(reason, 256, "this build has no oneDNN");
    version[0] = '\0';
}
#define ONEDNN_BUILT false
#else
#define ONEDNN_BUILT true
#endif

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const sqz_ops *chosen; /* guarded by mutex; NULL until first asked for or set */

static sqz_status own_table(const sqz_ops **ops, sqz_error *error) {
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error));
    do
        *ops = sqz_ops_openmp(isa);
    while (!*ops && isa-- > SQZ_ISA_BASELINE);
    return SQZ_OK;
}

/* `what` is what the sentence calls the name: an argument or a variable. */
static sqz_status table_by_name(const sqz_ops **ops, const char *what, const char *name,
                                sqz_error *error) {
    if (strcmp(name, "openmp") == 0)
        return own_table(ops, error);
    if (strcmp(name, "onednn") != 0)
        return sqz_fail(error, SQZ_INVALID, "%s is \"%s\", expected \"onednn\" or \"openmp\"", what,
                        name);
    *ops = sqz_ops_onednn();
    if (*ops)
        return SQZ_OK;
    char reason[256], version[32];
    sqz_onednn_explain(reason, version);
    return sqz_fail(error, SQZ_INVALID, "%s is \"onednn\", which is not offered: %s", what, reason);
}

static sqz_status default_table(const sqz_ops **ops, sqz_error *error) {
    const char *wanted = getenv("SQZ_BACKEND");
    if (wanted && *wanted)
        return table_by_name(ops, "SQZ_BACKEND", wanted, error);
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error)); /* a wrong SQZ_ISA is an error, not a reason for a default */
    *ops = sqz_ops_onednn();
    return *ops ? SQZ_OK : own_table(ops, error);
}

sqz_status sqz_ops_current(const sqz_ops **ops, sqz_error *error) {
    sqz_status status = SQZ_OK;
    *ops = NULL;
    pthread_mutex_lock(&mutex);
    if (!chosen)
        status = default_table(&chosen, error);
    if (status == SQZ_OK)
        *ops = chosen;
    pthread_mutex_unlock(&mutex);
    return status;
}

sqz_status sqz_set_backend(const char *name, sqz_error *error) {
    const sqz_ops *ops;
    SQZ_TRY(table_by_name(&ops, "backend", name, error));
    pthread_mutex_lock(&mutex);
    chosen = ops;
    pthread_mutex_unlock(&mutex);
    return SQZ_OK;
}

sqz_status sqz_get_backend(const char **name, sqz_error *error) {
    const sqz_ops *ops;
    SQZ_TRY(sqz_ops_current(&ops, error));
    *name = ops->name;
    return SQZ_OK;
}

sqz_status sqz_get_build_info(sqz_build_info *info, sqz_error *error) {
    const sqz_ops *ops;
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error));
    SQZ_TRY(sqz_ops_current(&ops, error));
    *info = (sqz_build_info){.backend = ops->name,
                             .isa = sqz_isa_name(ops->isa),
                             .cpu_isa = sqz_isa_name(isa),
                             .block = ops->block,
                             .onednn_built = ONEDNN_BUILT,
                             .onednn_offered = sqz_ops_onednn() != NULL,
                             .openmp_built = SQZ_OPENMP_BUILT};
    sqz_onednn_explain(info->onednn_reason, info->onednn_version);
    return SQZ_OK;
}
