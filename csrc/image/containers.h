/* containers.h: is the file whole, and is it one that we read? Looked at before a decoder sees it.
 *
 * Each check walks its format's structure from the first byte to the last without unpacking
 * pixels. What comes back SQZ_OK has all its parts and a size within the limit
 * of sqz_image_set_max_pixels.
 * SQZ_BAD_FILE otherwise, with a sentence that begins with `name`. */
#ifndef SQZ_IMAGE_CONTAINERS_H
#define SQZ_IMAGE_CONTAINERS_H

#include "../base/status.h"

typedef struct {
    int h, w;
    size_t end;               /* past the picture's last byte; what follows is nobody's */
    size_t grown_limit_bytes; /* what unpacking it may take, for sqz_stb_decode */
    int orientation;          /* EXIF's, 1..8; 1 where none is given */
    /* Where the decoder needs help: `insert_count` of these bytes belong at `insert_at`, in place
     * of `replace_count` of the file's. */
    size_t insert_at, replace_count, insert_count;
    uint8_t insert[1280]; /* a BMP's headers and palette */
} sqz_container;

bool sqz_jpeg_is(const uint8_t *bytes, size_t size_bytes);
bool sqz_png_is(const uint8_t *bytes, size_t size_bytes);
bool sqz_bmp_is(const uint8_t *bytes, size_t size_bytes);
sqz_status sqz_jpeg_check(sqz_container *container, const uint8_t *bytes, size_t size_bytes,
                          const char *name, sqz_error *error);
sqz_status sqz_png_check(sqz_container *container, const uint8_t *bytes, size_t size_bytes,
                         const char *name, sqz_error *error);
sqz_status sqz_bmp_check(sqz_container *container, const uint8_t *bytes, size_t size_bytes,
                         const char *name, sqz_error *error);

/* Sets h and w, or says why no picture can have them. */
sqz_status sqz_container_set_size(sqz_container *container, int64_t h, int64_t w, const char *name,
                                  sqz_error *error);

/* Whether they begin a TIFF or a WebP, which sqz_image_set_decoder's function may decode. */
bool sqz_container_is_foreign(const uint8_t *bytes, size_t size_bytes);
/* "is a GIF", "is empty (0 bytes)", "is text", ...: SQZ_BAD_FILE for bytes of none of the three. */
sqz_status sqz_container_refuse(const uint8_t *bytes, size_t size_bytes, const char *name,
                                sqz_error *error);

static inline uint32_t sqz_read_be16(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 8 | bytes[1];
}
static inline uint32_t sqz_read_be32(const uint8_t *bytes) {
    return sqz_read_be16(bytes) << 16 | sqz_read_be16(bytes + 2);
}
static inline uint32_t sqz_read_le16(const uint8_t *bytes) {
    return (uint32_t)bytes[1] << 8 | bytes[0];
}
static inline uint32_t sqz_read_le32(const uint8_t *bytes) {
    return sqz_read_le16(bytes + 2) << 16 | sqz_read_le16(bytes);
}

#endif
