/* A picture of any size to the network's square, row by row: scaled as everywhere in squeezenet_c,
 * equal in every byte to Pillow's bicubic. Of the picture only the rows that one output row is
 * computed from are kept, in memory that the user has. A pixel is EYES_SAMPLES bytes, all scaled
 * alike: red, green and blue, and what else comes with them. Needs no header. */

#ifndef EYES_SAMPLES
#define EYES_SAMPLES 3
#endif

enum {
    EYES_MOST_SIDE = 1 << 16, /* pixels */
    EYES_FRACTION = 22,       /* bits of a filter's weights */
    EYES_HALF = 1 << (EYES_FRACTION - 1),
    EYES_BLOCK = 256 /* bytes of a row that are summed at a time */
};

/* Writes a picture's next row, from the top; 0, or else there is none. */
typedef int eyes_reader(void *picture, uint8_t *pixels);

/* Along one axis: samples first .. first + count - 1 of the `whole` that a side is resized to, to
 * be placed behind `before` samples of black. */
typedef struct {
    int64_t whole, first;
    int count, before;
} eyes_part;

/* Output sample i is the sum of weights[i * stride + j] times sample firsts[i] + j, j < counts[i].
 */
typedef struct {
    int32_t *weights;
    double *exact; /* [stride] */
    int *firsts, *counts;
    int stride;
} eyes_filter;

/* A picture on its way: its rows, narrowed if that comes first, go into a ring. */
typedef struct {
    eyes_reader *reader;
    void *picture; /* the reader's */
    int width, height, down_first;
    eyes_part rows, columns;
    eyes_filter down, across; /* `down` has room for one output sample */
    uint8_t *source, *ring, *line;
    size_t row_bytes; /* of the ring and of `line` */
    int read;         /* rows so far */
} eyes_scaler;

/* -- Filters ----------------------------------------------------------------------------------- */

/* A product that is rounded before anything is added to it, on every compiler. */
static double eyes_times(double a, double b) {
    volatile double product = a * b;
    return product;
}

/* Keys 1981, with a = -0.5. */
static double eyes_bicubic(double x) {
    x = x < 0.0 ? -x : x;
    if (x < 1.0)
        return eyes_times(eyes_times(eyes_times(1.5, x) - 2.5, x), x) + 1.0;
    if (x < 2.0)
        return eyes_times(eyes_times(eyes_times(x - 5.0, x) + 8.0, x) - 4.0, -0.5);
    return 0.0;
}

static double eyes_scale(const eyes_part *part, int size) {
    return (double)size / (double)part->whole;
}

/* No output sample is a sum of more. */
static int eyes_stride(double scale) {
    double support = 2.0 * (scale < 1.0 ? 1.0 : scale);
    int whole = (int)support;
    return 2 * (whole + (whole < support)) + 1;
}

/* The weights of output sample i of a part, into the filter's place number `place`. */
static void eyes_fill(eyes_filter *filter, int place, const eyes_part *part, int i, int size) {
    double scale = eyes_scale(part, size), wide = scale < 1.0 ? 1.0 : scale;
    double support = eyes_times(2.0, wide), narrowing = 1.0 / wide;
    double centre = eyes_times((double)(part->first + i) + 0.5, scale), sum = 0.0;
    int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > size ? size : end;
    for (int j = first; j < end; j++) {
        filter->exact[j - first] = eyes_bicubic(eyes_times(j - centre + 0.5, narrowing));
        sum += filter->exact[j - first];
    }
    filter->firsts[place] = first;
    filter->counts[place] = end - first;
    for (int j = 0; j < end - first; j++) {
        double share = sum != 0.0 ? filter->exact[j] / sum : filter->exact[j];
        double weight = share * (1 << EYES_FRACTION);
        filter->weights[(size_t)place * (size_t)filter->stride + (size_t)j] =
            (int32_t)(weight < 0.0 ? weight - 0.5 : weight + 0.5);
    }
}

static uint8_t eyes_clamp(int32_t sum) {
    int32_t byte = sum < 0 ? 0 : sum >> EYES_FRACTION;
    return (uint8_t)(byte > 255 ? 255 : byte);
}

