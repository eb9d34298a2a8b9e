/* change.c: carries out what augment.c has drawn: a picture is moved, its colours are changed, a
 * part of it is erased. All in integers, so that every machine and compiler has the same bytes.
 *
 * Moved comes first: what lies beyond the picture is black, as what pads a picture to a square is,
 * and so the colours that follow make the same of both. */
#include "augment.h"

#include "../base/rng.h"

/* -- Moving ------------------------------------------------------------------------------------ */

typedef struct {
    const uint8_t *pixels;
    int64_t h, w;
} source;

/* The pixel at a place in 2^-16 of a pixel, whose last 8 bits count for nothing: the sum of its
 * four neighbours, each times 2^8 less its distances across and down in 2^-8, rounded. */
static inline void sample(uint8_t out[3], const source *in, int64_t x, int64_t y) {
    int64_t column = x >> 16, row = y >> 16;
    uint32_t right = (uint32_t)(x >> 8) & 255, down = (uint32_t)(y >> 8) & 255;
    uint32_t shares[4] = {(256 - right) * (256 - down), right * (256 - down), (256 - right) * down,
                          right * down};
    if (column >= 0 && column < in->w - 1 && row >= 0 && row < in->h - 1) {
        const uint8_t *above = in->pixels + 3 * (row * in->w + column), *below = above + 3 * in->w;
        for (int c = 0; c < 3; c++)
            out[c] = (uint8_t)((shares[0] * above[c] + shares[1] * above[3 + c] +
                                shares[2] * below[c] + shares[3] * below[3 + c] + 32768) >>
                               16);
        return;
    }
    uint32_t sums[3] = {32768, 32768, 32768};
    for (int i = 0; i < 4; i++) {
        int64_t tap_x = column + (i & 1), tap_y = row + (i >> 1);
        if (tap_x >= 0 && tap_x < in->w && tap_y >= 0 && tap_y < in->h)
            for (int c = 0; c < 3; c++)
                sums[c] += shares[i] * in->pixels[3 * (tap_y * in->w + tap_x) + c];
    }
    for (int c = 0; c < 3; c++)
        out[c] = (uint8_t)(sums[c] >> 16);
}

/* Of out's pixel (x, y) it is column[0] x + column[1] y + column[2] and the like for the row, to
 * the nearest 2^-8, where x and y are counted from the other side if it is flipped. */
static void move(uint8_t *out, const uint8_t *in, int h, int w, const sqz_change_parts *change) {
    source source = {in, h, w};
    int64_t first = change->flips & SQZ_FLIP_HORIZONTAL ? w - 1 : 0, way = first ? -1 : 1;
    int64_t step_x = way * change->column[0], step_y = way * change->row[0];
    for (int line = 0; line < h; line++) {
        int64_t y = change->flips & SQZ_FLIP_VERTICAL ? h - 1 - line : line;
        int64_t from_x = change->column[0] * first + change->column[1] * y + change->column[2];
        int64_t from_y = change->row[0] * first + change->row[1] * y + change->row[2];
        from_x += 128;
        from_y += 128;
        for (int x = 0; x < w; x++, out += 3, from_x += step_x, from_y += step_y)
            sample(out, &source, from_x, from_y);
    }
}

static void flip(uint8_t *out, const uint8_t *in, int h, int w, int32_t flips) {
    size_t row_bytes = 3 * (size_t)w;
    for (int y = 0; y < h; y++, out += row_bytes) {
        const uint8_t *row = in + (size_t)(flips & SQZ_FLIP_VERTICAL ? h - 1 - y : y) * row_bytes;
        if (!(flips & SQZ_FLIP_HORIZONTAL))
            memcpy(out, row, row_bytes);
        for (ptrdiff_t x = 0; flips & SQZ_FLIP_HORIZONTAL && x < w; x++)
            for (int c = 0; c < 3; c++)
                out[3 * x + c] = row[3 * (w - 1 - x) + c];
    }
}

/* -- Colours ----------------------------------------------------------------------------------- */

/* The mean of (299 R + 587 G + 114 B) / 1000, in 2^-8, rounded down. */
static int64_t mean_grey(const uint8_t *pixels, size_t count) {
    uint64_t sums[3] = {0};
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            sums[c] += pixels[3 * i + c];
    return (int64_t)((299 * sums[0] + 587 * sums[1] + 114 * sums[2]) * 256 / (1000 * count));
}

/* Each of a pixel's three is the sum of its row of `colours` times (R, G, B) and of the offset,
 * rounded to whole numbers, cut to 0..255. Sums wrap at 2^32, which what is drawn never reaches. */
static void colour(uint8_t *pixels, size_t count, const sqz_change_parts *change) {
    uint32_t offset = (uint32_t)((change->grey * mean_grey(pixels, count)) >> 8) + 32768;
    uint32_t factors[3][3];
    for (int i = 0; i < 9; i++)
        factors[i / 3][i % 3] = (uint32_t)change->colours[i / 3][i % 3];
    for (size_t i = 0; i < count; i++, pixels += 3) {
        uint32_t red = pixels[0], green = pixels[1], blue = pixels[2];
        for (int c = 0; c < 3; c++) {
            int32_t value = (int32_t)(factors[c][0] * red + factors[c][1] * green +
                                      factors[c][2] * blue + offset) >>
                            16;
            pixels[c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
    }
}

/* -- Erasing ----------------------------------------------------------------------------------- */

/* The rectangle's bytes, row by row, are those of the blocks 0, 1, ... of the cipher under the
 * change's key, each word's lowest byte first. */
static void erase(uint8_t *pixels, int h, int w, const sqz_change_parts *change) {
    int64_t top = change->erased[0], left = change->erased[1];
    int64_t bottom = top + change->erased[2], right = left + change->erased[3];
    const uint32_t key[2] = {(uint32_t)change->noise[0], (uint32_t)change->noise[1]};
    uint32_t counter[4] = {0}, words[4];
    size_t used = sizeof words;
    if (top < 0 || left < 0 || bottom > h || right > w)
        return; /* is of another picture */
    for (int64_t y = top; y < bottom; y++)
        for (int64_t at = 3 * (y * w + left); at < 3 * (y * w + right); at++, used++) {
            if (used == sizeof words) {
                sqz_philox(words, counter, key);
                counter[0]++;
                used = 0;
            }
            pixels[at] = (uint8_t)(words[used / 4] >> (8 * (used % 4)));
        }
}

void sqz_image_change(uint8_t *out, const uint8_t *in, int h, int w, const sqz_change *change) {
    sqz_change_parts parts = sqz_change_parts_of(change);
    if (parts.moved)
        move(out, in, h, w, &parts);
    else
        flip(out, in, h, w, parts.flips);
    if (parts.coloured)
        colour(out, (size_t)h * (size_t)w, &parts);
    erase(out, h, w, &parts);
}
