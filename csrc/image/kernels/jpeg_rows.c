/* jpeg_rows.c: rows of a JPEG's samples to RGB, with libjpeg's roundings. */
#include "kernels.h"

/* Each output sample is 9/16 of its own chroma sample, 3/16 of the next one across and down, 1/16
 * of the one diagonal. Halves are rounded up and down in turn. The compiler makes vectors of it. */
uint8_t *SQZ_KERNEL(jpeg_upsample)(uint8_t *restrict out, uint8_t *restrict near,
                                   uint8_t *restrict far, int w, int unused) {
    (void)unused;
    if (w <= 2) { /* libjpeg repeats samples then */
        for (int x = 0; x < 2 * w; x++)
            out[x] = near[x / 2];
        return out;
    }
    out[0] = (uint8_t)((4 * (3 * near[0] + far[0]) + 8) >> 4);
    out[2 * w - 1] = (uint8_t)((4 * (3 * near[w - 1] + far[w - 1]) + 7) >> 4);
    for (int x = 0; x < w - 1; x++) {
        int left = 3 * near[x] + far[x], right = 3 * near[x + 1] + far[x + 1];
        out[2 * x + 1] = (uint8_t)((3 * left + right + 7) >> 4);
        out[2 * x + 2] = (uint8_t)((3 * right + left + 8) >> 4);
    }
    return out;
}

/* ITU-T T.871, in 16 fractional bits: red is luma + 1.402 red', blue is luma + 1.772 blue', green
 * is luma - 0.344136 blue' - 0.714136 red', where ' is less 128. */
enum { RED = 91881, BLUE = 116130, GREEN_BLUE = 22554, GREEN_RED = 46802, HALF = 1 << 15 };
enum { PIXEL_BYTES = 3, STORED_BYTES = 16 };

/* Writes four pixels, of four little-endian lanes 0x00BBGGRR, and up to four bytes more that do not
 * matter. */
ALWAYS_INLINE void store_pixels(uint8_t *out, const uint8_t *lanes) {
#if LANES == 4 /* SSE2 has no shuffle of bytes */
    for (int i = 0; i < 4; i++)
        memcpy(out + PIXEL_BYTES * i, lanes + 4 * i, 4);
#else
    uint8x16 four;
    memcpy(&four, lanes, sizeof four);
    four = SHUFFLE(uint8x16, four, four, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 3, 3, 3);
    memcpy(out, &four, sizeof four);
#endif
}

static uint8_t limit(int sample) {
    return (uint8_t)(sample < 0 ? 0 : sample > 255 ? 255 : sample);
}

void SQZ_KERNEL(jpeg_to_rgb)(uint8_t *restrict out, const uint8_t *luma, const uint8_t *blue,
                             const uint8_t *red, int count, int step) {
    (void)step;
    int x = 0;
    /* The last store of a turn reaches past its pixels, but not past the row. */
    for (; x + LANES + 2 <= count; x += LANES, out += LANES * PIXEL_BYTES) {
        vec y = load_samples(luma + x);
        vec b = load_samples(blue + x) - 128, r = load_samples(red + x) - 128;
        vec out_r = limit_samples(y + ((r * RED + HALF) >> 16));
        vec out_b = limit_samples(y + ((b * BLUE + HALF) >> 16));
        vec out_g = limit_samples(y + ((HALF - b * GREEN_BLUE - r * GREEN_RED) >> 16));
        vec pixels = out_r | out_g << 8 | out_b << 16;
        for (int i = 0; i < LANES / 4; i++)
            store_pixels(out + 4 * PIXEL_BYTES * i, (const uint8_t *)&pixels + STORED_BYTES * i);
    }
    for (; x < count; x++, out += PIXEL_BYTES) {
        int y = luma[x], b = blue[x] - 128, r = red[x] - 128;
        out[0] = limit(y + ((r * RED + HALF) >> 16));
        out[1] = limit(y + ((HALF - b * GREEN_BLUE - r * GREEN_RED) >> 16));
        out[2] = limit(y + ((b * BLUE + HALF) >> 16));
    }
}
