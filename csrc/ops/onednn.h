/* onednn.h: what the files of the "onednn" backend share. */
#ifndef SQZ_OPS_ONEDNN_H
#define SQZ_OPS_ONEDNN_H

#include "ops.h"

/* A convolution's output channels cut into pieces, for threads that share a picture: a range of
 * channel blocks is contiguous in dst, in the packed weights and in the bias, so that a piece is a
 * convolution of its own on pointers into the whole's arrays. */
enum { SQZ_ONEDNN_HALVES, SQZ_ONEDNN_QUARTERS, SQZ_ONEDNN_CUTS };
enum { SQZ_ONEDNN_PIECES = 2 * SQZ_ONEDNN_CUTS };
typedef struct {
    int widths[SQZ_ONEDNN_CUTS];         /* channel blocks of a piece; 0: not cut in this way */
    sqz_conv *pieces[SQZ_ONEDNN_PIECES]; /* of each cut: any piece but the last, and a last one
                                            that is narrower, else NULL */
} sqz_onednn_slices;

/* onednn_slices.c: cut a convolution of inference for so many threads. A cut is kept only if, tried
 * out on random numbers, its pieces give the whole's bits. */
sqz_status sqz_onednn_slices_create(sqz_onednn_slices *slices, const sqz_conv *whole, int threads,
                                    sqz_error *error);
void sqz_onednn_slices_destroy(sqz_onednn_slices *slices);
/* The table's conv_forward. */
sqz_status sqz_onednn_slices_forward(const sqz_conv *whole, sqz_worker *worker, void *dst,
                                     const void *src, const float *packed, const float *bias,
                                     sqz_part part, sqz_error *error);

/* onednn.c: one uncut convolution of the table `ops`. `call`: where a worker finds the memory
 * objects for it, counted from those of the whole. */
sqz_status sqz_onednn_conv_create(sqz_conv **conv, const sqz_conv_shape *shape, sqz_conv_use use,
                                  int slot, int call, const sqz_ops *ops, sqz_error *error);
void sqz_onednn_conv_destroy(sqz_conv *conv);
sqz_status sqz_onednn_conv_forward(const sqz_conv *conv, sqz_worker *worker, void *dst,
                                   const void *src, const float *packed, const float *bias,
                                   sqz_error *error);
const sqz_onednn_slices *sqz_onednn_conv_slices(const sqz_conv *conv);
const sqz_ops *sqz_onednn_conv_ops(const sqz_conv *conv); /* the table it belongs to */

#endif