/* The filtered sum of `count` pixels, as one. */
static void eyes_sum_pixels(uint8_t *out, const uint8_t *in, const int32_t *weights, int count) {
#if EYES_SAMPLES == 4 && defined(__clang__)
    /* A pixel is a vector. Left alone, clang makes vectors of bytes that lie 4 apart. */
    typedef uint8_t eyes_pixel __attribute__((vector_size(4), aligned(1)));
    typedef int32_t eyes_wide __attribute__((vector_size(16)));
    eyes_wide sums = {0};
    for (int j = 0; j < count; j++, in += 4)
        sums += __builtin_convertvector(*(const eyes_pixel *)in, eyes_wide) * weights[j];
#else
    int32_t sums[EYES_SAMPLES] = {0};
    for (int j = 0; j < count; j++, in += EYES_SAMPLES)
        for (int c = 0; c < EYES_SAMPLES; c++)
            sums[c] += in[c] * weights[j];
#endif
    for (int c = 0; c < EYES_SAMPLES; c++)
        out[c] = eyes_clamp(sums[c] + EYES_HALF);
}

/* A row of `columns` pixels of one of the picture's. */
static void eyes_narrow(uint8_t *out, int columns, const uint8_t *in, const eyes_filter *across) {
    for (int x = 0; x < columns; x++)
        eyes_sum_pixels(out + EYES_SAMPLES * x, in + EYES_SAMPLES * (size_t)across->firsts[x],
                        across->weights + (size_t)x * (size_t)across->stride, across->counts[x]);
}

/* -- Memory ------------------------------------------------------------------------------------ */

/* The next so many bytes of a memory, of which `used` are; NULL where that is NULL. */
static void *eyes_place(uint8_t *memory, size_t *used, size_t bytes) {
    size_t place = *used;
    *used += (bytes + 7) & ~(size_t)7;
    return memory ? memory + place : NULL;
}

/* Where a filter for `count` output samples has its arrays. */
static void eyes_place_filter(eyes_filter *filter, const eyes_part *part, int count, int size,
                              uint8_t *memory, size_t *used) {
    size_t stride = (size_t)(filter->stride = eyes_stride(eyes_scale(part, size)));
    filter->exact = eyes_place(memory, used, stride * sizeof *filter->exact);
    filter->weights = eyes_place(memory, used, (size_t)count * stride * sizeof *filter->weights);
    filter->firsts = eyes_place(memory, used, (size_t)count * sizeof *filter->firsts);
    filter->counts = eyes_place(memory, used, (size_t)count * sizeof *filter->counts);
}

/* Where a scaler has what it works with; how many bytes of the memory that takes. */
static size_t eyes_place_all(eyes_scaler *scaler, uint8_t *memory) {
    size_t used = 0, source_bytes = EYES_SAMPLES * (size_t)scaler->width;
    eyes_place_filter(&scaler->down, &scaler->rows, 1, scaler->height, memory, &used);
    eyes_place_filter(&scaler->across, &scaler->columns, scaler->columns.count, scaler->width,
                      memory, &used);
    scaler->source = eyes_place(memory, &used, source_bytes);
    scaler->line = eyes_place(memory, &used, scaler->row_bytes);
    scaler->ring = eyes_place(memory, &used, (size_t)scaler->down.stride * scaler->row_bytes);
    return used;
}

/* -- The square -------------------------------------------------------------------------------- */

/* A part of a side that is padded, or of which the middle is taken. */
static eyes_part eyes_fit(int side, int other) {
    int longer = side > other ? side : other, shorter = side < other ? side : other;
    eyes_part part = {EYES_SIDE, 0, EYES_SIDE, 0};
    if (side == EYES_SIDE && other == EYES_SIDE)
        return part;
    if (EYES_CROP) {
        int64_t least = (int64_t)EYES_SIDE * 256 / 224;
        part.whole = (int64_t)((double)(least * side) / shorter);
        int64_t lost = part.whole - EYES_SIDE, half = lost / 2;
        part.first = half + (lost & half & 1); /* a half is rounded to even */
    } else {
        int fitted = (int)eyes_times(side, EYES_SIDE / (double)longer);
        part.count = fitted < 1 ? 1 : fitted > EYES_SIDE ? EYES_SIDE : fitted;
        part.whole = part.count;
        part.before = (EYES_SIDE - part.count) / 2;
    }
    return part;
}

