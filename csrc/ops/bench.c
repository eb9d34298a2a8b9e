/* bench.c: see bench.h. */
#include "bench.h"

#include "../base/memory.h"

#include <string.h>

enum { GUARD = SQZ_ALIGNMENT / sizeof(float) };
static const unsigned char guard_byte = 0xA5;

sqz_status sqz_bench_take(sqz_bench *bench, float **values, size_t count, float fill,
                          sqz_error *error) {
    *values = NULL;
    if (bench->used == SQZ_BENCH_ARRAYS)
        return sqz_fail(error, SQZ_INTERNAL, "a bench has no more than %d arrays",
                        SQZ_BENCH_ARRAYS);
    size_t all = count > SIZE_MAX - 2 * GUARD ? SIZE_MAX : count + 2 * GUARD;
    float *memory = sqz_aligned_calloc(all, sizeof *memory);
    if (!memory)
        return sqz_fail_memory(error, "a single op", sqz_size_multiply(all, sizeof *memory));
    memset(memory, guard_byte, GUARD * sizeof *memory);
    memset(memory + GUARD + count, guard_byte, GUARD * sizeof *memory);
    *values = memory + GUARD;
    for (size_t i = 0; i < count; i++)
        (*values)[i] = fill;
    bench->values[bench->used] = *values;
    bench->counts[bench->used++] = count;
    return SQZ_OK;
}

sqz_status sqz_bench_take_bytes(sqz_bench *bench, uint8_t **values, size_t count,
                                sqz_error *error) {
    float *floats;
    *values = NULL;
    SQZ_TRY(sqz_bench_take(bench, &floats, count / sizeof(float) + 1, 0, error));
    *values = (uint8_t *)floats;
    memset(*values, 0xAB, count);
    return SQZ_OK;
}

static bool guard_intact(const float *guard) {
    const unsigned char *bytes = (const unsigned char *)guard;
    for (size_t i = 0; i < GUARD * sizeof *guard; i++)
        if (bytes[i] != guard_byte)
            return false;
    return true;
}

sqz_status sqz_bench_end(sqz_bench *bench, sqz_status status, sqz_error *error) {
    for (int i = 0; i < bench->used; i++) {
        const float *values = bench->values[i];
        bool intact = guard_intact(values - GUARD) && guard_intact(values + bench->counts[i]);
        if (!intact && status == SQZ_OK)
            status =
                sqz_fail(error, SQZ_INTERNAL, "an op wrote past array %d, which has %zu floats", i,
                         bench->counts[i]);
        sqz_aligned_free(bench->values[i] - GUARD);
    }
    bench->used = 0;
    return status;
}

/* Where channel c at pixel p is stored. */
static size_t place(const sqz_ops *ops, int c, int p, int pixels) {
    size_t block = (size_t)ops->block, channel = (size_t)c;
    return (channel / block * (size_t)pixels + (size_t)p) * block + channel % block;
}

void sqz_bench_block(float *blocked, const float *planar, const sqz_ops *ops, int channels,
                     int pixels) {
    memset(blocked, 0, sqz_bench_count(ops, channels, pixels) * sizeof *blocked);
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < pixels; p++)
            blocked[place(ops, c, p, pixels)] = planar[(size_t)c * (size_t)pixels + (size_t)p];
}

sqz_status sqz_bench_unblock(float *planar, const float *blocked, const sqz_ops *ops, int channels,
                             int pixels, const char *what, sqz_error *error) {
    int stored = sqz_bench_blocks(ops, channels) * ops->block;
    for (int c = 0; c < stored; c++)
        for (int p = 0; p < pixels; p++) {
            float value = blocked[place(ops, c, p, pixels)];
            if (c < channels)
                planar[(size_t)c * (size_t)pixels + (size_t)p] = value;
            else if (value != 0) /* NaN too */
                return sqz_fail(error, SQZ_INTERNAL,
                                "%s: the hole at channel %d, pixel %d holds %g, expected 0", what,
                                c, p, value);
        }
    return SQZ_OK;
}

void sqz_bench_block_bytes(uint8_t *blocked, const uint8_t *planar, const sqz_ops *ops,
                           int channels, int pixels) {
    memset(blocked, 0, sqz_bench_count(ops, channels, pixels));
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < pixels; p++)
            blocked[place(ops, c, p, pixels)] = planar[(size_t)c * (size_t)pixels + (size_t)p];
}

void sqz_bench_unblock_bytes(uint8_t *planar, const uint8_t *blocked, const sqz_ops *ops,
                             int channels, int pixels) {
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < pixels; p++)
            planar[(size_t)c * (size_t)pixels + (size_t)p] = blocked[place(ops, c, p, pixels)];
}
