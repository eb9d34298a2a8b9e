/* decode.c: a picture's bytes, or its file, to upright RGB. The way: which format (containers.h),
 * is it whole, decode (stb.h), did the decoder read all of it, turn upright (exif.h). TIFF and WebP
 * go to the function of sqz_image_set_decoder.
 *
 * PNG and BMP come out as from Pillow's convert("RGB"), but for 16-bit grey (Pillow cuts it at 255;
 * we keep the high byte) and for BMPs of 16 bits a pixel (one level apart in places). JPEGs are
 * equal too, but for roundings, and the last two columns, where chroma is halved across only, and
 * for roundings of CMYK. */
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "containers.h"
#include "exif.h"
#include "stb.h"

/* Enough of a file to tell what it is; and what a file may have: four samples of two bytes a pixel,
 * and so much beside them. */
enum { HEAD_BYTES = 512, MOST_BYTES_OF_PIXEL = 8, MOST_BYTES_BESIDE = 1 << 26 };

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

typedef struct {
    const char *format;
    bool (*is)(const uint8_t *, size_t);
    sqz_status (*check)(sqz_container *, const uint8_t *, size_t, const char *, sqz_error *);
} picture_reader;

/* By the first bytes; NULL for none of the three. */
static const picture_reader *find_reader(const uint8_t *bytes, size_t size_bytes) {
    static const picture_reader readers[] = {{"JPEG", sqz_jpeg_is, sqz_jpeg_check},
                                             {"PNG", sqz_png_is, sqz_png_check},
                                             {"BMP", sqz_bmp_is, sqz_bmp_check}};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i].is(bytes, size_bytes))
            return &readers[i];
    return NULL;
}

/* -- What others decode ------------------------------------------------------------------------ */

static _Atomic(sqz_image_decoder) foreign_decoder;

void sqz_image_set_decoder(sqz_image_decoder decoder) {
    atomic_store(&foreign_decoder, decoder);
}

/* Of a format that is foreign, by the function that was set for these, or NULL. */
static sqz_image_decoder find_decoder(const uint8_t *bytes, size_t size_bytes) {
    return sqz_container_is_foreign(bytes, size_bytes) ? atomic_load(&foreign_decoder) : NULL;
}

static sqz_status decode_foreign(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                                 const char *name, sqz_error *error) {
    sqz_image_decoder decode = find_decoder(bytes, size_bytes);
    if (!decode)
        return sqz_container_refuse(bytes, size_bytes, name, error);
    SQZ_TRY(decode(image, bytes, size_bytes, name, error));
    sqz_container container; /* which the limit is known by */
    sqz_status status = sqz_container_set_size(&container, image->h, image->w, name, error);
    if (status != SQZ_OK)
        sqz_image_free(image);
    return status;
}

/* -- Decoding ---------------------------------------------------------------------------------- */

sqz_status sqz_image_decode(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                            const char *name, sqz_error *error) {
    *image = (sqz_image){0};
    const picture_reader *reader = find_reader(bytes, size_bytes);
    if (!reader)
        return decode_foreign(image, bytes, size_bytes, name, error);
    sqz_container container = {.orientation = 1};
    SQZ_TRY(reader->check(&container, bytes, size_bytes, name, error));
    return decode_checked(image, &container, bytes, reader->format, name, error);
}

/* The file's bytes, to be freed, once its first ones are a picture's. */
static sqz_status read_bytes(uint8_t **bytes, const sqz_file *file, sqz_error *error) {
    uint8_t head[HEAD_BYTES];
    size_t size_bytes = (size_t)file->size_bytes;
    size_t head_bytes = size_bytes < sizeof head ? size_bytes : sizeof head;
    SQZ_TRY(sqz_file_read(file, head, head_bytes, 0, error));
    if (!find_reader(head, head_bytes) && !find_decoder(head, head_bytes))
        return sqz_container_refuse(head, head_bytes, file->path, error);
    *bytes = malloc(size_bytes);
    if (!*bytes)
        return sqz_fail_memory(error, "a picture file", size_bytes);
    memcpy(*bytes, head, head_bytes);
    return sqz_file_read(file, *bytes + head_bytes, size_bytes - head_bytes, (int64_t)head_bytes,
                         error);
}

sqz_status sqz_image_read(sqz_image *image, const char *path, sqz_error *error) {
    sqz_file file;
    uint8_t *bytes = NULL;
    *image = (sqz_image){0};
    int64_t limit_bytes = MOST_BYTES_OF_PIXEL * sqz_image_get_max_pixels() + MOST_BYTES_BESIDE;
    SQZ_TRY(sqz_file_open(&file, path, limit_bytes < INT_MAX ? limit_bytes : INT_MAX, error));
    sqz_status status = read_bytes(&bytes, &file, error);
    sqz_file_close(&file);
    if (status == SQZ_OK)
        status = sqz_image_decode(image, bytes, (size_t)file.size_bytes, path, error);
    free(bytes);
    return status;
}
