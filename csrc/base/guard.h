/* guard.h: what several threads share, kept whole over a fork. A child has one thread, the copy of
 * the one that forked, and of a mutex that another thread held it gets a locked copy that nobody
 * opens. So the thread that forks first waits until nobody is within what is guarded here. */
#ifndef SQZ_BASE_GUARD_H
#define SQZ_BASE_GUARD_H

#include "status.h"

#include <pthread.h>

/* One mutex for all models and backends, held for looks and notes: never while something is made,
 * computed or waited for. */
void sqz_guard_lock(void);
void sqz_guard_unlock(void);

/* Around work of any length in which a library holds locks of its own, as oneDNN does while it
 * makes primitives: any number of threads at once, but no fork. Not with the guard locked. */
void sqz_guard_begin_making(void);
void sqz_guard_end_making(void);

/* With the guard locked. How often this process and those it comes from have forked off a child:
 * where it has changed, all other threads are gone. */
unsigned sqz_guard_forks(void);

/* As pthread_cond_wait with the guard, which is locked. SQZ_INTERRUPTED as by interrupt.h. */
sqz_status sqz_guard_wait(pthread_cond_t *changed, sqz_error *error);

#endif
