/* pooled_relu.h: which ReLUs are undone by the max-pool after them.
 *
 * A max-pool takes to each window's winner its gradient. So a ReLU before it can be undone after
 * it, on a quarter of the elements: a winner was cut off by the ReLU just where the maximum is not
 * positive, and the bias's gradient is the sum over windows as well as over pixels. */
#ifndef SQZ_NET_POOLED_RELU_H
#define SQZ_NET_POOLED_RELU_H

#include "plan.h"

/* Sets pooled_by and undoes_relu of all steps. */
void sqz_plan_find_pooled_relus(sqz_plan *plan);

#endif
