/* augment.c: what happens to a picture between the data set and the network, and by which chance.
 * Random choices are counted (base/rng.h): each is a function of its seed and indices, whoever asks
 * and when. change.c carries them out. */
#include "augment.h"

#include "../base/rng.h"

#include <math.h>

#define PI 3.14159265358979323846

unsigned sqz_augment_flips(uint64_t seed, uint64_t epoch, uint64_t index) {
    uint32_t drawn[4];
    sqz_rng_block(drawn, seed, SQZ_RNG_FLIP, epoch, index);
    return (drawn[0] & 1 ? SQZ_FLIP_HORIZONTAL : 0) | (drawn[1] & 1 ? SQZ_FLIP_VERTICAL : 0);
}

/* -- Ranges ------------------------------------------------------------------------------------ */

#define NUMBER(member, largest) {#member, false, offsetof(sqz_augmentation, member), largest}
#define FLAG(member) {#member, true, offsetof(sqz_augmentation, member), 1}

const sqz_augmentation_field *sqz_augmentation_fields(size_t *count) {
    static const sqz_augmentation_field fields[] = {
        NUMBER(rotation, 180), NUMBER(scale, 0.5),  NUMBER(translation, 0.5),
        NUMBER(brightness, 1), NUMBER(contrast, 1), NUMBER(saturation, 1),
        NUMBER(hue, 0.5),      NUMBER(erasing, 1),  FLAG(horizontal_flip),
        FLAG(vertical_flip),   FLAG(quarter_turns),
    };
    *count = sizeof fields / sizeof *fields;
    return fields;
}

sqz_status sqz_augmentation_check(const sqz_augmentation *augmentation, int h, int w,
                                  sqz_error *error) {
    size_t count;
    const sqz_augmentation_field *fields = sqz_augmentation_fields(&count);
    if (h < 1 || w < 1 || h > SQZ_CHANGE_MAX_SIDE || w > SQZ_CHANGE_MAX_SIDE)
        return sqz_fail(error, SQZ_INVALID,
                        "a picture of %d x %d (h x w), expected sides of 1 to %d", h, w,
                        SQZ_CHANGE_MAX_SIDE);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].flag)
            continue;
        double value = *(const double *)((const char *)augmentation + fields[i].offset);
        if (!(value >= 0 && value <= fields[i].largest)) /* NaN is refused too */
            return sqz_fail(error, SQZ_INVALID, "%s is %g, expected a number from 0 to %g",
                            fields[i].name, value, fields[i].largest);
    }
    return SQZ_OK;
}

/* -- Changes ----------------------------------------------------------------------------------- */

/* What a picture's random words are for. Each has a place of its own, so that none depends on what
 * else is wanted. */
enum {
    ROTATION,
    SCALE,
    RIGHT,
    DOWN,
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    HUE,
    TURNS,
    ERASING,
    AREA,
    RATIO,
    TOP,
    LEFT,
    NOISE, /* two of them */
    WORDS = 16
};

/* Evenly between low and high, neither of which it is. */
static double drawn(const uint32_t *words, int what, double low, double high) {
    return low + (high - low) * ((words[what] + 0.5) / 4294967296.0);
}

static int32_t fixed(double value) {
    return (int32_t)lrint(value * 65536);
}

/* The picture is turned and scaled about its middle, then moved: so whence a pixel comes is the
 * inverse of that. */
static void draw_move(sqz_change_parts *change, const sqz_augmentation *ranges,
                      const uint32_t *words, int h, int w) {
    double angle = drawn(words, ROTATION, -ranges->rotation, ranges->rotation) * (PI / 180);
    double size = drawn(words, SCALE, 1 - ranges->scale, 1 + ranges->scale);
    double along = cos(angle) / size, across = sin(angle) / size;
    int turns = ranges->quarter_turns ? (int)(words[TURNS] >> 30) : 0;
    for (int turn = 0; turn < turns; turn++) { /* exact, where cos(pi / 2) is not */
        double before = along;
        along = -across;
        across = before;
    }
    double x = 0.5 * (w - 1), y = 0.5 * (h - 1); /* the middle, and where it comes to lie */
    double to_x = x + drawn(words, RIGHT, -ranges->translation, ranges->translation) * w;
    double to_y = y + drawn(words, DOWN, -ranges->translation, ranges->translation) * h;
    double column[3] = {along, across, x - along * to_x - across * to_y};
    double row[3] = {-across, along, y + across * to_x - along * to_y};
    for (int i = 0; i < 3; i++) {
        change->column[i] = fixed(column[i]);
        change->row[i] = fixed(row[i]);
    }
    change->moved = turns || ranges->rotation > 0 || ranges->scale > 0 || ranges->translation > 0;
}

/* As torchvision names them (transforms.ColorJitter) and in its order, without a rounding between:
 * brightness b, contrast c: b c (R, G, B) + b (1 - c) (the mean grey value)
 * saturation s: grey + s (colour - grey), grey being ITU-R BT.601's
 * hue: colour - grey, turned in the plane of I and Q (the NTSC's YIQ, FCC 73.682), which keeps the
 *      grey value, where torchvision's HSV keeps the largest of the three. */
