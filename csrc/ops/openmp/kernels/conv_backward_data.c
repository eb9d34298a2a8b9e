/* conv_backward_data.c: the gradient of a convolution's source: a convolution of stride 1 over the
 * frame of d_dst (with gaps where the forward one had strides), by the kernel turned by 180 degrees
 * with its channels exchanged; or the same by Winograd's algorithm. Weights packed for a direct
 * one: [in / BLOCK][out / BLOCK][kernel_h][kernel_w][BLOCK of out][BLOCK of in], rows and columns
 * reversed. */
#include "kernels.h"

sqz_status SQZ_KERNEL(conv_backward_data)(const sqz_conv *conv, sqz_worker *worker, void *d_src,
                                          const void *d_dst, const void *packed, bool accumulate,
                                          sqz_error *error) {
    const sqz_conv_shape *shape = &conv->shape;
    const sqz_own_conv *own = conv->state;
    if (own->backward_data == SQZ_WINOGRAD)
        return SQZ_KERNEL(winograd_conv_backward_data)(conv, worker, d_src, d_dst, packed,
                                                       accumulate, error);
    sqz_frame frame = sqz_frame_backward(shape, BLOCK);
    bool framed = sqz_frame_count(&frame) != 0;
    if (framed)
        SQZ_KERNEL(conv_frame)(worker->scratch, d_dst, &frame);
    sqz_direct direct = {.dst = d_src,
                         .src = framed ? worker->scratch : d_dst,
                         .packed = packed,
                         .dst_blocks = shape->in_channels / BLOCK,
                         .dst_h = shape->in_h,
                         .dst_w = shape->in_w,
                         .src_blocks = shape->out_channels / BLOCK,
                         .kernel_h = shape->kernel_h,
                         .inner = shape->kernel_w * BLOCK,
                         .src_block = (size_t)frame.h * (size_t)frame.w * BLOCK,
                         .src_row = (size_t)frame.w * BLOCK,
                         .src_down = (size_t)frame.w * BLOCK,
                         .src_across = BLOCK,
                         .accumulate = accumulate};
    if (shape->kernel_h == 1 && shape->kernel_w == 1) { /* rows follow one another: one long row */
        direct.dst_w *= direct.dst_h;
        direct.dst_h = 1;
    }
    SQZ_KERNEL(conv_direct)(&direct, sqz_part_whole);
    return SQZ_OK;
}
