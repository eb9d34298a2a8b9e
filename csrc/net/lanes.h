/* lanes.h: the sum of a batch's gradients, the same bits whichever thread computed what.
 *
 * sqz.h has its order, at SQZ_LANES. The tree is folded while lanes are still being computed:
 * whoever finishes the second of two neighbours adds them and goes on upwards, so only a few lanes
 * have arrays of their own at any time. */
#ifndef SQZ_NET_LANES_H
#define SQZ_NET_LANES_H

#include "../sqz.h"

#include <pthread.h>

typedef struct {
    size_t count;           /* floats of a lane */
    size_t skipped;         /* at its start, which are not added */
    unsigned char *memory;  /* owned */
    float *first;           /* in it, aligned: SQZ_LANES arrays. What is never taken is never
                               resident. */
    float *idle[SQZ_LANES]; /* the last given back is taken next */
    int idle_count;
    /* A node's sum waits for its neighbour's. Node 1 is the root, 2 i and 2 i + 1 are below i, lane
     * l is node SQZ_LANES + l. */
    float *sums[2 * SQZ_LANES]; /* NULL: of no picture */
    bool done[2 * SQZ_LANES];
    pthread_mutex_t lock; /* guards all below `first` */
} sqz_lanes;

sqz_status sqz_lanes_init(sqz_lanes *lanes, size_t count, sqz_error *error);
void sqz_lanes_free(sqz_lanes *lanes); /* of {0} too */

/* Starts a batch, whatever became of the one before. Lanes that are not `filled` have no picture
 * and count as zero; each other one is taken, overwritten and finished once, by any thread. The
 * first `skipped` floats have no sum. */
void sqz_lanes_begin(sqz_lanes *lanes, const bool filled[SQZ_LANES], size_t skipped);
float *sqz_lanes_take(sqz_lanes *lanes);
void sqz_lanes_finish(sqz_lanes *lanes, int lane, float *sum);

/* After all filled lanes, of which there is one at least, have been finished. */
const float *sqz_lanes_total(const sqz_lanes *lanes);

#endif
