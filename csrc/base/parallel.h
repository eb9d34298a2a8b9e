/* parallel.h: OpenMP where the build has it, one thread where it does not. */
#ifndef SQZ_BASE_PARALLEL_H
#define SQZ_BASE_PARALLEL_H

#include "status.h"

#ifdef _OPENMP
#include <omp.h>
#define SQZ_OPENMP_BUILT true
#else
#define SQZ_OPENMP_BUILT false
#endif

#endif
