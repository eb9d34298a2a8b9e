/* onednn.h: oneDNN's convolutions, undivided: what the "onednn" backend is made of. */
#ifndef SQZ_OPS_ONEDNN_H
#define SQZ_OPS_ONEDNN_H

#include "ops.h"

/* onednn.c: a table like sqz_ops_onednn's, but the first part of a forward convolution does all of
 * it. onednn_slices.c divides it. NULL where sqz_ops_onednn gives NULL. */
const sqz_ops *sqz_ops_onednn_whole(sqz_precision precision);

#endif
