/* augment.c: what happens to a picture between the data set and the network. Random choices are
 * counted (base/rng.h): each is a function of its seed and indices, whoever asks and when. */
#include "../base/rng.h"

unsigned sqz_augment_flips(uint64_t seed, uint64_t epoch, uint64_t index) {
    uint32_t drawn[4];
    sqz_rng_block(drawn, seed, SQZ_RNG_FLIP, epoch, index);
    return (drawn[0] & 1 ? SQZ_FLIP_HORIZONTAL : 0) | (drawn[1] & 1 ? SQZ_FLIP_VERTICAL : 0);
}

void sqz_image_normalise(float *out, const uint8_t *in, int h, int w, unsigned flips,
                         const float mean[3], const float std[3]) {
    size_t plane = (size_t)h * (size_t)w, row_bytes = 3 * (size_t)w;
    for (int c = 0; c < 3; c++, out += plane) {
        /* A sample has 256 values: normalise those, then look up. */
        float normalised[256];
        for (int value = 0; value < 256; value++)
            normalised[value] = ((float)value / 255.0f - mean[c]) / std[c];
        for (int y = 0; y < h; y++) {
            int from_y = flips & SQZ_FLIP_VERTICAL ? h - 1 - y : y;
            const uint8_t *row = in + (size_t)from_y * row_bytes + c;
            float *out_row = out + (size_t)y * (size_t)w;
            if (flips & SQZ_FLIP_HORIZONTAL)
                for (ptrdiff_t x = 0; x < w; x++)
                    out_row[x] = normalised[row[3 * (w - 1 - x)]];
            else
                for (ptrdiff_t x = 0; x < w; x++)
                    out_row[x] = normalised[row[3 * x]];
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
