/* resize.h: a part of a resized picture, without the rest of it. */
#ifndef SQZ_IMAGE_RESIZE_H
#define SQZ_IMAGE_RESIZE_H

#include "../base/status.h"

/* Along one axis: samples first .. first + count of the `whole` that it is resized to. */
typedef struct {
    int64_t whole, first;
    int count;
} sqz_resize_part;

/* out[rows.count][columns.count][3]: that part of sqz_image_resize's output, equal in every byte.
 * All sides >= 1, parts within their wholes; out and in do not overlap. */
sqz_status sqz_image_resize_part(uint8_t *out, sqz_resize_part rows, sqz_resize_part columns,
                                 const uint8_t *in, int in_h, int in_w, sqz_error *error);

#endif
