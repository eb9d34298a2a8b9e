/* The engine. Rows go down the table of layers: each layer takes a row, keeps what its kernel
 * spans, and hands a row on as soon as it has one, so no feature map is ever stored. All sums are
 * of integers, and each byte is one float32 product, rounded: the same bits on every machine. */

typedef char eyes_int_has_32_bits[sizeof(int) >= 4 ? 1 : -1];

/* Where expressions may carry more digits than float has (the x87), a value in memory has not. */
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 0
#define EYES_FLOAT(expression) (expression)
#else
#define EYES_FLOAT(expression) eyes_stored(expression)
static float eyes_stored(float value) {
    volatile float stored = value;
    return stored;
}
#endif

static void eyes_copy(uint8_t *restrict to, const uint8_t *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

static void eyes_clear(uint8_t *to, size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] = 0;
}

/* Drops a window's first row, so that there is room for another after the rest. */
static uint8_t *eyes_slide(uint8_t *window, int rows, size_t row_bytes) {
    for (int i = 1; i < rows; i++)
        eyes_copy(window + (size_t)(i - 1) * row_bytes, window + (size_t)i * row_bytes, row_bytes);
    return window + (size_t)(rows - 1) * row_bytes;
}

/* -- Convolutions ------------------------------------------------------------------------------ */

/* Up to four channels of a convolution; those that are too few are 0 here. */
typedef struct {
    int count;
    int32_t biases[EYES_TOGETHER];
    float multipliers[EYES_SUMS]; /* the same ones for every pixel of a tile */
} eyes_group;

/* Channels from `channel` on, whose weights become 16-bit integers in the state. */
static void eyes_load_group(eyes_group *group, eyes_state *state, const eyes_convolution *conv,
                            int channel) {
    int count = conv->channels - channel < EYES_TOGETHER ? conv->channels - channel : EYES_TOGETHER;
    float multipliers[EYES_TOGETHER] = {0};
    group->count = count;
    for (int c = 0; c < EYES_TOGETHER; c++) {
        group->biases[c] = c < count ? conv->biases[channel + c] : 0;
        multipliers[c] = c < count ? conv->multipliers[channel + c] : 0;
    }
    for (int x = 0; x < EYES_TILE; x++)
        for (int c = 0; c < EYES_TOGETHER; c++)
            group->multipliers[x * EYES_TOGETHER + c] = multipliers[c];
    eyes_load_weights(state, conv, channel, count);
}

/* What each byte of two indices stands for. */
static void eyes_make_pairs(eyes_state *state, const eyes_convolution *conv) {
    if (conv->weights)
        return;
    for (int i = 0; i < EYES_PAIRS; i++) {
        state->pairs[i].first = conv->values[i & 15];
        state->pairs[i].second = conv->values[i >> 4 & 15];
    }
}

/* The product between 0 and 255 (which is the ReLU too), rounded to the nearest byte, ties to
 * even: above 2^23 a float has no fraction. It is clamped as a whole number, which floats above 0
 * are in the order of: of comparisons of floats, which may trap, no vectors are made. And between a
 * product and a sum this keeps compilers from fusing them. */
static uint8_t eyes_requantise(int32_t sum, float multiplier) {
    union {
        float value;
        int32_t bits;
    } product;
    product.value = EYES_FLOAT(EYES_FLOAT((float)sum) * multiplier);
    product.bits = product.bits > 0 ? product.bits : 0;
    product.bits = product.bits < 0x437f0000 ? product.bits : 0x437f0000; /* 255.0f */
    return (uint8_t)(int32_t)EYES_FLOAT(product.value + 8388608.0f);
}

/* A tile's bytes, to `pixels` pixels that are `stride` bytes apart. */
static void eyes_write(uint8_t *restrict out, int stride, const int32_t *restrict sums, int pixels,
                       const eyes_group *restrict group) {
    int count = group->count;
    uint8_t bytes[EYES_SUMS];
    for (int i = 0; i < EYES_SUMS; i++) /* all, for a loop of known length is made of vectors */
        bytes[i] = eyes_requantise(sums[i], group->multipliers[i]);
    const uint8_t *from = bytes;
    for (int x = 0; x < pixels; x++, out += stride, from += EYES_TOGETHER)
        if (count == EYES_TOGETHER)
            for (int c = 0; c < EYES_TOGETHER; c++)
                out[c] = from[c];
        else
            for (int c = 0; c < count; c++)
                out[c] = from[c];
}

