/* pictures.c: a JPEG, PNG or BMP, decoded, made a square by both ways, and normalised: all that
 * happens to a picture before a network sees it. */
#include "harness.h"

enum { MOST_PIXELS = 1 << 18, MOST_SIZE = 64 };
/* What decoding may take: sqz.h says 4 to 20 bytes a pixel; the file is copied once, where its
 * headers are rewritten, and a PNG's data once more. */
enum { BYTES_OF_PIXEL = 20, BYTES_OF_BYTE = 8, BYTES_BESIDE = 1 << 18 };

static void check_square(const sqz_image *image, int size, sqz_fit fit, unsigned flips) {
    static const float mean[] = {0.485f, 0.456f, 0.406f}, std[] = {0.229f, 0.224f, 0.225f};
    size_t count = 3 * (size_t)size * (size_t)size;
    uint8_t *square = malloc(count);
    float *normalised = malloc(count * sizeof *normalised);
    sqz_error error;
    EXPECT(square && normalised);
    EXPECT(sqz_image_fit(square, size, fit, image->pixels, image->h, image->w, &error) == SQZ_OK);
    sqz_image_normalise(normalised, square, size, size, flips, mean, std);
    harness_read(normalised, count * sizeof *normalised);
    free(square);
    free(normalised);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sqz_image image, again;
    sqz_error error;
    EXPECT(sqz_image_set_max_pixels(MOST_PIXELS, &error) == SQZ_OK);
    harness_measure();
    sqz_status status = sqz_image_decode(&image, data, size, "picture", &error);
    EXPECT(harness_peak() <=
           BYTES_OF_PIXEL * MOST_PIXELS + BYTES_OF_BYTE * (int64_t)size + BYTES_BESIDE);
    if (!harness_accepted(status, &error)) {
        EXPECT(!image.pixels);
        EXPECT(sqz_image_read(&again, harness_file(data, size), &error) == status);
        return 0;
    }
    EXPECT(image.h > 0 && image.w > 0 && image.h <= MOST_PIXELS / image.w);
    size_t count = 3 * (size_t)image.h * (size_t)image.w;
    harness_read(image.pixels, count);
    EXPECT(sqz_image_read(&again, harness_file(data, size), &error) == SQZ_OK);
    EXPECT(again.h == image.h && again.w == image.w);
    EXPECT(memcmp(again.pixels, image.pixels, count) == 0);
    sqz_image_free(&again);
    EXPECT(sqz_image_fit(image.pixels, 0, SQZ_FIT_PAD, image.pixels, 1, 1, &error) == SQZ_INVALID);
    int side = 1 + (int)(size % MOST_SIZE); /* any, but the same for the same file */
    check_square(&image, side, SQZ_FIT_PAD, sqz_augment_flips(1, 2, size));
    check_square(&image, side, SQZ_FIT_CROP, sqz_augment_flips(2, 3, size));
    check_square(&image, image.h, SQZ_FIT_CROP, 0);
    sqz_image_free(&image);
    return 0;
}

/* -- Mutations that get past the checks of a PNG ----------------------------------------------- */

static uint32_t read_be32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* RFC 2083, section 15, a bit at a time. */
static uint32_t crc_of(const uint8_t *bytes, size_t count) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

/* A mutated PNG has a wrong CRC, at which reading ends: mostly it gets the right one. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    __msan_unpoison(data, size);
    size = harness_mutate(data, size, max_size);
    if (size < 8 || memcmp(data, "\x89PNG", 4) != 0 || seed % 8 == 0)
        return size;
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = read_be32(data + at);
        if (length > size - at - 12)
            return size;
        uint32_t crc = crc_of(data + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
    return size;
}
