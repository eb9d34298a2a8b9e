/* test_image.c: pictures through the C interface alone; the files are built or held here. What
 * Pillow has to say about them is in test_image.py. */
#include <stdlib.h>

#include "check.h"

void test_image(void);

/* A 2 x 2 grey JPEG of one block, all of value 200: DQT of ones, one code in each Huffman table, DC
 * difference 8 * (200 - 128) = 576, end of block. */
static const uint8_t jpeg_head[] = {0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0};
static const uint8_t jpeg_tail[] = {
    0xFF, 0xC0, 0, 11, 8,    0, 2,    0, 3,  1, 1, 0x11, 0, /* 3 wide, 2 high */
    0xFF, 0xC4, 0, 20, 0x00, 1, 0,    0, 0,  0, 0, 0,    0,
    0,    0,    0, 0,  0,    0, 0,    0, 10, /* DC: 0 -> 10 */
    0xFF, 0xC4, 0, 20, 0x10, 1, 0,    0, 0,  0, 0, 0,    0,
    0,    0,    0, 0,  0,    0, 0,    0, 0,     /* AC: 0 -> end */
    0xFF, 0xDA, 0, 8,  1,    1, 0x00, 0, 63, 0, /* the scan */
    0x48, 0x0F,                                 /* 0, 1001000000, 0, then ones: 576 in 10 bits */
    0xFF, 0xD9};

/* The JPEG with `extra` bytes after its start marker, in a buffer of exactly its size. */
static uint8_t *make_jpeg(const uint8_t *extra, size_t extra_bytes, size_t *size_bytes) {
    *size_bytes = sizeof jpeg_head + 64 + sizeof jpeg_tail + extra_bytes;
    uint8_t *bytes = malloc(*size_bytes), *out = bytes;
    memcpy(out, jpeg_head, 2);
    out += 2;
    if (extra_bytes)
        memcpy(out, extra, extra_bytes);
    out += extra_bytes;
    memcpy(out, jpeg_head + 2, sizeof jpeg_head - 2);
    out += sizeof jpeg_head - 2;
    memset(out, 1, 64);
    memcpy(out + 64, jpeg_tail, sizeof jpeg_tail);
    return bytes;
}

/* A 3 x 2 BMP of 24 bits; blue, green and red of pixel i (from the top) are 10i, 10i + 1, 10i + 2.
 */
static size_t make_bmp(uint8_t bytes[54 + 24]) {
    memset(bytes, 0, 54 + 24);
    memcpy(bytes, "BM", 2);
    bytes[10] = 54;
    bytes[14] = 40;
    bytes[18] = 3;
    bytes[22] = 2;
    bytes[26] = 1;
    bytes[28] = 24;
    for (int y = 0; y < 2; y++)
        for (int i = 0; i < 9; i++)
            bytes[54 + 12 * (1 - y) + i] = (uint8_t)(10 * (3 * y + i / 3) + i % 3);
    return 54 + 24;
}

/* Decodes a copy that ends where the bytes end, so that a sanitizer sees every read past them. */
static sqz_status decode_exactly(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                                 sqz_error *error) {
    uint8_t *copy = malloc(size_bytes ? size_bytes : 1);
    memcpy(copy, bytes, size_bytes);
    sqz_status status = sqz_image_decode(image, copy, size_bytes, "copy", error);
    free(copy);
    return status;
}

static void test_decode(void) {
    sqz_image image;
    sqz_error error;
    uint8_t bmp[54 + 24];
    size_t bmp_bytes = make_bmp(bmp);
    CHECK_OK(sqz_image_decode(&image, bmp, bmp_bytes, "bmp", &error), error);
    CHECK(image.h == 2 && image.w == 3);
    for (int i = 0; image.pixels && i < 6; i++)
        for (int c = 0; c < 3; c++)
            CHECK(image.pixels[3 * i + c] == 10 * i + 2 - c);
    sqz_image_free(&image);
    CHECK(image.pixels == NULL);
    sqz_image_free(&image); /* twice is allowed */

    size_t jpeg_bytes;
    uint8_t *jpeg = make_jpeg(NULL, 0, &jpeg_bytes);
    CHECK_OK(sqz_image_decode(&image, jpeg, jpeg_bytes, "jpeg", &error), error);
    CHECK(image.h == 2 && image.w == 3);
    for (int i = 0; image.pixels && i < 18; i++)
        CHECK(image.pixels[i] == 200);
    sqz_image_free(&image);
    free(jpeg);
}

