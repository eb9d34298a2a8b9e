/* bench.h: where single ops are tried out: guarded arrays, and the way to the blocked layout
 * [C / block][H][W][block] and back. Only single*.c includes it.
 *
 * Outside, numbers are float32. Inside, activations are the table's elements: a number that
 * bfloat16 does not have is rounded on its way in, and none changes on its way out. */
#ifndef SQZ_OPS_BENCH_H
#define SQZ_OPS_BENCH_H

#include "layout.h"
#include "single.h"

/* The arrays of one call. Each lies between two guards of one cache line. Start from {0}. */
enum { SQZ_BENCH_ARRAYS = 10 };
typedef struct {
    unsigned char *arrays[SQZ_BENCH_ARRAYS];
    size_t sizes_bytes[SQZ_BENCH_ARRAYS];
    int used;
} sqz_bench;

/* *values becomes an aligned array of count floats, each `fill`; the bench owns it. */
sqz_status sqz_bench_take(sqz_bench *bench, float **values, size_t count, float fill,
                          sqz_error *error);
/* The same of count elements, and of `count` bytes of 0xAB. */
sqz_status sqz_bench_take_elements(sqz_bench *bench, void **values, const sqz_ops *ops,
                                   size_t count, float fill, sqz_error *error);
sqz_status sqz_bench_take_bytes(sqz_bench *bench, uint8_t **values, size_t count, sqz_error *error);
/* Packed weights, of which the table alone knows what they are: all bits are set, which is NaN in
 * any form of float. */
sqz_status sqz_bench_take_packed(sqz_bench *bench, void **packed, size_t size_bytes,
                                 sqz_error *error);
/* Frees all arrays. Returns `status`, or SQZ_INTERNAL if that is SQZ_OK and a guard was written. */
sqz_status sqz_bench_end(sqz_bench *bench, sqz_status status, sqz_error *error);

static inline int sqz_bench_blocks(const sqz_ops *ops, int channels) {
    return sqz_layout_stored(channels, ops->block) / ops->block;
}
/* Stored elements of [channels][pixels]. */
static inline size_t sqz_bench_count(const sqz_ops *ops, int channels, int pixels) {
    return (size_t)sqz_layout_stored(channels, ops->block) * (size_t)pixels;
}

/* One element of an array of them. */
void sqz_bench_put(void *array, size_t at, float value, const sqz_ops *ops);
float sqz_bench_get(const void *array, size_t at, const sqz_ops *ops);

/* Overwrites blocked from planar[channels][pixels], holes zero. */
void sqz_bench_block(void *blocked, const float *planar, const sqz_ops *ops, int channels,
                     int pixels);
/* Overwrites planar. SQZ_INTERNAL: a hole is not zero. `what` is what the error calls the array. */
sqz_status sqz_bench_unblock(float *planar, const void *blocked, const sqz_ops *ops, int channels,
                             int pixels, const char *what, sqz_error *error);
/* The same for one float a channel, which is no element: padded[stored channels]. */
void sqz_bench_pad(float *padded, const float *values, const sqz_ops *ops, int channels);
sqz_status sqz_bench_unpad(float *values, const float *padded, const sqz_ops *ops, int channels,
                           const char *what, sqz_error *error);
/* The same as block and unblock for bytes, holes not looked at. */
void sqz_bench_block_bytes(uint8_t *blocked, const uint8_t *planar, const sqz_ops *ops,
                           int channels, int pixels);
void sqz_bench_unblock_bytes(uint8_t *planar, const uint8_t *blocked, const sqz_ops *ops,
                             int channels, int pixels);

#endif
