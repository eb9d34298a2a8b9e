/* conv_pack.c: weights [out_channels][in_channels][kernel_h][kernel_w] to and from the forms that
 * the convolutions read and write: see conv_forward.c and conv_backward_data.c. A tile is what
 * belongs to one block of output and one of input channels: BLOCK * in_block * taps floats, in one
 * piece where they are packed. */
#include "kernels.h"

typedef struct {
    size_t out_blocks, in_blocks, lanes, taps; /* lanes: channels of an input block */
    size_t tile;                               /* floats */
    size_t out_distance;                       /* floats, in weights, between output channels */
} form;

static form form_of(const sqz_conv_shape *shape) {
    size_t lanes = (size_t)shape->in_block;
    size_t taps = (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    return (form){(size_t)(shape->out_channels / BLOCK),
                  (size_t)shape->in_channels / lanes,
                  lanes,
                  taps,
                  BLOCK * lanes * taps,
                  (size_t)shape->in_channels * taps};
}

/* Where in `weights` a tile's first weight is. */
static size_t tile_at(const form *form, size_t out_block, size_t in_block) {
    return out_block * BLOCK * form->out_distance + in_block * form->lanes * form->taps;
}

sqz_status SQZ_KERNEL(conv_pack_forward)(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                         const float *weights, sqz_error *error) {
    (void)worker;
    (void)error;
    if (((const sqz_own_conv *)conv->state)->forward == SQZ_WINOGRAD) {
        SQZ_KERNEL(winograd_pack_forward)(packed, weights, &conv->shape);
        return SQZ_OK;
    }
    form form = form_of(&conv->shape);
    float *to = packed;
    for (size_t out_block = 0; out_block < form.out_blocks; out_block++)
        for (size_t in_block = 0; in_block < form.in_blocks; in_block++) {
            const float *tile = weights + tile_at(&form, out_block, in_block);
            for (size_t tap = 0; tap < form.taps; tap++)
                for (size_t in = 0; in < form.lanes; in++, to += BLOCK)
                    for (size_t out = 0; out < BLOCK; out++)
                        to[out] = tile[out * form.out_distance + in * form.taps + tap];
        }
    return SQZ_OK;
}

sqz_status SQZ_KERNEL(conv_pack_backward)(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                          const float *weights, sqz_error *error) {
    (void)worker;
    (void)error;
    if (((const sqz_own_conv *)conv->state)->backward_data == SQZ_WINOGRAD) {
        SQZ_KERNEL(winograd_pack_backward)(packed, weights, &conv->shape);
        return SQZ_OK;
    }
    form form = form_of(&conv->shape);
    float *to = packed;
    for (size_t in_block = 0; in_block < form.in_blocks; in_block++)
        for (size_t out_block = 0; out_block < form.out_blocks; out_block++) {
            const float *tile = weights + tile_at(&form, out_block, in_block);
            for (size_t tap = form.taps; tap-- > 0;)
                for (size_t out = 0; out < BLOCK; out++, to += BLOCK)
                    for (size_t in = 0; in < BLOCK; in++)
                        to[in] = tile[out * form.out_distance + in * form.taps + tap];
        }
    return SQZ_OK;
}

sqz_status SQZ_KERNEL(conv_unpack_gradient)(const sqz_conv *conv, sqz_worker *worker,
                                            float *d_weights, const float *gradient,
                                            sqz_error *error) {
    (void)worker;
    (void)error;
    form form = form_of(&conv->shape);
    for (size_t out_block = 0; out_block < form.out_blocks; out_block++)
        for (size_t in_block = 0; in_block < form.in_blocks; in_block++, gradient += form.tile) {
            float *tile = d_weights + tile_at(&form, out_block, in_block);
            for (size_t out = 0; out < BLOCK; out++, tile += form.out_distance)
                for (size_t in = 0; in < form.lanes; in++)
                    for (size_t tap = 0; tap < form.taps; tap++)
                        tile[in * form.taps + tap] =
                            gradient[(tap * form.lanes + in) * BLOCK + out];
        }
    return SQZ_OK;
}
