/* bench.c: see bench.h. */
#include "bench.h"

#include "../base/memory.h"

#include <string.h>

enum { GUARD_BYTES = SQZ_ALIGNMENT };
static const unsigned char guard_byte = 0xA5, byte_fill = 0xAB;

/* -- Arrays ------------------------------------------------------------------------------------ */

static sqz_status take(sqz_bench *bench, void **array, size_t size_bytes, sqz_error *error) {
    *array = NULL;
    if (bench->used == SQZ_BENCH_ARRAYS)
        return sqz_fail(error, SQZ_INTERNAL, "a bench has no more than %d arrays",
                        SQZ_BENCH_ARRAYS);
    size_t all = size_bytes > SIZE_MAX - 2 * GUARD_BYTES ? SIZE_MAX : size_bytes + 2 * GUARD_BYTES;
    unsigned char *memory = sqz_aligned_calloc(all, 1);
    if (!memory)
        return sqz_fail_memory(error, "a single op", all);
    memset(memory, guard_byte, GUARD_BYTES);
    memset(memory + GUARD_BYTES + size_bytes, guard_byte, GUARD_BYTES);
    *array = memory + GUARD_BYTES;
    bench->arrays[bench->used] = *array;
    bench->sizes_bytes[bench->used++] = size_bytes;
    return SQZ_OK;
}

sqz_status sqz_bench_take(sqz_bench *bench, float **values, size_t count, float fill,
                          sqz_error *error) {
    void *array;
    sqz_status status = take(bench, &array, sqz_size_multiply(count, sizeof(float)), error);
    *values = array;
    for (size_t i = 0; i < count && status == SQZ_OK; i++)
        (*values)[i] = fill;
    return status;
}

sqz_status sqz_bench_take_elements(sqz_bench *bench, void **values, const sqz_ops *ops,
                                   size_t count, float fill, sqz_error *error) {
    SQZ_TRY(take(bench, values, sqz_size_multiply(count, sqz_element_bytes(ops->element)), error));
    for (size_t i = 0; i < count; i++)
        sqz_bench_put(*values, i, fill, ops);
    return SQZ_OK;
}

sqz_status sqz_bench_take_bytes(sqz_bench *bench, uint8_t **values, size_t count,
                                sqz_error *error) {
    void *array;
    sqz_status status = take(bench, &array, count, error);
    *values = array;
    if (status == SQZ_OK)
        memset(array, byte_fill, count);
    return status;
}

sqz_status sqz_bench_take_packed(sqz_bench *bench, void **packed, size_t size_bytes,
                                 sqz_error *error) {
    SQZ_TRY(take(bench, packed, size_bytes, error));
    memset(*packed, 0xFF, size_bytes);
    return SQZ_OK;
}

static bool guard_intact(const unsigned char *guard) {
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if (guard[i] != guard_byte)
            return false;
    return true;
}

sqz_status sqz_bench_end(sqz_bench *bench, sqz_status status, sqz_error *error) {
    for (int i = 0; i < bench->used; i++) {
        const unsigned char *array = bench->arrays[i];
        bool intact =
            guard_intact(array - GUARD_BYTES) && guard_intact(array + bench->sizes_bytes[i]);
        if (!intact && status == SQZ_OK)
            status = sqz_fail(error, SQZ_INTERNAL, "an op wrote past array %d, which has %zu bytes",
                              i, bench->sizes_bytes[i]);
        sqz_aligned_free(bench->arrays[i] - GUARD_BYTES);
    }
    bench->used = 0;
    return status;
}

/* -- Numbers ----------------------------------------------------------------------------------- */

void sqz_bench_put(void *array, size_t at, float value, const sqz_ops *ops) {
    sqz_element_put(ops->element, array, at, value);
}

float sqz_bench_get(const void *array, size_t at, const sqz_ops *ops) {
    return sqz_element_get(ops->element, array, at);
}

void sqz_bench_block(void *blocked, const float *planar, const sqz_ops *ops, int channels,
                     int pixels) {
    for (int c = 0; c < sqz_layout_stored(channels, ops->block); c++)
        for (size_t p = 0; p < (size_t)pixels; p++)
            sqz_bench_put(blocked, sqz_layout_offset(c, p, (size_t)pixels, ops->block),
                          c < channels ? *planar++ : 0, ops);
}

static sqz_status fail_hole(const char *what, size_t at, float value, sqz_error *error) {
    return sqz_fail(error, SQZ_INTERNAL, "%s: the hole at offset %zu holds %g, expected 0", what,
                    at, value);
}

sqz_status sqz_bench_unblock(float *planar, const void *blocked, const sqz_ops *ops, int channels,
                             int pixels, const char *what, sqz_error *error) {
    for (int c = 0; c < sqz_layout_stored(channels, ops->block); c++)
        for (size_t p = 0; p < (size_t)pixels; p++) {
            size_t at = sqz_layout_offset(c, p, (size_t)pixels, ops->block);
            float value = sqz_bench_get(blocked, at, ops);
            if (c < channels)
                *planar++ = value;
            else if (!(value == 0)) /* NaN is not */
                return fail_hole(what, at, value, error);
        }
    return SQZ_OK;
}

void sqz_bench_pad(float *padded, const float *values, const sqz_ops *ops, int channels) {
    for (int c = 0; c < sqz_layout_stored(channels, ops->block); c++)
        padded[c] = c < channels ? values[c] : 0;
}

sqz_status sqz_bench_unpad(float *values, const float *padded, const sqz_ops *ops, int channels,
                           const char *what, sqz_error *error) {
    for (int c = 0; c < sqz_layout_stored(channels, ops->block); c++)
        if (c < channels)
            values[c] = padded[c];
        else if (!(padded[c] == 0))
            return fail_hole(what, (size_t)c, padded[c], error);
    return SQZ_OK;
}

void sqz_bench_block_bytes(uint8_t *blocked, const uint8_t *planar, const sqz_ops *ops,
                           int channels, int pixels) {
    memset(blocked, 0, sqz_bench_count(ops, channels, pixels));
    for (int c = 0; c < channels; c++)
        for (size_t p = 0; p < (size_t)pixels; p++)
            blocked[sqz_layout_offset(c, p, (size_t)pixels, ops->block)] = *planar++;
}

void sqz_bench_unblock_bytes(uint8_t *planar, const uint8_t *blocked, const sqz_ops *ops,
                             int channels, int pixels) {
    for (int c = 0; c < channels; c++)
        for (size_t p = 0; p < (size_t)pixels; p++)
            *planar++ = blocked[sqz_layout_offset(c, p, (size_t)pixels, ops->block)];
}
