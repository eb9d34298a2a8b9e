/* decode.c: a picture's bytes, or its file, to upright RGB. The way: which format (containers.h),
 * is it whole, decode (stb.h), did the decoder read all of it, turn upright (exif.h).
 *
 * PNG and BMP come out as from Pillow's convert("RGB"), but for 16-bit grey (Pillow cuts it at 255;
 * we keep the high byte) and for BMPs of 16 bits a pixel (one level apart in places). JPEGs are
 * equal too, but for roundings, and the last two columns, where chroma is halved across only, and
 * for roundings of CMYK. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "containers.h"
#include "exif.h"
#include "stb.h"

void sqz_image_free(sqz_image *image) {
    free(image->pixels);
    *image = (sqz_image){0};
}

/* The file with the container's bytes inserted, to be freed. */
static sqz_status splice(uint8_t **spliced, size_t *spliced_bytes, const sqz_container *container,
                         const uint8_t *bytes, sqz_error *error) {
    size_t tail = container->insert_at + container->replace_count;
    size_t tail_bytes = container->end - tail;
    *spliced_bytes = container->insert_at + container->insert_count + tail_bytes;
    *spliced = malloc(*spliced_bytes);
    if (!*spliced)
        return sqz_fail_memory(error, "a picture file", *spliced_bytes);
    uint8_t *out = *spliced;
    memcpy(out, bytes, container->insert_at);
    memcpy(out + container->insert_at, container->insert, container->insert_count);
    memcpy(out + container->insert_at + container->insert_count, bytes + tail, tail_bytes);
    return SQZ_OK;
}

static sqz_status decode_checked(sqz_image *image, const sqz_container *container,
                                 const uint8_t *bytes, const char *format, const char *name,
                                 sqz_error *error) {
    uint8_t *spliced = NULL;
    size_t size_bytes = container->end, used_bytes = 0;
    if (container->insert_count) {
        SQZ_TRY(splice(&spliced, &size_bytes, container, bytes, error));
        bytes = spliced;
    }
    sqz_status status = sqz_stb_decode(image, &used_bytes, bytes, size_bytes,
                                       container->grown_limit_bytes, format, name, error);
    free(spliced);
    SQZ_TRY(status);
    if (used_bytes != size_bytes)
        status = sqz_fail(error, SQZ_BAD_FILE,
                          "%s: the %s is damaged (decoding stopped at byte %zu of %zu)", name,
                          format, used_bytes, size_bytes);
    else if (image->h != container->h || image->w != container->w)
        status = sqz_fail(error, SQZ_INTERNAL, "%s: decoded to %d x %d, expected %d x %d", name,
                          image->h, image->w, container->h, container->w);
    else
        status = sqz_exif_apply(image, container->orientation, error);
    if (status != SQZ_OK)
        sqz_image_free(image);
    return status;
}

sqz_status sqz_image_decode(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                            const char *name, sqz_error *error) {
    static const struct {
        const char *format;
        bool (*is)(const uint8_t *, size_t);
        sqz_status (*check)(sqz_container *, const uint8_t *, size_t, const char *, sqz_error *);
    } readers[] = {{"JPEG", sqz_jpeg_is, sqz_jpeg_check},
                   {"PNG", sqz_png_is, sqz_png_check},
                   {"BMP", sqz_bmp_is, sqz_bmp_check}};
    *image = (sqz_image){0};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (!readers[i].is(bytes, size_bytes))
            continue;
        sqz_container container = {.orientation = 1};
        SQZ_TRY(readers[i].check(&container, bytes, size_bytes, name, error));
        return decode_checked(image, &container, bytes, readers[i].format, name, error);
    }
    return sqz_container_refuse(bytes, size_bytes, name, error);
}

/* All bytes of an open file, of which `expected_bytes` are likely; *bytes is freed by the caller,
 * also after an error. */
static sqz_status read_all(uint8_t **bytes, size_t *size_bytes, FILE *file, size_t expected_bytes,
                           const char *path, sqz_error *error) {
    size_t capacity = expected_bytes + 1; /* one more, so that a short read meets the end */
    for (;;) {
        uint8_t *grown = realloc(*bytes, capacity);
        if (!grown)
            return sqz_fail_memory(error, "a picture file", capacity);
        *bytes = grown;
        *size_bytes += fread(grown + *size_bytes, 1, capacity - *size_bytes, file);
        if (ferror(file))
            return sqz_fail_io(error, path, "cannot be read");
        if (*size_bytes < capacity)
            return SQZ_OK;
        if (capacity > SIZE_MAX / 2)
            return sqz_fail_memory(error, "a picture file", SIZE_MAX);
        capacity *= 2;
    }
}

sqz_status sqz_image_read(sqz_image *image, const char *path, sqz_error *error) {
    *image = (sqz_image){0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return sqz_fail_io(error, path, "cannot be opened");
    struct stat about;
    sqz_status status;
    uint8_t *bytes = NULL;
    size_t size_bytes = 0;
    if (fstat(fileno(file), &about) != 0) {
        status = sqz_fail_io(error, path, "cannot be read");
    } else if (S_ISDIR(about.st_mode)) {
        errno = EISDIR;
        status = sqz_fail_io(error, path, "cannot be read");
    } else {
        size_t expected_bytes = about.st_size > 0 ? (size_t)about.st_size : 65536;
        status = read_all(&bytes, &size_bytes, file, expected_bytes, path, error);
    }
    fclose(file);
    if (status == SQZ_OK)
        status = sqz_image_decode(image, bytes, size_bytes, path, error);
    free(bytes);
    return status;
}
