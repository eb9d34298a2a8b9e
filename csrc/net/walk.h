/* walk.h: one picture through a plan, forward and back. */
#ifndef SQZ_NET_WALK_H
#define SQZ_NET_WALK_H

#include "plan.h"
#include "reach.h"

/* Where the time of a walk goes: one lap an op, in the order the ops run. */
enum { SQZ_LAPS = 4 * SQZ_TAPE_NODES };
typedef struct {
    double laps[SQZ_LAPS]; /* seconds */
    int count;
    double last;
} sqz_clock;
void sqz_clock_start(sqz_clock *clock);

/* Leaves the activations in the workspace; the logits are the last one. x: float32 [3][h][w] of any
 * alignment of a float, or for a plan of integers bytes [h][w][3]. dropout: NULL switches it off.
 * clock may be NULL. */
sqz_status sqz_walk_forward(const sqz_plan *plan, sqz_workspace *workspace, const void *x,
                            const sqz_dropout *dropout, sqz_clock *clock, sqz_error *error);

/* The same in inference by several threads: each calls it with its part, all with the same plan,
 * memory and x, but with workers of their own. Between ops they meet at the barrier. Does the
 * arithmetic of one thread: the logits have the same bits. After the last op they have not met yet.
 * A thread that fails breaks the barrier and says why; the others return SQZ_OK. */
sqz_status sqz_walk_forward_part(const sqz_plan *plan, sqz_workspace *workspace, const void *x,
                                 sqz_part part, sqz_barrier *barrier, sqz_error *error);

/* From the logits' gradient, which the caller has written (stored channels), to the gradients of
 * the parameters that learn: overwrites their part of the lane, or adds to it; what the lane has of
 * others is undefined. The same x and dropout as on the way forward. */
sqz_status sqz_walk_backward(const sqz_plan *plan, sqz_workspace *workspace, float *lane,
                             bool accumulate, const sqz_reach *reach, const float *x,
                             const sqz_dropout *dropout, sqz_clock *clock, sqz_error *error);

#endif
