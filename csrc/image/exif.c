/* exif.c: see exif.h. Exif 2.32 (CIPA DC-008-2019): section 4.5.2 the APP1 segment, 4.6.4 the tag
 * Orientation; its structure is TIFF 6.0's: a header, then a directory of 12-byte entries. */
#include "exif.h"

#include <stdlib.h>
#include <string.h>

#include "../base/memory.h"
#include "containers.h"

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, ENTRY_BYTES = 12 };

int sqz_exif_orientation(const uint8_t *segment, size_t size_bytes) {
    if (size_bytes < 6 + 8 || memcmp(segment, "Exif\0", 6) != 0)
        return 0;
    const uint8_t *tiff = segment + 6;
    size_t tiff_bytes = size_bytes - 6;
    bool little = memcmp(tiff, "II*\0", 4) == 0;
    if (!little && memcmp(tiff, "MM\0*", 4) != 0)
        return 0;
    size_t directory = little ? sqz_read_le32(tiff + 4) : sqz_read_be32(tiff + 4);
    if (directory > tiff_bytes - 2)
        return 0;
    const uint8_t *entry = tiff + directory + 2;
    size_t entries = little ? sqz_read_le16(entry - 2) : sqz_read_be16(entry - 2);
    size_t held = (tiff_bytes - directory - 2) / ENTRY_BYTES;
    for (size_t i = 0; i < entries && i < held; i++, entry += ENTRY_BYTES) {
        uint32_t tag = little ? sqz_read_le16(entry) : sqz_read_be16(entry);
        uint32_t type = little ? sqz_read_le16(entry + 2) : sqz_read_be16(entry + 2);
        uint32_t value = little ? sqz_read_le16(entry + 8) : sqz_read_be16(entry + 8);
        if (tag == TAG_ORIENTATION)
            return type == TYPE_SHORT && value >= 1 && value <= 8 ? (int)value : 0;
    }
    return 0;
}

sqz_status sqz_exif_apply(sqz_image *image, int orientation, sqz_error *error) {
    if (orientation <= 1 || orientation > 8)
        return SQZ_OK;
    /* Upright (y, x) is stored at (y, x), or at (x, y) from 5 on, counted from the far end of the
     * stored rows in 3, 4, 6, 7 and of the stored columns in 2, 3, 7, 8. */
    bool transposed = orientation >= 5;
    bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;

    ptrdiff_t row = 3 * (ptrdiff_t)image->w, column = 3;
    const uint8_t *start = image->pixels;
    size_t size_bytes = sqz_size_multiply((size_t)image->h, (size_t)row);
    uint8_t *upright = malloc(size_bytes);
    if (!upright)
        return sqz_fail_memory(error, "a picture to turn", size_bytes);
    if (from_bottom) {
        start += (image->h - 1) * row;
        row = -row;
    }
    if (from_right) {
        start += (image->w - 1) * column;
        column = -column;
    }
    int h = transposed ? image->w : image->h, w = transposed ? image->h : image->w;
    ptrdiff_t step_y = transposed ? column : row, step_x = transposed ? row : column;
    uint8_t *out = upright;
    for (int y = 0; y < h; y++) {
        const uint8_t *in = start + y * step_y;
        for (int x = 0; x < w; x++, in += step_x, out += 3)
            memcpy(out, in, 3);
    }
    free(image->pixels);
    *image = (sqz_image){.h = h, .w = w, .pixels = upright};
    return SQZ_OK;
}
