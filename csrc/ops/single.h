/* single.h: one op at a time on plain arrays, [C][H][W] float32 with logical channels, so that each
 * op of a table can be held against a reference. For tests: every call allocates, converts to the
 * blocked layout (and rounds to bfloat16, if that is the table's element), packs, runs the op and
 * converts back.
 *
 * Each call also watches what the op table promises (see ops.h). Outputs that an op overwrites are
 * full of NaN before; every buffer lies between two guards; holes (stored channels that stand for
 * no logical channel) must come out zero; what surrounds a destination slice must stay as it was.
 * A broken promise is SQZ_INTERNAL. Sizes that make no sense are SQZ_INVALID. */
#ifndef SQZ_OPS_SINGLE_H
#define SQZ_OPS_SINGLE_H

#include "ops.h"

/* The table of a backend by its name, in use or not; NULL: the one in use. After "onednn" or
 * "openmp" may stand ":bfloat16", which openmp does in emulation.
 * SQZ_INVALID: no such backend; SQZ_UNSUPPORTED: not offered here. */
sqz_status sqz_single_ops(const sqz_ops **ops, const char *name, sqz_error *error);

typedef struct {
    int in_channels, in_h, in_w, out_channels; /* logical channels */
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
    sqz_nonlinearity nonlinearity;
    bool planar; /* the source is given to the op as [C][H][W]; it has no gradient then */
    /* The destination is a slice of a tensor that has so many more blocks before and after it. */
    int blocks_before, blocks_after;
} sqz_single_conv;

/* The sizes of the destination; SQZ_INVALID if there is none. Padding is less than the kernel. */
sqz_status sqz_single_conv_size(int *out_h, int *out_w, const sqz_single_conv *conv,
                                sqz_error *error);

/* The names of the implementations that training would use, "" for one that it would not. */
typedef struct {
    char forward[96], backward_data[96], backward_weights[96];
} sqz_single_implementations;
sqz_status sqz_single_conv_explain(sqz_single_implementations *names, const sqz_ops *ops,
                                   const sqz_single_conv *conv, sqz_error *error);

/* Overwrites dst[n][out_channels][out_h][out_w] from src[n][in_channels][in_h][in_w],
 * weights[out_channels][in_channels][kernel_h][kernel_w] and bias[out_channels]. */
sqz_status sqz_single_conv_forward(const sqz_ops *ops, float *dst, const float *src,
                                   const float *weights, const float *bias, int n,
                                   const sqz_single_conv *conv, sqz_error *error);

/* d_src[n] (NULL if planar) is overwritten, or added to if `accumulate`. d_weights and d_bias are
 * overwritten with the sum over the n pictures: the first overwrites the backend's accumulator, the
 * others add to it. dst: the forward result, read only if conv->nonlinearity.relu. */
sqz_status sqz_single_conv_backward(const sqz_ops *ops, float *d_src, float *d_weights,
                                    float *d_bias, const float *src, const float *weights,
                                    const float *dst, const float *d_dst, int n,
                                    const sqz_single_conv *conv, bool accumulate, sqz_error *error);

/* The other ops, on [channels][pixels] arrays, overwriting and accumulating as ops.h says.
 * `channels` are logical, also in the pool shape. */

/* d_src and d_bias; without a nonlinearity dst and d_src are NULL. */
sqz_status sqz_single_nonlinearity_backward(const sqz_ops *ops, float *d_src, float *d_bias,
                                            const float *d_dst, const float *dst, int channels,
                                            int pixels, sqz_nonlinearity nonlinearity,
                                            bool accumulate, sqz_error *error);
/* Fills in out_h and out_w; SQZ_INVALID if there is no output. */
sqz_status sqz_single_pool_size(sqz_pool_shape *shape, sqz_error *error);
/* argmax[channels][out_h][out_w] may be NULL. */
sqz_status sqz_single_max_pool_forward(const sqz_ops *ops, float *dst, uint8_t *argmax,
                                       const float *src, const sqz_pool_shape *shape,
                                       sqz_error *error);
/* SQZ_INVALID: an argmax points outside its window or the picture. */
sqz_status sqz_single_max_pool_backward(const sqz_ops *ops, float *d_src, const float *d_dst,
                                        const uint8_t *argmax, const sqz_pool_shape *shape,
                                        bool accumulate, sqz_error *error);
sqz_status sqz_single_average_pool_forward(const sqz_ops *ops, float *dst, const float *src,
                                           int channels, int pixels, sqz_error *error);
sqz_status sqz_single_average_pool_backward(const sqz_ops *ops, float *d_src, const float *d_dst,
                                            int channels, int pixels, sqz_error *error);
sqz_status sqz_single_dropout_forward(const sqz_ops *ops, float *dst, uint8_t *mask,
                                      const float *src, int channels, int pixels,
                                      const sqz_dropout *dropout, sqz_error *error);
sqz_status sqz_single_dropout_backward(const sqz_ops *ops, float *d_src, const float *d_dst,
                                       const uint8_t *mask, int channels, int pixels,
                                       const sqz_dropout *dropout, sqz_error *error);
/* in_place: the op writes its result over (a copy of) a. */
sqz_status sqz_single_sum(const sqz_ops *ops, float *dst, const float *a, const float *b,
                          int channels, int pixels, bool in_place, sqz_error *error);

/* dst[count] = src, by way of the table's element: the way of the network's input. */
sqz_status sqz_single_round(const sqz_ops *ops, float *dst, const float *src, int count,
                            sqz_error *error);

#endif
