/* placing.h: where a plan's buffers lie in a workspace. */
#ifndef SQZ_NET_PLACING_H
#define SQZ_NET_PLACING_H

#include "plan.h"

/* Finds the offsets of all activations, gradients, argmaxes and masks, who adds to a gradient that
 * another began, and workspace_bytes, of a plan whose shapes and convolutions are made. */
sqz_status sqz_plan_place(sqz_plan *plan, sqz_error *error);

#endif
