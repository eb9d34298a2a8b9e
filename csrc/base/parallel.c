/* parallel.c: how many threads a call may use. The number is the process's, not OpenMP's own
 * per-thread setting, so that it is the same from whichever Python thread it is asked. */
#include "parallel.h"

#include "quota.h"
#include "signals.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/mman.h>
#endif

static int chosen_threads; /* 0 until set */
static int taken_threads;  /* by calls that are at work */

sqz_status sqz_set_num_threads(int threads, sqz_error *error) {
    if (threads < 1 || threads > SQZ_MAX_THREADS)
        return sqz_fail(error, SQZ_INVALID, "threads is %d, expected 1 to %d", threads,
                        SQZ_MAX_THREADS);
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
static _Thread_local int
    team; /* threads of this one's last region: OpenMP keeps them for the next */

#if (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9) ||                                 \
    (defined(__clang__) && __clang_major__ >= 9)
static bool dismissed;

static void before_fork(void) {
    dismissed = !alone && omp_pause_resource_all(omp_pause_soft) == 0;
    team = 0;
}
#else
enum { dismissed = false };
#define before_fork NULL
#endif

static void after_fork(void) {
    alone = !dismissed;
    team = 0;
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
    limit = limit < SQZ_MAX_THREADS ? limit : SQZ_MAX_THREADS;
    default_threads = threads < limit ? threads : limit;
}

int sqz_get_num_threads(void) {
    pthread_once(&once, initialise);
    int threads = __atomic_load_n(&chosen_threads, __ATOMIC_RELAXED);
    return alone ? 1 : threads ? threads : default_threads;
}

/* -- Whether there are so many ------------------------------------------------------------------
 */

#ifdef _WIN32 /* whose OpenMP has to say so itself */

sqz_status sqz_threads_ready(int threads, sqz_error *error) {
    (void)threads;
    (void)error;
    return SQZ_OK;
}

#else

static void *wait_at(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Starts as many threads as it can up to `wanted`, which all are there at once, and ends them. */
static int try_threads(pthread_t *threads, int wanted, int *code) {
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    sqz_signals before = sqz_signals_block();
    int count = 0;
    pthread_mutex_lock(&gate);
    *code = 0;
    while (count < wanted && *code == 0) {
        *code = pthread_create(&threads[count], NULL, wait_at, &gate);
        count += *code == 0;
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    sqz_signals_restore(before);
    return count;
}

/* Tries them with the address space taken that each one's first allocation will reserve (64 MiB for
 * an arena of the GNU C library): without it small allocations fail, also where a library has no
 * answer to that but to end the process. */
static sqz_status try_with_room(pthread_t *threads, int wanted, sqz_error *error) {
    size_t room_bytes = (size_t)wanted << 26;
    void *room =
        mmap(NULL, room_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return sqz_fail(error, SQZ_NO_MEMORY,
                        "for %d of the threads that were set there is no room (%zu MiB): set fewer",
                        wanted, room_bytes >> 20);
    int code, count = try_threads(threads, wanted, &code);
    munmap(room, room_bytes);
    if (count < wanted)
        return sqz_fail(error, SQZ_NO_MEMORY,
                        "of the threads that were set %d could not be started (%s): set fewer",
                        wanted - count, strerror(code));
    return SQZ_OK;
}

sqz_status sqz_threads_ready(int threads, sqz_error *error) {
    int more = threads - (team ? team : 1);
    if (threads > 1 && more > 0) {
        pthread_t *tried = malloc((size_t)more * sizeof *tried);
        sqz_status status =
            tried ? try_with_room(tried, more, error)
                  : sqz_fail_memory(error, "more threads", (size_t)more * sizeof *tried);
        free(tried);
        SQZ_TRY(status);
    }
    if (threads > 1)
        team = threads;
    return SQZ_OK;
}

#endif

#else /* no OpenMP */

int sqz_get_num_threads(void) {
    return 1;
}

sqz_status sqz_threads_ready(int threads, sqz_error *error) {
    (void)threads;
    (void)error;
    return SQZ_OK;
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
