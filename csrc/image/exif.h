/* exif.h: which way up a photograph was taken. */
#ifndef SQZ_IMAGE_EXIF_H
#define SQZ_IMAGE_EXIF_H

#include "../base/status.h"

/* The orientation (1..8) in an APP1 segment's contents, "Exif\0\0" and a TIFF structure of either
 * byte order; 0 where there is none or it cannot be read. */
int sqz_exif_orientation(const uint8_t *segment, size_t size_bytes);

/* Turns the picture upright; pixels may be reallocated. On an error it is as it was. */
sqz_status sqz_exif_apply(sqz_image *image, int orientation, sqz_error *error);

#endif
