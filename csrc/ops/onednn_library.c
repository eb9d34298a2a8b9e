/* onednn_library.c: see onednn_library.h. Linked in the ordinary way, a missing library would keep
 * all of ours from being loaded, which can do without; and the tools that make wheels run anywhere
 * would copy its 60 MB into ours. */
#include "onednn_library.h"
#include "ops.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char library_name[] = "libdnnl.so.3";

sqz_onednn_functions sqz_dnnl;

static char library_path[PATH_MAX]; /* "": by its name */
static bool asked;                  /* so a path comes too late */

sqz_status sqz_set_onednn_library(const char *path, sqz_error *error) {
    if (__atomic_load_n(&asked, __ATOMIC_ACQUIRE))
        return sqz_fail(error, SQZ_INVALID, "oneDNN was looked for before %s was named", path);
    size_t length = strlen(path);
    if (length >= sizeof library_path)
        return sqz_fail(error, SQZ_INVALID, "oneDNN's path has %zu bytes, expected less than %zu",
                        length, sizeof library_path);
    memcpy(library_path, path, length + 1);
    return SQZ_OK;
}

/* The function of that name goes to `target`, a pointer to a pointer: ISO C has no cast for it. */
static bool find(void *library, const char *name, void *target) {
    void *found = dlsym(library, name);
    memcpy(target, &found, sizeof found);
    return found != NULL;
}

static bool find_all(void *library, char reason[256]) {
#define X(name)                                                                                    \
    if (!find(library, "dnnl_" #name, &sqz_dnnl.name)) {                                           \
        snprintf(reason, 256, "%s has no function dnnl_" #name, library_name);                     \
        return false;                                                                              \
    }
    SQZ_ONEDNN_FUNCTIONS(X)
#undef X
    /* Searched for in the library and in what it depends on, not in the whole process. */
    if (!find(library, "omp_get_max_threads", &sqz_dnnl.omp_get_max_threads) ||
        !find(library, "omp_set_num_threads", &sqz_dnnl.omp_set_num_threads))
        sqz_dnnl.omp_get_max_threads = NULL;
    return true;
}

bool sqz_onednn_load(char reason[256]) {
    __atomic_store_n(&asked, true, __ATOMIC_RELEASE);
    void *library = dlopen(library_path[0] ? library_path : library_name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(reason, 256, "oneDNN is not there: %.220s", why ? why : library_name);
        return false;
    }
    if (!find_all(library, reason)) {
        dlclose(library);
        return false;
    }
    const dnnl_version_t *found = sqz_dnnl.version();
    if (found->major != DNNL_VERSION_MAJOR || found->minor < DNNL_VERSION_MINOR) {
        snprintf(reason, 256, "%s is oneDNN %d.%d, expected %d.%d or a later %d", library_name,
                 found->major, found->minor, DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR,
                 DNNL_VERSION_MAJOR);
        dlclose(library);
        return false;
    }
    return true;
}