static void draw_colours(sqz_change_parts *change, const sqz_augmentation *ranges,
                         const uint32_t *words) {
    static const double grey[3] = {0.299, 0.587, 0.114};
    static const double to_i[3] = {0.5959, -0.2746, -0.3213}, to_q[3] = {0.2115, -0.5227, 0.3112};
    static const double of_i[3] = {0.956, -0.272, -1.106}, of_q[3] = {0.619, -0.647, 1.703};
    double brightness = drawn(words, BRIGHTNESS, 1 - ranges->brightness, 1 + ranges->brightness);
    double contrast = drawn(words, CONTRAST, 1 - ranges->contrast, 1 + ranges->contrast);
    double saturation = drawn(words, SATURATION, 1 - ranges->saturation, 1 + ranges->saturation);
    double turn = drawn(words, HUE, -ranges->hue, ranges->hue) * (2 * PI);
    for (int to = 0; to < 3; to++)
        for (int from = 0; from < 3; from++) {
            double colour = cos(turn) * ((to == from) - grey[from]) +
                            sin(turn) * (of_q[to] * to_i[from] - of_i[to] * to_q[from]);
            change->colours[to][from] =
                fixed(brightness * contrast * (grey[from] + saturation * colour));
        }
    change->grey = fixed(brightness * (1 - contrast));
    change->coloured =
        ranges->brightness > 0 || ranges->contrast > 0 || ranges->saturation > 0 || ranges->hue > 0;
}

static int32_t at_most(double value, int limit) {
    return value < limit ? (int32_t)value : limit;
}

/* Zhong et al. 2017, arXiv:1708.04896, algorithm 1, with random bytes, and torchvision's ranges
 * (transforms.RandomErasing). What would be larger than the picture is cut to it, not drawn
 * again. */
static void draw_erasing(sqz_change_parts *change, const sqz_augmentation *ranges,
                         const uint32_t *words, int h, int w) {
    if (drawn(words, ERASING, 0, 1) >= ranges->erasing)
        return;
    double area = drawn(words, AREA, 0.02, 0.33) * h * w;
    double ratio = exp(drawn(words, RATIO, log(0.3), log(3.3)));
    int32_t height = at_most(rint(sqrt(area * ratio)), h),
            width = at_most(rint(sqrt(area / ratio)), w);
    change->erased[0] = (int32_t)drawn(words, TOP, 0, h - height + 1);
    change->erased[1] = (int32_t)drawn(words, LEFT, 0, w - width + 1);
    change->erased[2] = height;
    change->erased[3] = width;
    change->noise[0] = (int32_t)words[NOISE];
    change->noise[1] = (int32_t)words[NOISE + 1];
}

sqz_status sqz_change_draw(sqz_change *change, const sqz_augmentation *ranges, int h, int w,
                           uint64_t seed, uint64_t epoch, uint64_t index, sqz_error *error) {
    uint32_t words[WORDS];
    for (unsigned block = 0; block < WORDS / 4; block++)
        sqz_rng_block(words + 4 * block, seed, SQZ_RNG_CHANGE, epoch, index * (WORDS / 4) + block);
    SQZ_TRY(sqz_augmentation_check(ranges, h, w, error));
    unsigned wanted = (ranges->horizontal_flip ? SQZ_FLIP_HORIZONTAL : 0) |
                      (ranges->vertical_flip ? SQZ_FLIP_VERTICAL : 0);
    sqz_change_parts parts = {.flips = (int32_t)(sqz_augment_flips(seed, epoch, index) & wanted)};
    draw_move(&parts, ranges, words, h, w);
    draw_colours(&parts, ranges, words);
    draw_erasing(&parts, ranges, words, h, w);
    memcpy(change, &parts, sizeof parts);
    return SQZ_OK;
}

/* -- Normalising ------------------------------------------------------------------------------- */

void sqz_image_normalise(float *out, const uint8_t *in, int h, int w, unsigned flips,
                         const float mean[3], const float std[3]) {
    size_t plane = (size_t)h * (size_t)w, row_bytes = 3 * (size_t)w;
    float normalised[3][256]; /* a sample has 256 values: normalise those, then look up */
    for (int c = 0; c < 3; c++)
        for (int value = 0; value < 256; value++)
            normalised[c][value] = ((float)value / 255.0f - mean[c]) / std[c];
    bool mirrored = flips & SQZ_FLIP_HORIZONTAL;
    ptrdiff_t step = mirrored ? -1 : 1;
    for (int y = 0; y < h; y++) { /* all planes at once: a third of the time of one by one */
        const uint8_t *pixel = in + (size_t)(flips & SQZ_FLIP_VERTICAL ? h - 1 - y : y) * row_bytes;
        float *red = out + (size_t)y * (size_t)w + (mirrored ? w - 1 : 0);
        float *green = red + plane, *blue = green + plane;
        for (int x = 0; x < w; x++, pixel += 3, red += step, green += step, blue += step) {
            *red = normalised[0][pixel[0]];
            *green = normalised[1][pixel[1]];
            *blue = normalised[2][pixel[2]];
        }
    }
}

void sqz_shuffle(int64_t *order, size_t count, uint64_t seed, uint64_t epoch) {
    /* Fisher & Yates, in Durstenfeld's form: swap each from the end with one at or before it. */
    sqz_rng rng;
    sqz_rng_start(&rng, seed, SQZ_RNG_SHUFFLE, epoch);
    for (size_t i = 0; i < count; i++)
        order[i] = (int64_t)i;
    for (size_t i = count; i > 1; i--) {
        size_t other = sqz_rng_below(&rng, (uint32_t)i);
        int64_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}
