/* stb.h: the one door to stb_image, which turns a picture's bytes into RGB.
 *
 * stb_image is quick but trusting: it fills what a cut file lacks with zeros and reports success.
 * So a file goes through containers.h first, and the caller compares used_bytes with the end that
 * containers.h found. A baseline JPEG that lacks data is noticed here (in a progressive one, which
 * is refined scan by scan, a scan cut before its end marker is not). */
#ifndef SQZ_IMAGE_STB_H
#define SQZ_IMAGE_STB_H

#include "../base/status.h"

/* pixels: [h][w][3], from malloc, the caller's to free; NULL after an error. used_bytes: how far
 * the decoder read. grown_limit_bytes bounds every buffer that stb_image enlarges as it goes,
 * against a PNG whose data unpack to far more than its size. format ("JPEG") and name are for
 * messages. SQZ_BAD_FILE, SQZ_NO_MEMORY. */
sqz_status sqz_stb_decode(sqz_image *image, size_t *used_bytes, const uint8_t *bytes,
                          size_t size_bytes, size_t grown_limit_bytes, const char *format,
                          const char *name, sqz_error *error);

#endif
