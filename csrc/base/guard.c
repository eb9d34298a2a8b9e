/* guard.c: see guard.h. */
#include "guard.h"

#include "interrupt.h"

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t making = PTHREAD_RWLOCK_INITIALIZER; /* a fork is its writer */
static unsigned forks;                                       /* guarded */

#ifdef _WIN32 /* where nothing forks */

static void initialise(void) {}

#else

/* In the order in which others take the two. */
static void before_fork(void) {
    pthread_rwlock_wrlock(&making);
    pthread_mutex_lock(&guard);
}

static void after_fork(void) {
    pthread_mutex_unlock(&guard);
    pthread_rwlock_unlock(&making);
}

/* Made anew rather than unlocked: an rwlock knows its writer by a number that the child's thread
 * has not. */
static void after_fork_in_child(void) {
    pthread_mutex_init(&guard, NULL);
    pthread_rwlock_init(&making, NULL);
    forks++;
}

static void initialise(void) {
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

#endif

static void prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
}

void sqz_guard_lock(void) {
    prepare();
    pthread_mutex_lock(&guard);
}

void sqz_guard_unlock(void) {
    pthread_mutex_unlock(&guard);
}

void sqz_guard_begin_making(void) {
    prepare();
    pthread_rwlock_rdlock(&making);
}

void sqz_guard_end_making(void) {
    pthread_rwlock_unlock(&making);
}

unsigned sqz_guard_forks(void) {
    return forks;
}

sqz_status sqz_guard_wait(pthread_cond_t *changed, sqz_error *error) {
    return sqz_interrupt_wait(changed, &guard, error);
}
