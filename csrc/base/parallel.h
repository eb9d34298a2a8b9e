/* parallel.h: OpenMP where the build has it, one thread where it does not; and how many threads a
 * call may use: sqz_get_num_threads in sqz.h. Whoever opens a parallel region has asked for that
 * number before, which also makes a fork safe (see parallel.c), and then whether the threads can be
 * had: sqz_threads_ready. */
#ifndef SQZ_BASE_PARALLEL_H
#define SQZ_BASE_PARALLEL_H

#include "status.h"

#ifdef _OPENMP
#include <omp.h>
#define SQZ_OPENMP_BUILT true
#else
#define SQZ_OPENMP_BUILT false
#endif

/* The number of threads that OMP_NUM_THREADS asks for: the first number of its list. 0: `text` is
 * NULL or is not such a list. */
int sqz_threads_parse(const char *text);

/* For calls that several threads make at once, as when each of a server's threads predicts: up to
 * `wanted` threads for this call, at least 1, so that the calls together take no more than
 * sqz_get_num_threads where that can be. Give back as many. */
int sqz_threads_take(int wanted);
void sqz_threads_give(int taken);

/* Before a parallel region of so many threads: GNU OpenMP ends the process if one cannot be
 * started. So where the region needs more than the calling thread's last one had, they are tried
 * out. SQZ_NO_MEMORY: there are not so many. */
sqz_status sqz_threads_ready(int threads, sqz_error *error);

#endif