/* Begins a picture, whose sides are from 1 to EYES_MOST_SIDE; the bytes that eyes_scaler_start is
 * to be given. */
static size_t eyes_scaler_init(eyes_scaler *scaler, int width, int height, eyes_reader *reader,
                               void *picture) {
    eyes_part rows = eyes_fit(height, width), columns = eyes_fit(width, height);
    /* Where the height loses more than twice as many samples as the width, columns come first, as
     * in Pillow 13. */
    int64_t lost_rows = height - rows.whole, lost = width - columns.whole;
    *scaler = (eyes_scaler){
        .reader = reader,
        .picture = picture,
        .width = width,
        .height = height,
        .down_first = lost_rows > 2 * (lost > 0 ? lost : 0),
        .rows = rows,
        .columns = columns,
    };
    scaler->row_bytes = EYES_SAMPLES * (size_t)(scaler->down_first ? width : columns.count);
    return eyes_place_all(scaler, NULL);
}

/* The memory begins where doubles may. */
static void eyes_scaler_start(eyes_scaler *scaler, void *memory) {
    eyes_place_all(scaler, memory);
    for (int x = 0; x < scaler->columns.count; x++)
        eyes_fill(&scaler->across, x, &scaler->columns, x, scaler->width);
}

static uint8_t *eyes_ring_row(const eyes_scaler *scaler, int y) {
    return scaler->ring + (size_t)(y % scaler->down.stride) * scaler->row_bytes;
}

/* Rows before row `end`, into the ring; 0, or what the reader gives. */
static int eyes_read(eyes_scaler *scaler, int end) {
    for (; scaler->read < end; scaler->read++) {
        uint8_t *to = eyes_ring_row(scaler, scaler->read);
        uint8_t *from = scaler->down_first ? to : scaler->source;
        int status = scaler->reader(scaler->picture, from);
        if (status != 0)
            return status;
        if (!scaler->down_first)
            eyes_narrow(to, scaler->columns.count, from, &scaler->across);
    }
    return 0;
}

/* The filtered sum of `count` rows in the ring, into `line`: a few bytes of each at a time. */
static void eyes_flatten(eyes_scaler *scaler, int first, int count) {
    int32_t sums[EYES_BLOCK];
    for (size_t begin = 0; begin < scaler->row_bytes; begin += EYES_BLOCK) {
        size_t rest = scaler->row_bytes - begin, bytes = rest < EYES_BLOCK ? rest : EYES_BLOCK;
        for (size_t i = 0; i < bytes; i++)
            sums[i] = EYES_HALF;
        for (int j = 0; j < count; j++) {
            const uint8_t *row = eyes_ring_row(scaler, first + j) + begin;
            int32_t weight = scaler->down.weights[j];
            for (size_t i = 0; i < bytes; i++)
                sums[i] += row[i] * weight;
        }
        for (size_t i = 0; i < bytes; i++)
            scaler->line[begin + i] = eyes_clamp(sums[i]);
    }
}

/* Row y of the square, these from the top; 0, or what the reader gives. */
static int eyes_scaler_row(eyes_scaler *scaler, int y, uint8_t *pixels) {
    eyes_filter *down = &scaler->down;
    int row = y - scaler->rows.before;
    eyes_clear(pixels, EYES_SAMPLES * EYES_SIDE);
    if (row < 0 || row >= scaler->rows.count)
        return 0;
    eyes_fill(down, 0, &scaler->rows, row, scaler->height);
    int first = down->firsts[0], count = down->counts[0];
    int status = eyes_read(scaler, first + count);
    if (status != 0)
        return status;
    eyes_flatten(scaler, first, count);
    pixels += EYES_SAMPLES * (size_t)scaler->columns.before;
    if (scaler->down_first)
        eyes_narrow(pixels, scaler->columns.count, scaler->line, &scaler->across);
    else
        eyes_copy(pixels, scaler->line, scaler->row_bytes);
    return 0;
}
