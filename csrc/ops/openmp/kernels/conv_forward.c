/* conv_forward.c: the forward convolution, bias and ReLU included, as a direct convolution over the
 * source or, where there is padding, its frame; or by Winograd's algorithm. Weights packed for a
 * direct one: [out / BLOCK][in / in_block][kernel_h][kernel_w][in_block][BLOCK]. */
#include "kernels.h"

sqz_status SQZ_KERNEL(conv_forward)(const sqz_conv *conv, sqz_worker *worker, void *dst,
                                    const void *src, const void *packed, const float *bias,
                                    sqz_part part, sqz_error *error) {
    const sqz_conv_shape *shape = &conv->shape;
    const sqz_own_conv *own = conv->state;
    if (own->forward == SQZ_WINOGRAD)
        return SQZ_KERNEL(winograd_conv_forward)(conv, worker, dst, src, packed, bias, part, error);
    sqz_frame frame = sqz_frame_forward(shape);
    size_t lanes = (size_t)shape->in_block;
    sqz_direct direct = {.dst = dst,
                         .src = src,
                         .packed = packed,
                         .bias = bias,
                         .dst_blocks = shape->out_channels / BLOCK,
                         .dst_h = shape->out_h,
                         .dst_w = shape->out_w,
                         .src_blocks = shape->in_channels / shape->in_block,
                         .kernel_h = shape->kernel_h,
                         .inner = shape->kernel_w * shape->in_block,
                         .src_block = (size_t)shape->in_h * (size_t)shape->in_w * lanes,
                         .src_row = (size_t)shape->in_w * lanes,
                         .src_across = (size_t)shape->stride_w * lanes,
                         .nonlinearity = shape->nonlinearity};
    if (sqz_frame_count(&frame)) {
        /* Each part frames all of it: little beside the convolution, and nobody waits. */
        SQZ_KERNEL(conv_frame)(worker->scratch, src, &frame);
        direct.src = worker->scratch;
        direct.src_block = (size_t)frame.h * (size_t)frame.w * lanes;
        direct.src_row = (size_t)frame.w * lanes;
    }
    direct.src_down = (size_t)shape->stride_h * direct.src_row;
    if (shape->kernel_h == 1 && shape->kernel_w == 1 && shape->stride_h == 1 &&
        shape->stride_w == 1) { /* rows follow one another: one long row */
        direct.dst_w *= direct.dst_h;
        direct.dst_h = 1;
    }
    SQZ_KERNEL(conv_direct)(&direct, part);
    return SQZ_OK;
}
