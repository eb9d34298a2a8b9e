/* table.c: this instruction set's kernels, in one table. */
#include "kernels.h"

const sqz_image_kernels SQZ_KERNEL(image_kernels) = {
    .lanes = LANES,
    .jpeg_inverse_dct = SQZ_KERNEL(jpeg_inverse_dct),
    .jpeg_upsample = SQZ_KERNEL(jpeg_upsample),
    .jpeg_to_rgb = SQZ_KERNEL(jpeg_to_rgb),
    .resize_rows = SQZ_KERNEL(resize_rows),
    .resize_column = SQZ_KERNEL(resize_column),
};
