/* signals.h: around the start of threads, which inherit the mask: signals, Ctrl-C among them, are
 * for the caller's threads. */
#ifndef SQZ_BASE_SIGNALS_H
#define SQZ_BASE_SIGNALS_H

#ifdef _WIN32 /* where Ctrl-C comes on a thread of its own */

typedef int sqz_signals;

static inline sqz_signals sqz_signals_block(void) {
    return 0;
}

static inline void sqz_signals_restore(sqz_signals before) {
    (void)before;
}

#else

#include <signal.h>

typedef sigset_t sqz_signals;

/* Blocks all for this thread; what was blocked before. */
static inline sqz_signals sqz_signals_block(void) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    return before;
}

static inline void sqz_signals_restore(sqz_signals before) {
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

#endif

#endif
