/* parallel.c: how many threads a call may use. The number is the process's, not OpenMP's own
 * per-thread setting, so that it is the same from whichever Python thread it is asked. */
#include "parallel.h"

static int chosen_threads; /* 0 until set: OpenMP's default */

sqz_status sqz_set_num_threads(int threads, sqz_error *error) {
    if (threads < 1)
        return sqz_fail(error, SQZ_INVALID, "threads is %d, expected at least 1", threads);
    __atomic_store_n(&chosen_threads, threads, __ATOMIC_RELAXED);
    return SQZ_OK;
}

int sqz_get_num_threads(void) {
#ifdef _OPENMP
    int threads = __atomic_load_n(&chosen_threads, __ATOMIC_RELAXED);
    return threads ? threads : omp_get_max_threads();
#else
    return 1;
#endif
}
