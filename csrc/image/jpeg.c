/* jpeg.c: is a JPEG whole? ITU-T T.81, annex B: a stream of markers, 0xFF and a code, most followed
 * by a segment with a 2-byte big-endian length (its own two bytes included); after a scan header
 * come entropy-coded bytes up to the next marker, in which a data byte 0xFF is written 0xFF 0x00.
 * The stream must end with its end marker: where that is missing, bytes are missing. */
#include <string.h>

#include "containers.h"
#include "exif.h"

enum {
    SOF0 = 0xC0, /* baseline */
    SOF1 = 0xC1, /* extended sequential */
    SOF2 = 0xC2, /* progressive */
    DHT = 0xC4,
    JPG = 0xC8,
    SOF9 = 0xC9,
    SOF15 = 0xCF,
    RST0 = 0xD0,
    RST7 = 0xD7,
    SOI = 0xD8,
    EOI = 0xD9,
    SOS = 0xDA,
    DRI = 0xDD,
    APP1 = 0xE1,
    APP14 = 0xEE,
    SOF55 = 0xF7, /* JPEG-LS, ITU-T T.87 */
    MAX_COMPONENTS = 4
};

/* A decoder visits every block of a scan, however few bytes the scan has: a run of up to 32767
 * blocks without AC coefficients is one code. So what all scans visit is bounded by a multiple of
 * the picture's blocks and the file's bytes. libjpeg's progressive files visit a block 6 times. */
enum { MOST_VISITS = 16, MOST_BLOCKS_IN_RUN = 32767, LEAST_BITS_OF_RUN = 15 };

typedef struct {
    int id, across, down; /* sampling factors */
    bool scanned;
} jpeg_component;

typedef struct {
    const uint8_t *bytes;
    size_t size_bytes, at;
    const char *name;
    sqz_error *error;
    sqz_container *container;
    bool progressive;
    int component_count; /* 0 before the frame header */
    jpeg_component components[MAX_COMPONENTS];
    int most_across, most_down;
    uint32_t restart_interval; /* units between restart markers, 0: none */
    uint64_t visits;           /* blocks of all scans so far */
    int adobe_transform;       /* of Adobe's APP14, -1 without */
} jpeg_walk;

bool sqz_jpeg_is(const uint8_t *bytes, size_t size_bytes) {
    return size_bytes >= 3 && bytes[0] == 0xFF && bytes[1] == SOI && bytes[2] == 0xFF;
}

static sqz_status cut_short(const jpeg_walk *walk, const char *missing) {
    return sqz_fail(walk->error, SQZ_BAD_FILE, "%s: the JPEG is cut short (%s in %zu bytes)",
                    walk->name, missing, walk->size_bytes);
}

static sqz_status damaged(const jpeg_walk *walk, const char *what) {
    return sqz_fail(walk->error, SQZ_BAD_FILE, "%s: the JPEG is damaged (%s near byte %zu)",
                    walk->name, what, walk->at);
}

static sqz_status unsupported(const jpeg_walk *walk, const char *kind) {
    return sqz_fail(walk->error, SQZ_BAD_FILE,
                    "%s: is %s JPEG, expected a baseline or progressive one of 8 bits", walk->name,
                    kind);
}

/* NULL for the frame headers we read and for markers that are none. */
static const char *unsupported_kind(int marker) {
    if (marker == SOF55)
        return "a JPEG-LS and not a";
    if (marker < 0xC3 || marker > SOF15 || marker == DHT)
        return NULL;
    if (marker == 0xC3)
        return "a lossless";
    if (marker == JPG)
        return "an extended";
    return marker >= SOF9 ? "an arithmetic-coded" : "a hierarchical";
}

static sqz_status read_frame_header(jpeg_walk *walk, const uint8_t *segment, size_t length) {
    if (walk->component_count)
        return damaged(walk, "a second frame header");
    if (length < 6)
        return damaged(walk, "a short frame header");
    if (segment[0] == 12)
        return unsupported(walk, "a 12-bit");
    if (segment[0] != 8)
        return damaged(walk, "an impossible sample depth");
    int count = segment[5];
    if (count != 1 && count != 3 && count != 4)
        return sqz_fail(walk->error, SQZ_BAD_FILE,
                        "%s: the JPEG has %d colour components, expected 1, 3 or 4", walk->name,
                        count);
    if (length != 6 + 3 * (size_t)count)
        return damaged(walk, "a frame header of the wrong length");
    SQZ_TRY(sqz_container_set_size(walk->container, sqz_read_be16(segment + 1),
                                   sqz_read_be16(segment + 3), walk->name, walk->error));
    for (int i = 0; i < count; i++) {
        const uint8_t *entry = segment + 6 + 3 * i;
        jpeg_component *component = &walk->components[i];
        component->id = entry[0];
        component->across = entry[1] >> 4;
        component->down = entry[1] & 15;
        if (component->across < 1 || component->across > 4 || component->down < 1 ||
            component->down > 4)
            return damaged(walk, "an impossible sampling factor");
        if (walk->most_across < component->across)
            walk->most_across = component->across;
        if (walk->most_down < component->down)
            walk->most_down = component->down;
    }
    walk->component_count = count;
    return SQZ_OK;
}

