/* optimizer.h: what an optimizer does to its parameters, a row for each sqz_rule. Adding one is a
 * file with a row, a member of sqz_rule, and a line in optimizer.c's table. */
#ifndef SQZ_NET_OPTIMIZER_H
#define SQZ_NET_OPTIMIZER_H

#include "../base/status.h"

#include <stddef.h>

/* One step of one span, as floats; of each rule its own. */
typedef union {
    struct {
        float keep; /* what weight decay leaves of a parameter */
        float step_size, root_correction2;
        float gain1, gain2, beta2, eps;
    } adam;
    struct {
        float lr, decay, momentum;
        bool nesterov;
    } sgd;
} sqz_update;

typedef struct {
    const char *moments[SQZ_MOST_MOMENTS]; /* their names in PyTorch, then NULL */
    sqz_status (*check)(const sqz_rule_options *options, sqz_error *error);
    sqz_update (*update_of)(const sqz_optimizer *optimizer, const sqz_optimizer_span *span);
    /* Neighbours, from the `first` on, by gradients and where `mask` (NULL: everywhere) is not 0.
     * Where it is 0 all stays as it is. */
    void (*step)(float *parameters, float *const moments[], const float *gradients,
                 const uint8_t *mask, ptrdiff_t count, const sqz_update *by);
} sqz_rule_row;

extern const sqz_rule_row sqz_rule_adam, sqz_rule_sgd;

#endif
