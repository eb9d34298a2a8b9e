/* backends.c: which op table is in use. The choice is sqz_set_backend's, else that of the
 * environment's SQZ_BACKEND, else the mixture of oneDNN and our kernels where oneDNN is offered,
 * else our kernels. It is the process's, and a plan keeps the table it was made with. The choice is
 * made among float32 tables; bfloat16's go with it. */
#include "../base/guard.h"
#include "../base/parallel.h"
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SQZ_WITH_ONEDNN
const sqz_ops *sqz_ops_onednn(sqz_precision precision) {
    (void)precision;
    return NULL;
}

void sqz_onednn_explain(char reason[256], char version[32]) {
    snprintf(reason, 256, "this build has no oneDNN");
    version[0] = '\0';
}

sqz_status sqz_set_onednn_library(const char *path, sqz_error *error) {
    return sqz_fail(error, SQZ_UNSUPPORTED, "%s is oneDNN's, and this build has none", path);
}
#define ONEDNN_BUILT false
#else
#define ONEDNN_BUILT true
#endif

static const sqz_ops *chosen; /* with the guard locked; NULL until first asked for or set */

static sqz_status own_table(const sqz_ops **ops, sqz_error *error) {
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error));
    do
        *ops = sqz_ops_openmp(isa, SQZ_FLOAT32);
    while (!*ops && isa-- > SQZ_ISA_BASELINE);
    return SQZ_OK;
}

/* `what` is what the sentence calls the name: an argument or a variable. */
static sqz_status table_by_name(const sqz_ops **ops, const char *what, const char *name,
                                sqz_error *error) {
    if (strcmp(name, "openmp") == 0)
        return own_table(ops, error);
    bool mixed = strcmp(name, "mixed") == 0;
    if (!mixed && strcmp(name, "onednn") != 0)
        return sqz_fail(error, SQZ_INVALID,
                        "%s is \"%s\", expected \"mixed\", \"onednn\" or \"openmp\"", what, name);
    *ops = mixed ? sqz_ops_mixed(SQZ_FLOAT32) : sqz_ops_onednn(SQZ_FLOAT32);
    if (*ops)
        return SQZ_OK;
    char reason[256], version[32];
    sqz_onednn_explain(reason, version);
    return sqz_fail(error, SQZ_INVALID, "%s is \"%s\", which is not offered: %s", what, name,
                    reason);
}

static sqz_status default_table(const sqz_ops **ops, sqz_error *error) {
    const char *wanted = getenv("SQZ_BACKEND");
    if (wanted && *wanted)
        return table_by_name(ops, "SQZ_BACKEND", wanted, error);
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error)); /* a wrong SQZ_ISA is an error, not a reason for a default */
    *ops = sqz_ops_mixed(SQZ_FLOAT32);
    return *ops ? SQZ_OK : own_table(ops, error);
}

/* The table of `precision` that goes with a float32 one, or NULL. */
static const sqz_ops *sibling(const sqz_ops *ops, sqz_precision precision, bool emulate) {
    if (precision == ops->precision)
        return ops;
    if (precision == SQZ_INT8) /* whatever the backend: there is one set of integer kernels */
        return sqz_ops_integer(ops->isa);
    const sqz_ops *own = sqz_ops_openmp(ops->isa, precision);
    if (strcmp(ops->name, "openmp") == 0)
        return emulate ? own : NULL;
    bool mixed = strcmp(ops->name, "mixed") == 0;
    const sqz_ops *found = mixed ? sqz_ops_mixed(precision) : sqz_ops_onednn(precision);
    return found ? found : emulate ? own : NULL;
}

static void explain_bfloat16(char reason[256], const sqz_ops *ops) {
    if (strcmp(ops->name, "openmp") == 0)
        snprintf(reason, 256, "the backend is openmp, whose kernels compute in float32");
    else
        snprintf(reason, 256, "oneDNN computes in bfloat16 with AVX-512 only, and here it has %s",
                 sqz_isa_name(ops->isa));
}

sqz_status sqz_ops_emulates(bool *emulate, sqz_error *error) {
    const char *wanted = getenv("SQZ_BF16");
    *emulate = wanted && strcmp(wanted, "emulate") == 0;
    if (wanted && *wanted && !*emulate)
        return sqz_fail(error, SQZ_INVALID, "SQZ_BF16 is \"%s\", expected \"emulate\"", wanted);
    return SQZ_OK;
}

static sqz_status current_float32(const sqz_ops **ops, sqz_error *error) {
    sqz_status status = SQZ_OK;
    *ops = NULL;
    sqz_guard_lock();
    if (!chosen)
        status = default_table(&chosen, error);
    if (status == SQZ_OK)
        *ops = chosen;
    sqz_guard_unlock();
    return status;
}

sqz_status sqz_ops_current(const sqz_ops **ops, sqz_precision precision, bool emulate,
                           sqz_error *error) {
    const sqz_ops *chosen_now;
    *ops = NULL;
    SQZ_TRY(current_float32(&chosen_now, error));
    *ops = sibling(chosen_now, precision, emulate);
    if (*ops)
        return SQZ_OK;
    char reason[256];
    explain_bfloat16(reason, chosen_now);
    return sqz_fail(error, SQZ_UNSUPPORTED, "precision \"bfloat16\" is not offered here: %s",
                    reason);
}

sqz_status sqz_set_backend(const char *name, sqz_error *error) {
    const sqz_ops *ops;
    SQZ_TRY(table_by_name(&ops, "backend", name, error));
    sqz_guard_lock();
    chosen = ops;
    sqz_guard_unlock();
    return SQZ_OK;
}

sqz_status sqz_get_backend(const char **name, sqz_error *error) {
    const sqz_ops *ops;
    SQZ_TRY(current_float32(&ops, error));
    *name = ops->name;
    return SQZ_OK;
}

sqz_status sqz_get_build_info(sqz_build_info *info, sqz_error *error) {
    const sqz_ops *ops;
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error));
    SQZ_TRY(current_float32(&ops, error));
    *info = (sqz_build_info){.backend = ops->name,
                             .isa = sqz_isa_name(ops->isa),
                             .cpu_isa = sqz_isa_name(isa),
                             .block = ops->block,
                             .onednn_built = ONEDNN_BUILT,
                             .onednn_offered = sqz_ops_onednn(SQZ_FLOAT32) != NULL,
                             .openmp_built = SQZ_OPENMP_BUILT};
    sqz_onednn_explain(info->onednn_reason, info->onednn_version);
    info->vnni = sqz_cpu_vnni(ops->isa);
    info->bfloat16_offered = sibling(ops, SQZ_BFLOAT16, false) != NULL;
    if (!info->bfloat16_offered)
        explain_bfloat16(info->bfloat16_reason, ops);
    return SQZ_OK;
}

sqz_status sqz_get_choices(sqz_choice *rows, size_t capacity, size_t *count, sqz_error *error) {
    const sqz_ops *ops;
    sqz_choice row;
    SQZ_TRY(current_float32(&ops, error));
    for (*count = 0; sqz_ops_choice(&row, ops, (int)*count); ++*count)
        if (rows && *count < capacity)
            rows[*count] = row;
    return SQZ_OK;
}
