/* interrupt.c: see interrupt.h. */
#include "interrupt.h"

#include <time.h>

enum { NANOSECONDS = 1000000000, PERIOD = NANOSECONDS / 20 };

static bool (*interrupted)(void);

void sqz_set_interrupt(bool (*function)(void)) {
    __atomic_store_n(&interrupted, function, __ATOMIC_RELEASE);
}

sqz_status sqz_interrupt_check(sqz_error *error) {
    static _Thread_local int64_t asked; /* when this thread last did */
    bool (*function)(void) = __atomic_load_n(&interrupted, __ATOMIC_ACQUIRE);
    struct timespec time;
    if (!function)
        return SQZ_OK;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t now = (int64_t)time.tv_sec * NANOSECONDS + time.tv_nsec;
    if (now - asked < PERIOD)
        return SQZ_OK;
    asked = now;
    return function() ? sqz_fail(error, SQZ_INTERRUPTED, "interrupted while it waited") : SQZ_OK;
}

sqz_status sqz_interrupt_wait(pthread_cond_t *changed, pthread_mutex_t *mutex, sqz_error *error) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until); /* a condition's own clock by default */
    until.tv_nsec += PERIOD;
    until.tv_sec += until.tv_nsec / NANOSECONDS;
    until.tv_nsec %= NANOSECONDS;
    pthread_cond_timedwait(changed, mutex, &until);
    pthread_mutex_unlock(mutex);
    sqz_status status = sqz_interrupt_check(error);
    pthread_mutex_lock(mutex);
    return status;
}