static void test_orientation(void) {
    /* APP1 of 34 bytes: Exif, big-endian TIFF, one entry, Orientation = 6 (lies on its side). */
    static const uint8_t exif[] = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,    'M', 'M',
                                   0,    42,   0, 0,  0,   8,   0,   1,   1, 0x12, 0,   3,
                                   0,    0,    0, 1,  0,   6,   0,   0,   0, 0,    0,   0};
    sqz_image image;
    sqz_error error;
    size_t jpeg_bytes;
    uint8_t *jpeg = make_jpeg(exif, sizeof exif, &jpeg_bytes);
    CHECK_OK(sqz_image_decode(&image, jpeg, jpeg_bytes, "jpeg", &error), error);
    CHECK(image.h == 3 && image.w == 2);
    sqz_image_free(&image);
    for (size_t size = 0; size < jpeg_bytes; size++) {
        CHECK(decode_exactly(&image, jpeg, size, &error) == SQZ_BAD_FILE);
        CHECK(image.pixels == NULL);
    }
    free(jpeg);
}

/* Of the bytes of a "TIFF" a picture of as many rows as the fifth says, 1 pixel wide. */
static sqz_status decode_tiff(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                              const char *name, sqz_error *error) {
    (void)size_bytes;
    (void)name;
    (void)error;
    image->h = bytes[4];
    image->w = 1;
    image->pixels = calloc((size_t)image->h + 1, 3);
    return image->pixels ? SQZ_OK : SQZ_NO_MEMORY;
}

static void test_foreign(void) {
    static const uint8_t tiff[5] = {'I', 'I', '*', 0, 7}, webp[13] = "RIFF\0...WEBP";
    sqz_image image;
    sqz_error error;
    CHECK_FAILS(sqz_image_decode(&image, tiff, 5, "f", &error), error, SQZ_BAD_FILE,
                "f: is a TIFF, expected");
    sqz_image_set_decoder(decode_tiff);
    CHECK_OK(sqz_image_decode(&image, tiff, 5, "f", &error), error);
    CHECK(image.h == 7 && image.w == 1);
    sqz_image_free(&image);
    CHECK_FAILS(sqz_image_decode(&image, (const uint8_t *)"GIF89a", 6, "f", &error), error,
                SQZ_BAD_FILE, "f: is a GIF, expected");
    CHECK_FAILS(sqz_image_decode(&image, webp, sizeof webp, "f", &error), error, SQZ_BAD_FILE,
                "f: is 1 x 0 pixels");
    CHECK_OK(sqz_image_set_max_pixels(6, &error), error);
    CHECK_FAILS(sqz_image_decode(&image, tiff, 5, "f", &error), error, SQZ_BAD_FILE,
                "f: is too large (1 x 7 pixels");
    CHECK(image.pixels == NULL);
    CHECK_OK(sqz_image_set_max_pixels(SQZ_IMAGE_DEFAULT_MAX_PIXELS, &error), error);
    sqz_image_set_decoder(NULL);
    CHECK(sqz_image_decode(&image, tiff, 5, "f", NULL) == SQZ_BAD_FILE);
}

static void test_bad_files(void) {
    sqz_image image;
    sqz_error error;
    uint8_t bmp[54 + 24];
    size_t bmp_bytes = make_bmp(bmp);
    for (size_t size = 0; size < bmp_bytes; size++) {
        CHECK(decode_exactly(&image, bmp, size, &error) == SQZ_BAD_FILE);
        CHECK(image.pixels == NULL);
    }
    CHECK_FAILS(sqz_image_decode(&image, bmp, 60, "f", &error), error, SQZ_BAD_FILE,
                "f: the BMP is cut short (60 bytes, needs 78)");
    CHECK_FAILS(sqz_image_decode(&image, bmp, 0, "f", &error), error, SQZ_BAD_FILE,
                "f: is empty (0 bytes), expected JPEG, PNG or BMP");
    CHECK_FAILS(sqz_image_decode(&image, (const uint8_t *)"GIF89a", 6, "f", &error), error,
                SQZ_BAD_FILE, "f: is a GIF, expected JPEG, PNG or BMP");
    CHECK(sqz_image_decode(&image, bmp, 60, "f", NULL) == SQZ_BAD_FILE); /* no error wanted */
    bmp[20] = bmp[24] = 1;                                               /* 65539 x 65538 */
    CHECK_FAILS(sqz_image_decode(&image, bmp, bmp_bytes, "f", &error), error, SQZ_BAD_FILE,
                "f: is too large (65539 x 65538 pixels");
    CHECK_FAILS(sqz_image_read(&image, "no such folder/picture.jpg", &error), error, SQZ_IO,
                "no such folder/picture.jpg: cannot be read");
    CHECK(error.system_errno != 0);
    CHECK_FAILS(sqz_image_read(&image, ".", &error), error, SQZ_IO, ".: cannot be read");
}

