/* containers.c: what the three formats share, and names for the files that are none of them. */
#include "containers.h"

#include <stdatomic.h>
#include <string.h>

static _Atomic int64_t max_pixels = SQZ_IMAGE_DEFAULT_MAX_PIXELS;

sqz_status sqz_image_set_max_pixels(int64_t pixels, sqz_error *error) {
    if (pixels < 1 || pixels > SQZ_IMAGE_MOST_PIXELS)
        return sqz_fail(error, SQZ_INVALID, "max_pixels is %lld, expected 1 to %lld",
                        (long long)pixels, (long long)SQZ_IMAGE_MOST_PIXELS);
    atomic_store(&max_pixels, pixels);
    return SQZ_OK;
}

int64_t sqz_image_get_max_pixels(void) {
    return atomic_load(&max_pixels);
}

sqz_status sqz_container_set_size(sqz_container *container, int64_t h, int64_t w, const char *name,
                                  sqz_error *error) {
    if (h < 1 || w < 1)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: is %lld x %lld pixels, expected at least 1 x 1",
                        name, (long long)w, (long long)h);
    int64_t most = sqz_image_get_max_pixels();
    if (w > most / h)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "%s: is too large (%lld x %lld pixels, expected at most %lld in all, which "
                        "set_max_pixels changes)",
                        name, (long long)w, (long long)h, (long long)most);
    container->h = (int)h; /* a factor of at most SQZ_IMAGE_MOST_PIXELS, which is below INT_MAX */
    container->w = (int)w;
    return SQZ_OK;
}

/* Printable UTF-8 or Latin-1 with the usual white space, as far as 256 bytes go. */
static bool looks_like_text(const uint8_t *bytes, size_t size_bytes) {
    size_t count = size_bytes < 256 ? size_bytes : 256;
    for (size_t i = 0; i < count; i++)
        if (bytes[i] == 0x7F || (bytes[i] < 0x20 && !strchr("\t\n\v\f\r", bytes[i])) ||
            bytes[i] == 0)
            return false;
    return true;
}

/* A letter pattern at a place, and what begins so. */
static const struct {
    size_t at, length;
    const char *pattern, *what;
    bool foreign; /* sqz_container_is_foreign */
} known[] = {{0, 4, "GIF8", "a GIF", false},
             {0, 4, "II*\0", "a TIFF", true},
             {0, 4, "MM\0*", "a TIFF", true},
             {0, 4, "II+\0", "a TIFF", true},
             {0, 4, "MM\0+", "a TIFF", true},
             {8, 4, "WEBP", "a WebP", true},
             {4, 7, "ftypavi", "an AVIF", false}, /* brands avif, avis */
             {4, 7, "ftyphei", "a HEIC", false},  /* heic, heix, heim, heis */
             {4, 7, "ftyphev", "a HEIC", false},
             {4, 8, "ftypmif1", "a HEIC", false},
             {4, 8, "ftypmsf1", "a HEIC", false},
             {4, 4, "jP  ", "a JPEG 2000", false},
             {0, 4, "\xFF\x4F\xFF\x51", "a JPEG 2000", false},
             {4, 4, "JXL ", "a JPEG XL", false},
             {0, 2, "\xFF\x0A", "a JPEG XL", false},
             {128, 4, "DICM", "a DICOM file", false},
             {0, 4, "8BPS", "a Photoshop file", false},
             {0, 5, "%PDF-", "a PDF", false},
             {0, 4, "PK\x03\x04", "a ZIP archive", false},
             {0, 2, "\x1F\x8B", "a gzip archive", false}};
enum { KNOWN_COUNT = sizeof known / sizeof *known };

/* The row of what begins so; KNOWN_COUNT for none. */
static size_t find_known(const uint8_t *bytes, size_t size_bytes) {
    size_t i = 0;
    while (i < KNOWN_COUNT && (size_bytes < known[i].at + known[i].length ||
                               memcmp(bytes + known[i].at, known[i].pattern, known[i].length) != 0))
        i++;
    return i;
}

bool sqz_container_is_foreign(const uint8_t *bytes, size_t size_bytes) {
    size_t row = find_known(bytes, size_bytes);
    return row < KNOWN_COUNT && known[row].foreign;
}

sqz_status sqz_container_refuse(const uint8_t *bytes, size_t size_bytes, const char *name,
                                sqz_error *error) {
    if (size_bytes == 0)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: is empty (0 bytes), expected JPEG, PNG or BMP",
                        name);
    size_t row = find_known(bytes, size_bytes);
    const char *what = row < KNOWN_COUNT ? known[row].what : NULL;
    if (!what && looks_like_text(bytes, size_bytes))
        what = memchr(bytes, '<', size_bytes < 16 ? size_bytes : 16) ? "HTML or XML" : "text";
    if (!what)
        return sqz_fail(error, SQZ_BAD_FILE, "%s: is not a picture, expected JPEG, PNG or BMP",
                        name);
    return sqz_fail(error, SQZ_BAD_FILE, "%s: is %s, expected JPEG, PNG or BMP", name, what);
}