/* A tile of the last convolution, whose first column is x, into the totals. */
static void eyes_add_up(eyes_state *state, int channel, int x, const int32_t *sums, int pixels,
                        const eyes_group *group) {
    for (int i = 0; i < pixels; i++, sums += EYES_TOGETHER)
        for (int c = 0; c < group->count; c++) {
            int32_t sum = EYES_FINAL_RELU && sums[c] < 0 ? 0 : sums[c];
            state->totals[channel + c] += sum;
#ifdef EYES_MAPS
            int y = state->taken[EYES_LAYERS - 1] - 1;
            state->maps[channel + c][y][x + i] =
                EYES_FLOAT(EYES_FLOAT((float)sum) * eyes_map_units[channel + c]);
#endif
        }
    (void)x;
}

/* A row of outputs, `stride` bytes apart, of its patches; without `out`, the last convolution. */
static void eyes_convolve(eyes_state *state, const eyes_convolution *conv, const uint8_t *patches,
                          int pixels, uint8_t *out, int stride) {
    eyes_group group;
    int32_t sums[EYES_SUMS] = {0};
    size_t length = (size_t)conv->length;
    eyes_make_pairs(state, conv);
    for (int channel = 0; channel < conv->channels; channel += EYES_TOGETHER) {
        eyes_load_group(&group, state, conv, channel);
        for (int x = 0; x < pixels; x += EYES_TILE) {
            int tile = pixels - x < EYES_TILE ? pixels - x : EYES_TILE;
            for (int i = 0; i < tile; i += 2) {
                const uint8_t *a = patches + (size_t)(x + i) * length;
                eyes_sum(sums + i * EYES_TOGETHER, a, i + 1 < tile ? a + length : a,
                         state->weights.flat, group.biases, conv->length / 16);
            }
            if (out)
                eyes_write(out + (size_t)x * (size_t)stride + channel, stride, sums, tile, &group);
            else
                eyes_add_up(state, channel, x, sums, tile, &group);
        }
    }
}

/* Patches of a row of outputs, of `length` bytes each, of a window of rows of bytes: `reach` bytes
 * of each row, that begin `step` bytes after the patch before's. The first one begins `edge` bytes
 * before the row, the last one ends so many after it: these are 0. */
static void eyes_gather(uint8_t *patches, int length, int pixels, const uint8_t *window, int rows,
                        int row_bytes, int reach, int step, int edge) {
    for (int x = 0; x < pixels; x++, patches += length) {
        int before = x == 0 ? edge : 0, after = x == pixels - 1 ? edge : 0;
        const uint8_t *from = window + x * step - edge + before;
        uint8_t *to = patches;
        for (int y = 0; y < rows; y++, from += row_bytes, to += reach) {
            eyes_clear(to, (size_t)before);
            eyes_copy(to + before, from, (size_t)(reach - before - after));
            eyes_clear(to + reach - after, (size_t)after);
        }
    }
}

/* -- Layers ------------------------------------------------------------------------------------ */

/* How many rows a layer may have handed on by now. */
static int eyes_due(const eyes_layer *layer, int taken) {
    if (layer->kind == EYES_HEAD)
        return 0;
    if (taken == layer->in_rows)
        return layer->out_rows; /* what is below the picture does not come */
    if (layer->kind == EYES_FIRE)
        return taken - 1;
    return taken < layer->kernel ? 0 : (taken - layer->kernel) / 2 + 1;
}

/* A row into a pool: the largest of each three of its columns, then the largest of these so far.
 * Rows 0, 2, 4... end a window and begin the next one. */
static void eyes_take_pool(eyes_state *state, const eyes_layer *layer, int y) {
    size_t channels = (size_t)layer->out_channels;
    uint8_t *largest = state->windows + layer->window, *to = state->row;
    for (int x = 0; x < layer->out_columns; x++, largest += channels, to += channels) {
        const uint8_t *a = state->row + 2 * (size_t)x * channels;
        const uint8_t *b = 2 * x + 1 < layer->in_columns ? a + channels : a;
        const uint8_t *c = 2 * x + 2 < layer->in_columns ? b + channels : b;
        for (size_t i = 0; i < channels; i++) {
            uint8_t most = a[i] > b[i] ? a[i] : b[i];
            most = most > c[i] ? most : c[i];
            uint8_t both = most > largest[i] ? most : largest[i];
            largest[i] = y % 2 == 0 ? most : both;
            to[i] = both;
        }
    }
}