/* Random bytes over a whole file, each time in a copy of exactly its size. */
static void test_damage(void) {
    size_t size_bytes;
    uint8_t *jpeg = make_jpeg(NULL, 0, &size_bytes), bmp[54 + 24];
    uint8_t *copy = malloc(size_bytes);
    size_t bmp_bytes = make_bmp(bmp);
    uint32_t state = 1;
    for (int round = 0; round < 4000; round++) {
        bool use_bmp = round % 4 == 0;
        size_t count = use_bmp ? bmp_bytes : size_bytes;
        memcpy(copy, use_bmp ? bmp : jpeg, count);
        for (int i = 0; i < 1 + round % 3; i++) {
            state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
            copy[(state >> 8) % count] = (uint8_t)(state >> 24);
        }
        sqz_image image;
        sqz_error error;
        sqz_status status = decode_exactly(&image, copy, count, &error);
        CHECK((status == SQZ_OK) == (image.pixels != NULL));
        sqz_image_free(&image);
    }
    free(copy);
    free(jpeg);
}

static void test_resize(void) {
    enum { MOST = 40 };
    static const int sides[] = {1, 2, 3, 5, 16, 17, 40};
    static const uint8_t levels[3] = {0, 77, 255};
    sqz_error error;
    for (size_t i = 0; i < 7 * 7 * 7 * 7; i++) {
        int h = sides[i % 7], w = sides[i / 7 % 7], out_h = sides[i / 49 % 7],
            out_w = sides[i / 343];
        size_t pixels = (size_t)h * (size_t)w, out_pixels = (size_t)out_h * (size_t)out_w;
        uint8_t *in = malloc(3 * pixels), *out = malloc(3 * out_pixels);
        for (size_t p = 0; p < 3 * pixels; p++)
            in[p] = levels[p % 3];
        CHECK_OK(sqz_image_resize(out, out_h, out_w, in, h, w, &error), error);
        bool even = true; /* an even picture stays as it is, at every size */
        for (size_t p = 0; p < 3 * out_pixels; p++)
            even = even && out[p] == levels[p % 3];
        CHECK(even);
        free(in);
        free(out);
    }
    /* 0, 100 to four: the weights of samples at distance 0.25, 0.75 and 1.25 are 0.8671875,
     * 0.2265625 and -0.0703125, divided by the sum of the two that there are. */
    static const uint8_t two[6] = {0, 0, 0, 100, 100, 100};
    uint8_t four[12];
    CHECK_OK(sqz_image_resize(four, 1, 4, two, 1, 2, &error), error);
    CHECK(four[0] == 0 && four[3] == 21 && four[6] == 79 && four[9] == 109);
    CHECK_FAILS(sqz_image_resize(four, 0, 4, two, 1, 2, &error), error, SQZ_INVALID,
                "cannot resize 1 x 2 (h x w) to 0 x 4: every side is 1 to 536870912");
}

static void test_fit(void) {
    sqz_error error;
    uint8_t in[3 * 4 * 2], out[3 * 8 * 8];
    memset(in, 50, sizeof in);
    CHECK_OK(sqz_image_fit(out, 8, SQZ_FIT_PAD, in, 4, 2, &error),
             error); /* 8 high, 4 wide, from column 2 */
    for (int p = 0; p < 64; p++)
        CHECK(out[3 * p] == (p % 8 >= 2 && p % 8 < 6 ? 50 : 0));
    CHECK_OK(sqz_image_fit(out, 1, SQZ_FIT_PAD, in, 4, 2, &error), error);
    CHECK(out[0] == 50);
    CHECK_FAILS(sqz_image_fit(out, 0, SQZ_FIT_PAD, in, 4, 2, &error), error, SQZ_INVALID,
                "cannot fit 4 x 2 (h x w) into a square of 0");
}

