/* png.c: is a PNG whole? PNG 1.2 (RFC 2083): an 8-byte signature, then chunks of a 4-byte
 * big-endian length, a 4-byte type, the data, and a CRC-32 of type and data. */
#include <string.h>

#include "../base/memory.h"
#include "containers.h"

enum { SIGNATURE_BYTES = 8, CHUNK_BYTES = 12, HEADER_BYTES = 13, PALETTE_BYTES = 3 * 256 };

static const uint8_t signature[SIGNATURE_BYTES] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

typedef struct {
    uint32_t length;
    const uint8_t *type; /* four letters; the data follow */
    const uint8_t *data;
} png_chunk;

bool sqz_png_is(const uint8_t *bytes, size_t size_bytes) {
    size_t compared = size_bytes < SIGNATURE_BYTES ? size_bytes : SIGNATURE_BYTES;
    return compared >= 4 && memcmp(bytes, signature, compared) == 0;
}

/* RFC 2083, section 15: the CRC of ISO 3309, four bits at a time. */
static uint32_t crc32_of(const uint8_t *bytes, size_t count) {
    uint32_t table[16];
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 4; bit++)
            value = value & 1 ? value >> 1 ^ 0xEDB88320u : value >> 1;
        table[i] = value;
    }
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static bool type_is(const png_chunk *chunk, const char *type) {
    return memcmp(chunk->type, type, 4) == 0;
}

/* The chunk at `at`, whole and, where a decoder cannot do without it, with its right CRC. */
static sqz_status read_chunk(png_chunk *chunk, const uint8_t *bytes, size_t size_bytes, size_t at,
                             const char *name, sqz_error *error) {
    size_t left = size_bytes - at;
    if (left < CHUNK_BYTES)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: the PNG is cut short (no end chunk in %zu bytes)",
                        name, size_bytes);
    chunk->length = sqz_read_be32(bytes + at);
    chunk->type = bytes + at + 4;
    chunk->data = bytes + at + 8;
    for (int i = 0; i < 4; i++) {
        uint8_t letter = chunk->type[i] | 0x20;
        if (letter < 'a' || letter > 'z')
            return sqz_fail(error, SQZ_BAD_FILE, "%s: the PNG is damaged (no chunk at byte %zu)",
                            name, at);
    }
    if (chunk->length > left - CHUNK_BYTES)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the PNG is cut short (the %.4s chunk at byte %zu needs %zu bytes, %zu "
                        "are left)",
                        name, (const char *)chunk->type, at, (size_t)chunk->length + CHUNK_BYTES,
                        left);
    bool critical = !(chunk->type[0] & 0x20);
    if (critical && crc32_of(chunk->type, chunk->length + (size_t)4) !=
                        sqz_read_be32(chunk->data + chunk->length))
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the PNG is damaged (wrong CRC in the %.4s chunk at byte %zu)", name,
                        (const char *)chunk->type, at);
    return SQZ_OK;
}

static sqz_status read_header(sqz_container *container, const png_chunk *header, const char *name,
                              sqz_error *error) {
    if (!type_is(header, "IHDR") || header->length != HEADER_BYTES)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: the PNG begins with a %.4s chunk of %u bytes, expected IHDR of %d",
                        name, (const char *)header->type, (unsigned)header->length, HEADER_BYTES);
    SQZ_TRY(sqz_container_set_size(container, sqz_read_be32(header->data + 4),
                                   sqz_read_be32(header->data), name, error));
    /* At most four samples of two bytes a pixel, a filter byte a row, and, interlaced, seven passes
     * that each round up; then once more, since the decoder doubles what it grows. */
    size_t h = (size_t)container->h, w = (size_t)container->w;
    container->grown_limit_bytes = 2 * (8 * (h + 8) * (w + 8) + 8 * (h + 8));
    return SQZ_OK;
}

/* The decoder keeps room for 256 colours and fills what the file has; a pixel may name another.
 * Hand it all 256, black past the file's own. */
static void complete_palette(sqz_container *container, const png_chunk *palette, size_t at) {
    if (palette->length >= PALETTE_BYTES || palette->length % 3 || container->insert_count)
        return;
    container->insert_at = at;
    container->replace_count = palette->length + (size_t)CHUNK_BYTES;
    container->insert_count = PALETTE_BYTES + CHUNK_BYTES;
    uint8_t *out = container->insert;
    memset(out, 0, container->insert_count);
    out[2] = PALETTE_BYTES >> 8;
    memcpy(out + 4, "PLTE", 4);
    memcpy(out + 8, palette->data, palette->length);
}

sqz_status sqz_png_check(sqz_container *container, const uint8_t *bytes, size_t size_bytes,
                         const char *name, sqz_error *error) {
    png_chunk chunk;
    size_t at = SIGNATURE_BYTES;
    bool has_data = false;
    if (size_bytes < SIGNATURE_BYTES)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: the PNG is cut short (%zu bytes)", name,
                        size_bytes);
    SQZ_TRY(read_chunk(&chunk, bytes, size_bytes, at, name, error));
    SQZ_TRY(read_header(container, &chunk, name, error));
    int colour_type = chunk.data[9];
    for (;;) {
        at += chunk.length + (size_t)CHUNK_BYTES;
        SQZ_TRY(read_chunk(&chunk, bytes, size_bytes, at, name, error));
        if (type_is(&chunk, "IEND"))
            break;
        if (type_is(&chunk, "IDAT"))
            has_data = true;
        else if (type_is(&chunk, "PLTE") && colour_type == 3)
            complete_palette(container, &chunk, at);
        else if (!(chunk.type[0] & 0x20) && !type_is(&chunk, "PLTE"))
            return sqz_fail(error, SQZ_BAD_FILE,
                            "%s: the PNG has a %.4s chunk at byte %zu, which is not supported",
                            name, (const char *)chunk.type, at);
    }
    if (!has_data)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: the PNG has no picture data (IDAT chunk)", name);
    container->end = at + CHUNK_BYTES;
    if (container->grown_limit_bytes < 2 * size_bytes + 8192)
        container->grown_limit_bytes = 2 * size_bytes + 8192; /* all IDAT chunks joined */
    return SQZ_OK;
}