/* Units of one scan: blocks of 8x8 samples where it has one component, else blocks of as many of
 * each component as its sampling factors say (T.81, A.2). */
static uint64_t count_units(const jpeg_walk *walk, const jpeg_component *only) {
    uint64_t h = (uint64_t)walk->container->h, w = (uint64_t)walk->container->w;
    uint64_t most_across = (uint64_t)walk->most_across, most_down = (uint64_t)walk->most_down;
    uint64_t unit_w = 8 * most_across, unit_h = 8 * most_down;
    if (only) {
        w = (w * (uint64_t)only->across + most_across - 1) / most_across;
        h = (h * (uint64_t)only->down + most_down - 1) / most_down;
        unit_w = unit_h = 8;
    }
    return (w + unit_w - 1) / unit_w * ((h + unit_h - 1) / unit_h);
}

/* Past the entropy-coded bytes of a scan, counting its restart markers. */
static sqz_status skip_entropy(jpeg_walk *walk, uint64_t *restarts) {
    *restarts = 0;
    for (;;) {
        const uint8_t *found = walk->at < walk->size_bytes ? memchr(walk->bytes + walk->at, 0xFF,
                                                                    walk->size_bytes - walk->at)
                                                           : NULL;
        if (!found || (size_t)(found - walk->bytes) + 1 >= walk->size_bytes)
            return cut_short(walk, "no end marker");
        walk->at = (size_t)(found - walk->bytes);
        int code = found[1];
        if (code >= RST0 && code <= RST7)
            ++*restarts;
        else if (code == 0xFF) { /* a fill byte */
            walk->at += 1;
            continue;
        } else if (code != 0)
            return SQZ_OK;
        walk->at += 2;
    }
}

/* Finds the scan's components and what they have in a unit: *only is its component where it has
 * one, and *unit_blocks the blocks. A component counts as scanned once it
 * has a scan with DC, which comes first and costs bytes. */
static sqz_status find_scanned(jpeg_walk *walk, const uint8_t *segment, bool has_dc,
                               const jpeg_component **only, uint64_t *unit_blocks) {
    bool in_scan[MAX_COMPONENTS] = {false};
    *unit_blocks = 0;
    for (int i = 0; i < segment[0]; i++) {
        int j = 0;
        while (j < walk->component_count && walk->components[j].id != segment[1 + 2 * i])
            j++;
        if (j == walk->component_count)
            return damaged(walk, "a scan of an unknown component");
        jpeg_component *component = &walk->components[j];
        if (in_scan[j] || (component->scanned && !walk->progressive))
            return damaged(walk, "a colour component scanned twice");
        in_scan[j] = true;
        component->scanned = component->scanned || has_dc;
        *only = segment[0] == 1 ? component : NULL;
        *unit_blocks += *only ? 1 : (uint64_t)(component->across * component->down);
    }
    return SQZ_OK;
}

/* Every block of a scan takes a bit at least: its DC difference's code, or a bit that refines it;
 * a sequential one a second, the code of the last AC coefficient. Only AC scans have runs. */
static uint64_t least_scan_bits(const jpeg_walk *walk, uint64_t blocks, bool has_dc) {
    if (!walk->progressive)
        return 2 * blocks;
    return has_dc ? blocks : blocks / MOST_BLOCKS_IN_RUN * LEAST_BITS_OF_RUN;
}

static uint64_t count_blocks(const jpeg_walk *walk) {
    uint64_t blocks = 0;
    for (int i = 0; i < walk->component_count; i++)
        blocks += count_units(walk, &walk->components[i]);
    return blocks;
}

static sqz_status read_scan(jpeg_walk *walk, const uint8_t *segment, size_t length) {
    if (!walk->component_count)
        return damaged(walk, "a scan before the frame header");
    if (length < 1 || length != 4 + 2 * (size_t)segment[0] || segment[0] < 1 ||
        segment[0] > walk->component_count)
        return damaged(walk, "a scan header of the wrong length");
    bool has_dc = !walk->progressive || segment[1 + 2 * segment[0]] == 0;
    const jpeg_component *only = NULL;
    uint64_t unit_blocks, restarts, expected = 0;
    SQZ_TRY(find_scanned(walk, segment, has_dc, &only, &unit_blocks));
    uint64_t units = count_units(walk, only), blocks = units * unit_blocks;
    size_t start = walk->at;
    SQZ_TRY(skip_entropy(walk, &restarts));
    uint64_t scan_bytes = (uint64_t)(walk->at - start) - 2 * restarts;
    uint64_t least_bytes = (least_scan_bits(walk, blocks, has_dc) + 7) / 8;
    if (scan_bytes < least_bytes)
        return sqz_fail(walk->error, SQZ_BAD_FILE,
                        "%s: the JPEG is cut short (the scan that ends at byte %zu has %llu bytes, "
                        "needs at least %llu)",
                        walk->name, walk->at, (unsigned long long)scan_bytes,
                        (unsigned long long)least_bytes);
    walk->visits += blocks;
    if (walk->visits > MOST_VISITS * (count_blocks(walk) + walk->size_bytes))
        return damaged(walk, "far more scans than its size and its data have use for");
    if (walk->restart_interval)
        expected = (units - 1) / walk->restart_interval;
    /* Some encoders also end the scan with one. */
    if (restarts < expected || restarts > expected + 1)
        return sqz_fail(walk->error, SQZ_BAD_FILE,
                        "%s: the JPEG is damaged (%llu restart markers in the scan that ends at "
                        "byte %zu, expected %llu)",
                        walk->name, (unsigned long long)restarts, walk->at,
                        (unsigned long long)expected);
    return SQZ_OK;
}