static void test_augment(void) {
    static const float mean[3] = {0.5f, 0.25f, 0.0f}, std[3] = {0.5f, 0.25f, 1.0f};
    uint8_t in[2 * 3 * 3];
    float out[3 * 2 * 3];
    for (int i = 0; i < 18; i++)
        in[i] = (uint8_t)(14 * i);
    for (unsigned flips = 0; flips < 4; flips++) {
        sqz_image_normalise(out, in, 2, 3, flips, mean, std);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < 2; y++)
                for (int x = 0; x < 3; x++) {
                    int from_y = flips & SQZ_FLIP_VERTICAL ? 1 - y : y;
                    int from_x = flips & SQZ_FLIP_HORIZONTAL ? 2 - x : x;
                    float value = (float)in[(from_y * 3 + from_x) * 3 + c];
                    CHECK(out[(c * 2 + y) * 3 + x] == (value / 255.0f - mean[c]) / std[c]);
                }
    }
    int counts[4] = {0};
    for (uint64_t i = 0; i < 4000; i++)
        counts[sqz_augment_flips(5, 6, i) & 3]++;
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(counts[i], 1000, 137); /* 5 standard deviations */
    CHECK(sqz_augment_flips(5, 6, 7) == sqz_augment_flips(5, 6, 7));

    int64_t order[100], again[100];
    bool seen[100] = {false};
    sqz_shuffle(order, 100, 1, 2);
    sqz_shuffle(again, 100, 1, 2);
    CHECK(memcmp(order, again, sizeof order) == 0);
    for (int i = 0; i < 100; i++) {
        CHECK(order[i] >= 0 && order[i] < 100 && !seen[order[i]]);
        seen[order[i]] = true;
    }
    sqz_shuffle(again, 100, 1, 3);
    CHECK(memcmp(order, again, sizeof order) != 0);
    sqz_shuffle(NULL, 0, 1, 2);
}

/* What is drawn stays within the picture; and whatever the numbers, so does what is read. */
static void test_changes(void) {
    enum { H = 7, W = 9, BYTES = H * W * 3 };
    sqz_augmentation everything = {.rotation = 180,
                                   .scale = 0.5,
                                   .translation = 0.5,
                                   .brightness = 1,
                                   .contrast = 1,
                                   .saturation = 1,
                                   .hue = 0.5,
                                   .erasing = 0.5,
                                   .horizontal_flip = true,
                                   .vertical_flip = true,
                                   .quarter_turns = true};
    sqz_augmentation nothing = {0};
    sqz_error error;
    sqz_change change, again;
    uint8_t *in = malloc(BYTES), *out = malloc(BYTES); /* so that a sanitizer sees their ends */
    uint32_t noise = 1;
    CHECK(in && out);
    for (int i = 0; i < BYTES; i++)
        in[i] = (uint8_t)(37 * i);
    CHECK_OK(sqz_change_draw(&change, &nothing, H, W, 1, 2, 3, &error), error);
    sqz_image_change(out, in, H, W, &change);
    CHECK(memcmp(out, in, BYTES) == 0);
    for (uint64_t index = 0; index < 500; index++) {
        CHECK_OK(sqz_change_draw(&change, &everything, H, W, 1, 2, index, &error), error);
        CHECK_OK(sqz_change_draw(&again, &everything, H, W, 1, 2, index, &error), error);
        CHECK(memcmp(&change, &again, sizeof change) == 0);
        sqz_image_change(out, in, H, W, &change);
        for (int i = 0; i < SQZ_CHANGE_NUMBERS; i++) {
            noise = noise * 1664525 + 1013904223; /* Numerical Recipes' */
            if (noise >> 30)
                change.numbers[i] = (int32_t)(noise >> (noise >> 8) % 31);
        }
        sqz_image_change(out, in, H, W, &change);
    }
    everything.hue = 0.6;
    CHECK_FAILS(sqz_change_draw(&change, &everything, H, W, 1, 2, 3, &error), error, SQZ_INVALID,
                "hue is 0.6, expected a number from 0 to 0.5");
    CHECK_FAILS(sqz_change_draw(&change, &nothing, 0, W, 1, 2, 3, &error), error, SQZ_INVALID,
                "a picture of 0 x 9 (h x w), expected sides of 1 to 8192");
    free(in);
    free(out);
}

void test_image(void) {
    test_decode();
    test_orientation();
    test_foreign();
    test_bad_files();
    test_damage();
    test_resize();
    test_fit();
    test_augment();
    test_changes();
}
