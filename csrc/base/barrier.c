/* barrier.c: see barrier.h. Waiting is busy at first, because the others are a few microseconds
 * behind where each has a core; then the core is offered to whoever wants it, because one of the
 * others may be waiting for it. */
#include "barrier.h"

#include <sched.h>

enum { BUSY_LOOKS = 100 };

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

bool sqz_barrier_wait(sqz_barrier *barrier, int count) {
    unsigned generation = __atomic_load_n(&barrier->generation, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == count) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->generation, generation + 1, __ATOMIC_RELEASE);
    }
    int looks = 0;
    while (__atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) == generation) {
        if (__atomic_load_n(&barrier->broken, __ATOMIC_ACQUIRE))
            return false;
        if (++looks < BUSY_LOOKS)
            relax();
        else
            sched_yield();
    }
    return !__atomic_load_n(&barrier->broken, __ATOMIC_ACQUIRE);
}

void sqz_barrier_break(sqz_barrier *barrier) {
    __atomic_store_n(&barrier->broken, true, __ATOMIC_RELEASE);
}
