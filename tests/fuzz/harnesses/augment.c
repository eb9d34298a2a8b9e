/* augment.c: what training makes of a picture: by changes of any numbers, and by changes drawn from
 * ranges that are any numbers. */
#include "harness.h"

enum { MOST_SIDE = 48, RANGES = 8 };

/* The next bytes of an input; zeros past its end. */
static void take(void *into, size_t size_bytes, const uint8_t **data, size_t *size) {
    size_t have = *size < size_bytes ? *size : size_bytes;
    memset(into, 0, size_bytes);
    memcpy(into, *data, have);
    *data += have;
    *size -= have;
}

/* The same twice, whatever was in `out`. */
static void check_change(const uint8_t *in, int h, int w, const sqz_change *change) {
    size_t count = 3 * (size_t)h * (size_t)w;
    uint8_t *out = malloc(count), *again = calloc(count, 1);
    EXPECT(out && again);
    sqz_image_change(out, in, h, w, change);
    sqz_image_change(again, in, h, w, change);
    harness_read(out, count);
    EXPECT(memcmp(out, again, count) == 0);
    free(out);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t sides[2], flags;
    uint64_t drawn[3];
    double numbers[RANGES];
    sqz_change change;
    sqz_error error;
    take(sides, sizeof sides, &data, &size);
    int h = 1 + sides[0] % MOST_SIDE, w = 1 + sides[1] % MOST_SIDE;
    take(&flags, sizeof flags, &data, &size);
    take(drawn, sizeof drawn, &data, &size);
    take(numbers, sizeof numbers, &data, &size);
    take(&change, sizeof change, &data, &size);
    uint8_t *in = malloc(3 * (size_t)h * (size_t)w);
    EXPECT(in);
    take(in, 3 * (size_t)h * (size_t)w, &data, &size);
    check_change(in, h, w, &change);
    sqz_augmentation ranges = {.rotation = numbers[0],
                               .scale = numbers[1],
                               .translation = numbers[2],
                               .brightness = numbers[3],
                               .contrast = numbers[4],
                               .saturation = numbers[5],
                               .hue = numbers[6],
                               .erasing = numbers[7],
                               .horizontal_flip = flags & 1,
                               .vertical_flip = flags & 2,
                               .quarter_turns = flags & 4};
    /* Sides of 0 and beyond the largest, too. */
    int side = flags & 8 ? (int)drawn[0] : h;
    sqz_status status =
        sqz_change_draw(&change, &ranges, side, w, drawn[0], drawn[1], drawn[2] >> 6, &error);
    EXPECT(status == SQZ_OK || (status == SQZ_INVALID && error.message[0]));
    if (status == SQZ_OK)
        check_change(in, h, w, &change);
    free(in);
    return 0;
}
