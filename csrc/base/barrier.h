/* barrier.h: where threads that share a picture wait for each other between two ops, a few
 * microseconds at a time. One of them may fail: then none waits any more. */
#ifndef SQZ_BASE_BARRIER_H
#define SQZ_BASE_BARRIER_H

#include <stdbool.h>

/* Ready for use when zero. */
typedef struct {
    int arrived;
    unsigned generation; /* times that all have arrived */
    bool broken;
} sqz_barrier;

/* Waits until `count` threads, all there are, have called it; what each did before is then seen by
 * all. False: a thread has broken the barrier, and all must leave. */
bool sqz_barrier_wait(sqz_barrier *barrier, int count);

/* By a thread that has failed: it and all others leave. */
void sqz_barrier_break(sqz_barrier *barrier);

#endif
