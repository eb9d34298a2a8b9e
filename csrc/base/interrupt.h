/* interrupt.h: calls that wait for other threads ask now and then whether they should give up: what
 * sqz_set_interrupt in sqz.h was given. */
#ifndef SQZ_BASE_INTERRUPT_H
#define SQZ_BASE_INTERRUPT_H

#include "status.h"

#include <pthread.h>

/* SQZ_INTERRUPTED if the caller's function says so. It is asked about 20 times a second, however
 * often this is called. No lock of the library may be held. */
sqz_status sqz_interrupt_check(sqz_error *error);

/* As pthread_cond_wait, but it also returns now and then without a signal, and asks as above, with
 * the mutex unlocked meanwhile. The condition has default attributes. */
sqz_status sqz_interrupt_wait(pthread_cond_t *changed, pthread_mutex_t *mutex, sqz_error *error);

#endif
