/* nonlinearity.h: what follows a convolution's bias, element by element. It is handed on whole,
 * from the tape to the kernels, so that another one is another member here. */
#ifndef SQZ_BASE_NONLINEARITY_H
#define SQZ_BASE_NONLINEARITY_H

#include <stdbool.h>

typedef struct {
    bool relu; /* max(x, 0), else x as it is */
} sqz_nonlinearity;

#endif