static void eyes_take(eyes_state *state, int number) {
    const eyes_layer *layer = &eyes_layers[number];
    const eyes_convolution *conv = &eyes_convolutions[layer->convolution];
    uint8_t *window = state->windows + layer->window;
    size_t in_bytes = (size_t)layer->in_columns * (size_t)layer->in_channels;
    int y = state->taken[number]++;
    switch (layer->kind) {
    case EYES_CONVOLUTION:
        eyes_copy(eyes_slide(window, layer->kernel, in_bytes), state->row, in_bytes);
        break;
    case EYES_POOL:
        eyes_take_pool(state, layer, y);
        break;
    case EYES_FIRE:
        if (layer->kept >= 0)
            eyes_copy(eyes_slide(state->windows + layer->kept, 2, in_bytes), state->row, in_bytes);
        window = eyes_slide(window, 3, (size_t)layer->in_columns * (size_t)layer->squeezed);
        eyes_convolve(state, conv, state->row, layer->in_columns, window, layer->squeezed);
        break;
    default:
        eyes_convolve(state, conv, state->row, layer->in_columns, NULL, 0);
    }
}

static void eyes_emit_fire(eyes_state *state, const eyes_layer *layer, int y) {
    const eyes_convolution *expand1x1 = &eyes_convolutions[layer->convolution + 1];
    const eyes_convolution *expand3x3 = expand1x1 + 1;
    uint8_t *window = state->windows + layer->window;
    int columns = layer->out_columns, squeezed = layer->squeezed, channels = layer->out_channels;
    int row_bytes = columns * squeezed;
    if (y == layer->out_rows - 1)
        eyes_clear(eyes_slide(window, 3, (size_t)row_bytes), (size_t)row_bytes);
    eyes_convolve(state, expand1x1, window + row_bytes, columns, state->row, channels);
    eyes_gather(state->patches, expand3x3->length, columns, window, 3, row_bytes, 3 * squeezed,
                squeezed, squeezed);
    eyes_convolve(state, expand3x3, state->patches, columns, state->row + expand1x1->channels,
                  channels);
    if (layer->kept < 0)
        return;
    size_t bytes = (size_t)columns * (size_t)channels;
    const uint8_t *kept =
        state->windows + layer->kept + (y == layer->out_rows - 1 ? bytes : (size_t)0);
    for (size_t i = 0; i < bytes; i++) {
        int sum = state->row[i] + kept[i];
        state->row[i] = (uint8_t)(sum < 255 ? sum : 255);
    }
}

/* The next row of a layer that is due, into state->row. */
static void eyes_emit(eyes_state *state, int number) {
    const eyes_layer *layer = &eyes_layers[number];
    const eyes_convolution *conv = &eyes_convolutions[layer->convolution];
    const uint8_t *window = state->windows + layer->window;
    int y = state->handed[number]++;
    if (layer->kind == EYES_FIRE) {
        eyes_emit_fire(state, layer, y);
    } else if (layer->kind == EYES_CONVOLUTION) {
        int channels = layer->in_channels;
        eyes_gather(state->patches, conv->length, layer->out_columns, window, layer->kernel,
                    layer->in_columns * channels, layer->kernel * channels, 2 * channels, 0);
        eyes_convolve(state, conv, state->patches, layer->out_columns, state->row,
                      layer->out_channels);
    } /* a pool's row is there: taking made it */
}

/* -- The picture ------------------------------------------------------------------------------- */

void eyes_init(eyes_state *state) {
    eyes_clear((uint8_t *)state, sizeof *state);
}

void eyes_row(eyes_state *state, const uint8_t *rgb) {
    if (state->taken[0] == EYES_SIDE)
        return;
    eyes_copy(state->row, rgb, 3 * EYES_SIDE);
    eyes_take(state, 0);
    for (int number = 0; number >= 0;) {
        if (state->handed[number] < eyes_due(&eyes_layers[number], state->taken[number])) {
            eyes_emit(state, number);
            eyes_take(state, ++number);
        } else {
            number--;
        }
    }
}

/* The nearest float32, ties to even: what is cut off leaves its mark in the last bit, far below
 * those that the conversion of 30 bits keeps. */
static float eyes_nearest(int64_t total) {
    int64_t rest = total < 0 ? -total : total;
    float unit = total < 0 ? -1.0f : 1.0f;
    for (; rest >> 30; unit *= 2)
        rest = rest >> 1 | (rest & 1);
    return EYES_FLOAT((float)(int32_t)rest) * unit;
}

int eyes_finish(const eyes_state *state, float *logits) {
    const eyes_convolution *head = &eyes_convolutions[EYES_CONVOLUTIONS - 1];
    if (state->taken[0] != EYES_SIDE)
        return -1;
    for (int c = 0; c < EYES_CLASSES; c++)
        logits[c] = EYES_FLOAT(eyes_nearest(state->totals[c]) * head->multipliers[c]);
    return 0;
}
