/* resize.c: weighted sums of samples, for image/resize.c. */
#include "kernels.h"

enum { CHANNELS = 3, ROWS = SQZ_RESIZE_ROWS };

/* The sums' integer parts, rounded, as samples. */
ALWAYS_INLINE vec_byte to_samples(vec sums) {
    sums = (sums + (1 << (SQZ_RESIZE_BITS - 1))) >> SQZ_RESIZE_BITS;
    return __builtin_convertvector(__builtin_convertvector(limit_samples(sums), vec_short),
                                   vec_byte);
}

/* Lane i of these three together belongs to channel i % 3: lanes 0, 1, 2 become the channels'
 * sums. */
ALWAYS_INLINE int32x4 sum_channels(const vec sums[CHANNELS]) {
    enum { PARTS = LANES * CHANNELS / 4 };
    int32x4 parts[PARTS];
    memcpy(parts, sums, sizeof parts);
    for (int i = 3; i < PARTS; i++)
        parts[i - 3] += parts[i];
    /* Of channels 0 1 2 0, 1 2 0 1 and 2 0 1 2. */
    int32x4 a = parts[0], b = parts[1], c = parts[2];
    int32x4 last = SHUFFLE(int32x4, a, b, 3, 7, 3, 7);
    last = SHUFFLE(int32x4, last, c, 0, 1, 7, 7);
    return a + last + SHUFFLE(int32x4, b, b, 2, 0, 1, 3) + SHUFFLE(int32x4, c, c, 1, 2, 0, 3);
}

/* Adds `vectors` vectors of weighted samples of every row to its sums. */
ALWAYS_INLINE void add_vectors(vec sums[ROWS][CHANNELS], const uint8_t *const in[ROWS],
                               const int32_t *weights, size_t at, int vectors) {
    for (int v = 0; v < vectors; v++) {
        vec weight;
        memcpy(&weight, weights + v * LANES, sizeof weight);
        for (int y = 0; y < ROWS; y++)
            sums[y][v] += weight * load_samples(in[y] + at + (size_t)(v * LANES));
    }
}

/* Output pixel x of each row, before rounding. */
ALWAYS_INLINE void sum_pixel(int32x4 pixels[ROWS], const uint8_t *const in[ROWS],
                             const sqz_row_filter *filter, int x) {
    const int32_t *weights = filter->weights + (size_t)x * filter->stride;
    size_t at = CHANNELS * (size_t)filter->first[x];
    int vectors = filter->vectors[x];
    vec sums[ROWS][CHANNELS];
    for (int y = 0; y < ROWS; y++)
        for (int v = 0; v < CHANNELS; v++)
            sums[y][v] = (vec){0};
    for (; vectors >= CHANNELS; vectors -= CHANNELS) {
        add_vectors(sums, in, weights, at, CHANNELS);
        weights += CHANNELS * LANES;
        at += CHANNELS * LANES;
    }
    if (vectors == 2)
        add_vectors(sums, in, weights, at, 2);
    else if (vectors == 1)
        add_vectors(sums, in, weights, at, 1);
    for (int y = 0; y < ROWS; y++)
        pixels[y] = sum_channels(sums[y]);
}

void SQZ_KERNEL(resize_rows)(uint8_t *const out[ROWS], const uint8_t *const in[ROWS], int out_w,
                             const sqz_row_filter *filter) {
    enum { GROUP = LANES / 4 }; /* pixels of four lanes in a vector */
    for (int x = 0; x < out_w; x += GROUP) {
        int count = out_w - x < GROUP ? out_w - x : GROUP;
        int32x4 pixels[GROUP][ROWS];
        for (int i = 0; i < GROUP; i++) /* where one is left, it is made twice */
            sum_pixel(pixels[i], in, filter, x + (i < count ? i : 0));
        for (int y = 0; y < ROWS; y++) {
            int32x4 group[GROUP];
            for (int i = 0; i < GROUP; i++)
                group[i] = pixels[i][y];
            vec sums;
            memcpy(&sums, group, sizeof sums);
            vec_byte samples = to_samples(sums);
            uint8_t bytes[LANES];
            memcpy(bytes, &samples, sizeof bytes);
            for (int i = 0; i < count; i++)
                memcpy(out[y] + CHANNELS * (x + i), bytes + 4 * i, CHANNELS);
        }
    }
}

/* `vectors` vectors of one output row. */
ALWAYS_INLINE void sum_strip(uint8_t *out, const uint8_t *in, size_t row_bytes,
                             const int32_t *weights, int count, int vectors) {
    vec sums[4];
    for (int v = 0; v < vectors; v++)
        sums[v] = (vec){0};
    for (int j = 0; j < count; j++, in += row_bytes)
        for (int v = 0; v < vectors; v++)
            sums[v] += load_samples(in + v * LANES) * weights[j];
    for (int v = 0; v < vectors; v++) {
        vec_byte samples = to_samples(sums[v]);
        memcpy(out + v * LANES, &samples, sizeof samples);
    }
}

void SQZ_KERNEL(resize_column)(uint8_t *out, const uint8_t *in, size_t row_bytes,
                               const int32_t *weights, int count) {
    enum { STRIP = 4 * LANES };
    size_t x = 0;
    for (; x + STRIP <= row_bytes; x += STRIP)
        sum_strip(out + x, in + x, row_bytes, weights, count, 4);
    for (; x + LANES <= row_bytes; x += LANES)
        sum_strip(out + x, in + x, row_bytes, weights, count, 1);
    for (; x < row_bytes; x++) {
        int32_t sum = 1 << (SQZ_RESIZE_BITS - 1);
        for (int j = 0; j < count; j++)
            sum += in[(size_t)j * row_bytes + x] * weights[j];
        sum >>= SQZ_RESIZE_BITS;
        out[x] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}
