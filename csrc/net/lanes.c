/* lanes.c: see lanes.h. */
#include "lanes.h"

#include "../base/memory.h"

#include <stdlib.h>
#include <string.h>

sqz_status sqz_lanes_init(sqz_lanes *lanes, size_t count, sqz_error *error) {
    size_t aligned = sqz_size_align(sqz_size_multiply(count, sizeof(float))) / sizeof(float);
    size_t bytes = sqz_size_multiply(sqz_size_multiply(SQZ_LANES, aligned), sizeof(float));
    *lanes = (sqz_lanes){.count = aligned};
    /* The C library's calloc leaves fresh pages untouched where one of ours would write zeros. */
    lanes->memory = bytes < SIZE_MAX - SQZ_ALIGNMENT ? calloc(bytes + SQZ_ALIGNMENT, 1) : NULL;
    if (!lanes->memory)
        return sqz_fail_memory(error, "gradient lanes", bytes);
    size_t past = (uintptr_t)lanes->memory % SQZ_ALIGNMENT;
    lanes->first = (float *)(lanes->memory + (past ? SQZ_ALIGNMENT - past : 0));
    pthread_mutex_init(&lanes->lock, NULL);
    return SQZ_OK;
}

void sqz_lanes_free(sqz_lanes *lanes) {
    if (lanes->memory)
        pthread_mutex_destroy(&lanes->lock);
    free(lanes->memory);
    *lanes = (sqz_lanes){0};
}

float *sqz_lanes_take(sqz_lanes *lanes) {
    pthread_mutex_lock(&lanes->lock);
    float *sum = lanes->idle[--lanes->idle_count];
    pthread_mutex_unlock(&lanes->lock);
    return sum;
}

static void give_back(sqz_lanes *lanes, float *sum) {
    pthread_mutex_lock(&lanes->lock);
    lanes->idle[lanes->idle_count++] = sum;
    pthread_mutex_unlock(&lanes->lock);
}

/* Leaves `sum` at the node, unless its neighbour's is there already: then takes that. */
static bool leave_or_take(sqz_lanes *lanes, int node, float *sum, float **neighbour) {
    pthread_mutex_lock(&lanes->lock);
    bool both = lanes->done[node ^ 1];
    lanes->done[node] = true;
    lanes->sums[node] = sum;
    *neighbour = lanes->sums[node ^ 1];
    pthread_mutex_unlock(&lanes->lock);
    return both;
}

void sqz_lanes_finish(sqz_lanes *lanes, int lane, float *sum) {
    int node = SQZ_LANES + lane;
    float *neighbour;
    for (; node > 1 && leave_or_take(lanes, node, sum, &neighbour); node /= 2) {
        float *left = node & 1 ? neighbour : sum, *right = node & 1 ? sum : neighbour;
        if (left && right) {
            for (size_t i = lanes->skipped; i < lanes->count; i++)
                left[i] += right[i];
            give_back(lanes, right);
        }
        sum = left ? left : right;
    }
    if (node == 1)
        lanes->sums[1] = sum;
}

void sqz_lanes_begin(sqz_lanes *lanes, const bool filled[SQZ_LANES], size_t skipped) {
    lanes->skipped = skipped;
    memset(lanes->done, 0, sizeof lanes->done);
    memset(lanes->sums, 0, sizeof lanes->sums);
    for (int i = 0; i < SQZ_LANES; i++)
        lanes->idle[i] = lanes->first + (size_t)(SQZ_LANES - 1 - i) * lanes->count;
    lanes->idle_count = SQZ_LANES;
    for (int lane = 0; lane < SQZ_LANES; lane++)
        if (!filled[lane])
            sqz_lanes_finish(lanes, lane, NULL);
}

const float *sqz_lanes_total(const sqz_lanes *lanes) {
    return lanes->sums[1];
}
