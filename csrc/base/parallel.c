/* parallel.c: how many threads a call may use. The number is the process's, not OpenMP's own
 * per-thread setting, so that it is the same from whichever Python thread it is asked. */
#include "parallel.h"

#include "quota.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

static int chosen_threads; /* 0 until set */
static int taken_threads;  /* by calls that are at work */

sqz_status sqz_set_num_threads(int threads, sqz_error *error) {
    if (threads < 1)
        return sqz_fail(error, SQZ_INVALID, "threads is %d, expected at least 1", threads);
    __atomic_store_n(&chosen_threads, threads, __ATOMIC_RELAXED);
    return SQZ_OK;
}

int sqz_threads_parse(const char *text) {
    if (!text)
        return 0;
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    while (*end == ' ' || *end == '\t')
        end++;
    bool whole = end != text && (*end == '\0' || *end == ',');
    return whole && !errno && number > 0 && number <= INT_MAX ? (int)number : 0;
}

#ifdef _OPENMP

/* -- Forks --------------------------------------------------------------------------------------
 */

/* GNU OpenMP keeps a thread's helpers for its next region. After a fork the copy of that thread
 * still counts on them, but they were not copied: its next region would wait for ever. So the
 * thread that forks dismisses its helpers first; both sides get new ones when they need them. */

static bool alone; /* this process is a fork whose helpers could not be dismissed */

#if (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9) ||                                 \
    (defined(__clang__) && __clang_major__ >= 9)
static bool dismissed;

static void before_fork(void) {
    dismissed = !alone && omp_pause_resource_all(omp_pause_soft) == 0;
}
#else
enum { dismissed = false };
#define before_fork NULL
#endif

static void after_fork(void) {
    alone = !dismissed;
    taken_threads = 0; /* by threads that were not copied */
}

/* -- The default --------------------------------------------------------------------------------
 */

static int default_threads;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void initialise(void) {
    pthread_atfork(before_fork, NULL, after_fork);
    int threads = sqz_threads_parse(getenv("OMP_NUM_THREADS"));
    if (!threads) {
        threads = omp_get_num_procs(); /* those of the affinity mask */
        int quota = sqz_quota_cpus("");
        threads = quota && quota < threads ? quota : threads;
    }
    int limit = omp_get_thread_limit();
    default_threads = threads < limit ? threads : limit;
}

int sqz_get_num_threads(void) {
    pthread_once(&once, initialise);
    int threads = __atomic_load_n(&chosen_threads, __ATOMIC_RELAXED);
    return alone ? 1 : threads ? threads : default_threads;
}

#else

int sqz_get_num_threads(void) {
    return 1;
}

#endif

/* -- Calls side by side -------------------------------------------------------------------------
 */

int sqz_threads_take(int wanted) {
    int all = sqz_get_num_threads();
    int before = __atomic_load_n(&taken_threads, __ATOMIC_RELAXED), taken;
    do {
        int left = all - before;
        taken = left < 1 ? 1 : left < wanted ? left : wanted;
    } while (!__atomic_compare_exchange_n(&taken_threads, &before, before + taken, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return taken;
}

void sqz_threads_give(int taken) {
    __atomic_fetch_sub(&taken_threads, taken, __ATOMIC_RELAXED);
}
