/* bmp.c: is a BMP whole? A 14-byte file header, an information header that begins with its own
 * size, masks or a palette, then rows padded to 4 bytes. Layouts: Microsoft's BITMAPFILEHEADER,
 * BITMAPCOREHEADER (12 bytes), BITMAPINFOHEADER (40), its V3 (56), V4 (108) and V5 (124). */
#include <string.h>

#include "containers.h"

enum {
    FILE_HEADER_BYTES = 14,
    OFFSET_AT = 10,
    CORE_HEADER_BYTES = 12,
    INFO_HEADER_BYTES = 40,
    MASK_BYTES = 12
};
enum { BI_RGB = 0, BI_BITFIELDS = 3 };

bool sqz_bmp_is(const uint8_t *bytes, size_t size_bytes) {
    return size_bytes >= 2 && bytes[0] == 'B' && bytes[1] == 'M';
}

static bool header_is_known(uint32_t header_bytes) {
    return header_bytes == CORE_HEADER_BYTES || header_bytes == INFO_HEADER_BYTES ||
           header_bytes == 56 || header_bytes == 108 || header_bytes == 124;
}

static sqz_status cut_short(size_t size_bytes, uint64_t needed, const char *name,
                            sqz_error *error) {
    return sqz_fail(error, SQZ_BAD_FILE, "%s: the BMP is cut short (%zu bytes, needs %llu)", name,
                    size_bytes, (unsigned long long)needed);
}

/* Hand the decoder the headers (up to headers_end) in place of all before `data`, followed by
 * `added` bytes, with the data's new offset. */
static void replace_headers(sqz_container *container, const uint8_t *bytes, size_t headers_end,
                            size_t added, size_t data) {
    size_t kept = headers_end - OFFSET_AT;
    container->insert_at = OFFSET_AT;
    container->replace_count = data - OFFSET_AT;
    container->insert_count = kept + added;
    memset(container->insert, 0, container->insert_count);
    memcpy(container->insert, bytes + OFFSET_AT, kept);
    for (int i = 0; i < 4; i++)
        container->insert[i] = (uint8_t)((headers_end + added) >> 8 * i);
}

/* The decoder takes all between headers and data for the palette, counts 12 bytes too few of it
 * after a core header, and leaves what a pixel may name beyond it to chance. Hand it 256 colours,
 * black past the file's own. */
static void complete_palette(sqz_container *container, const uint8_t *bytes, size_t headers_end,
                             size_t data, bool core) {
    size_t colour_bytes = core ? 3 : 4, all = 256 * colour_bytes, found = data - headers_end;
    replace_headers(container, bytes, headers_end, all + (core ? 12 : 0), data);
    found = found < all ? found / colour_bytes * colour_bytes : all;
    memcpy(container->insert + (headers_end - OFFSET_AT), bytes + headers_end, found);
}

sqz_status sqz_bmp_check(sqz_container *container, const uint8_t *bytes, size_t size_bytes,
                         const char *name, sqz_error *error) {
    if (size_bytes < FILE_HEADER_BYTES + 4)
        return cut_short(size_bytes, FILE_HEADER_BYTES + CORE_HEADER_BYTES, name, error);
    uint64_t data = sqz_read_le32(bytes + OFFSET_AT);
    const uint8_t *header = bytes + FILE_HEADER_BYTES;
    uint32_t header_bytes = sqz_read_le32(header);
    if (!header_is_known(header_bytes))
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the BMP has a header of %u bytes, expected 12, 40, 56, 108 or 124",
                        name, (unsigned)header_bytes);
    uint64_t headers_end = FILE_HEADER_BYTES + (uint64_t)header_bytes;
    if (size_bytes < headers_end)
        return cut_short(size_bytes, headers_end, name, error);

    bool core = header_bytes == CORE_HEADER_BYTES;
    int64_t w = core ? (int64_t)sqz_read_le16(header + 4) : (int32_t)sqz_read_le32(header + 4);
    int64_t h = core ? (int64_t)sqz_read_le16(header + 6) : (int32_t)sqz_read_le32(header + 8);
    uint64_t bits = sqz_read_le16(header + (core ? 10 : 14));
    uint32_t compression = core ? BI_RGB : sqz_read_le32(header + 16);
    /* A negative height says that the top row comes first. */
    SQZ_TRY(sqz_container_set_size(container, h < 0 ? -h : h, w, name, error));
    if (compression != BI_RGB && compression != BI_BITFIELDS)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the BMP is compressed (method %u), which is not supported", name,
                        (unsigned)compression);
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the BMP has %llu bits a pixel, expected 1, 4, 8, 16, 24 or 32", name,
                        (unsigned long long)bits);
    if (compression == BI_BITFIELDS && header_bytes == INFO_HEADER_BYTES)
        headers_end += MASK_BYTES;
    if (data < headers_end)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the BMP's data begin at byte %llu, within its header of %llu", name,
                        (unsigned long long)data, (unsigned long long)headers_end);
    uint64_t row_bytes = ((uint64_t)container->w * bits + 31) / 32 * 4;
    uint64_t end = data + row_bytes * (uint64_t)container->h;
    if (end > size_bytes)
        return cut_short(size_bytes, end, name, error);
    container->end = (size_t)end;
    if (bits < 16 && data == headers_end)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: the BMP has no palette", name);
    if (bits < 16)
        complete_palette(container, bytes, (size_t)headers_end, (size_t)data, core);
    else if (data > headers_end) /* a gap, which the decoder would skip twice */
        replace_headers(container, bytes, (size_t)headers_end, 0, (size_t)data);
    return SQZ_OK;
}