/* The next marker; fill bytes 0xFF may stand before its code. */
static sqz_status read_marker(jpeg_walk *walk, int *marker) {
    if (walk->at < walk->size_bytes && walk->bytes[walk->at] != 0xFF)
        return damaged(walk, "no marker where one belongs");
    while (walk->at < walk->size_bytes && walk->bytes[walk->at] == 0xFF)
        walk->at++;
    if (walk->at >= walk->size_bytes)
        return cut_short(walk, "no end marker");
    *marker = walk->bytes[walk->at++];
    return SQZ_OK;
}

/* One segment's contents, `length` bytes; walk->at is already past it. */
static sqz_status read_segment(jpeg_walk *walk, int marker, const uint8_t *segment, size_t length) {
    const char *kind = unsupported_kind(marker);
    if (kind)
        return unsupported(walk, kind);
    switch (marker) {
    case SOF0:
    case SOF1:
    case SOF2:
        walk->progressive = marker == SOF2;
        return read_frame_header(walk, segment, length);
    case SOS:
        return read_scan(walk, segment, length);
    case DRI:
        if (length != 2)
            return damaged(walk, "a restart interval of the wrong length");
        walk->restart_interval = sqz_read_be16(segment);
        return SQZ_OK;
    case APP1:
        if (walk->container->orientation == 0)
            walk->container->orientation = sqz_exif_orientation(segment, length);
        return SQZ_OK;
    case APP14:
        if (length >= 12 && memcmp(segment, "Adobe", 5) == 0)
            walk->adobe_transform = segment[11];
        return SQZ_OK;
    default:
        return SQZ_OK; /* tables, comments, other applications: the decoder's */
    }
}

/* Four components are CMYK, inverted as Adobe writes it (transform 0), or YCCK (2). The decoder
 * takes a file without Adobe's segment for YCbCr; tell it otherwise, as Pillow reads such files. */
static sqz_status settle_colours(jpeg_walk *walk) {
    static const uint8_t adobe_cmyk[] = {0xFF, APP14, 0,   14, 'A', 'd', 'o', 'b',
                                         'e',  0,     100, 0,  0,   0,   0,   0};
    if (walk->component_count != 4)
        return SQZ_OK;
    if (walk->adobe_transform > 0 && walk->adobe_transform != 2)
        return sqz_fail(walk->error, SQZ_BAD_FILE,
                        "%s: the JPEG has 4 colour components with Adobe's transform %d, expected "
                        "0 or 2",
                        walk->name, walk->adobe_transform);
    if (walk->adobe_transform < 0) {
        walk->container->insert_at = 2;
        walk->container->insert_count = sizeof adobe_cmyk;
        memcpy(walk->container->insert, adobe_cmyk, sizeof adobe_cmyk);
    }
    return SQZ_OK;
}

static sqz_status finish(jpeg_walk *walk) {
    if (!walk->component_count)
        return damaged(walk, "no picture before the end marker");
    for (int i = 0; i < walk->component_count; i++)
        if (!walk->components[i].scanned)
            return damaged(walk, "a colour component without data");
    walk->container->end = walk->at;
    if (walk->container->orientation == 0)
        walk->container->orientation = 1;
    return settle_colours(walk);
}

sqz_status sqz_jpeg_check(sqz_container *container, const uint8_t *bytes, size_t size_bytes,
                          const char *name, sqz_error *error) {
    jpeg_walk walk = {.bytes = bytes,
                      .size_bytes = size_bytes,
                      .at = 2,
                      .name = name,
                      .error = error,
                      .container = container,
                      .most_across = 1,
                      .most_down = 1,
                      .adobe_transform = -1};
    container->orientation = 0;
    for (;;) {
        int marker = 0;
        SQZ_TRY(read_marker(&walk, &marker));
        if (marker == EOI)
            return finish(&walk);
        if (marker < SOF0 || (marker >= RST0 && marker <= SOI))
            return damaged(&walk, "a marker out of place");
        if (size_bytes - walk.at < 2)
            return cut_short(&walk, "no end marker");
        size_t length = sqz_read_be16(bytes + walk.at);
        if (length < 2)
            return damaged(&walk, "a segment shorter than its length");
        if (length > size_bytes - walk.at)
            return cut_short(&walk, "a segment reaches past the end");
        const uint8_t *segment = bytes + walk.at + 2;
        walk.at += length;
        SQZ_TRY(read_segment(&walk, marker, segment, length - 2));
    }
}
