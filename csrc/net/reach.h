/* reach.h: how far back a batch's gradients have to go. Where the first layers are frozen the way
 * back ends before them, and what only they would need is not computed. */
#ifndef SQZ_NET_REACH_H
#define SQZ_NET_REACH_H

#include "tape.h"

typedef struct {
    bool learns[SQZ_TAPE_NODES];     /* CONV: its weights or its bias do */
    bool visited[SQZ_TAPE_NODES];    /* it learns, or reads what is wanted */
    bool wanted[SQZ_TAPE_NODES + 1]; /* the gradient of an activation: its writer is visited */
} sqz_reach;

/* frozen: by parameter of the tape; NULL: none is. */
void sqz_reach_find(sqz_reach *reach, const sqz_tape *tape, const bool *frozen);

#endif
