/* A program: reads a binary PPM, makes it square row by row, and prints the answer. The picture is
 * scaled as everywhere in squeezenet_c, equal in every byte to Pillow's bicubic, of which only the
 * rows that one output row is computed from are kept. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { EYES_MOST_SIDE = 1 << 16, EYES_FRACTION = 22 }; /* pixels; bits of a filter's weights */

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

/* A picture being read: its rows, narrowed if that comes first, go into a ring. */
typedef struct {
    FILE *file;
    const char *path;
    int width, height, down_first;
    eyes_part rows, columns;
    eyes_filter down, across; /* `down` has room for one output sample */
    uint8_t *source, *ring, *line;
    size_t row_bytes; /* of the ring and of `line` */
    int read;         /* rows so far */
} eyes_picture;

static int eyes_fail(const char *path, const char *what) {
    fprintf(stderr, "%s: %s\n", path, what);
    return -1;
}

/* -- Filters ----------------------------------------------------------------------------------- */

/* A product that is rounded before anything is added to it, on every compiler. */
static double eyes_times(double a, double b) {
    volatile double product = a * b;
    return product;
}

/* Keys 1981, with a = -0.5. */
static double eyes_bicubic(double x) {
    x = fabs(x);
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
    return 2 * (int)ceil(2.0 * (scale < 1.0 ? 1.0 : scale)) + 1;
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

/* Room for `count` output samples; 0, or -1. */
static int eyes_filter_create(eyes_filter *filter, const eyes_part *part, int count, int size) {
    filter->stride = eyes_stride(eyes_scale(part, size));
    filter->weights = calloc((size_t)count * (size_t)filter->stride, sizeof *filter->weights);
    filter->exact = calloc((size_t)filter->stride, sizeof *filter->exact);
    filter->firsts = calloc((size_t)count, sizeof *filter->firsts);
    filter->counts = calloc((size_t)count, sizeof *filter->counts);
    return filter->weights && filter->exact && filter->firsts && filter->counts ? 0 : -1;
}

static void eyes_filter_destroy(eyes_filter *filter) {
    free(filter->weights);
    free(filter->exact);
    free(filter->firsts);
    free(filter->counts);
}

static uint8_t eyes_clamp(int32_t sum) {
    int32_t byte = sum < 0 ? 0 : sum >> EYES_FRACTION;
    return (uint8_t)(byte > 255 ? 255 : byte);
}

/* A row of `columns` pixels of one of the picture's. */
static void eyes_narrow(uint8_t *out, int columns, const uint8_t *in, const eyes_filter *across) {
    for (int x = 0; x < columns; x++) {
        const int32_t *weights = across->weights + (size_t)x * (size_t)across->stride;
        const uint8_t *from = in + 3 * (size_t)across->firsts[x];
        for (int c = 0; c < 3; c++) {
            int32_t sum = 1 << (EYES_FRACTION - 1);
            for (int j = 0; j < across->counts[x]; j++)
                sum += from[3 * j + c] * weights[j];
            *out++ = eyes_clamp(sum);
        }
    }
}

/* -- Reading ----------------------------------------------------------------------------------- */

/* The next number of a PPM's header, after white space and comments; -1: there is none that is at
 * most EYES_MOST_SIDE. */
static int eyes_number(FILE *file) {
    int c = getc(file), number = -1;
    while (c == ' ' || (c >= '\t' && c <= '\r') || c == '#') {
        if (c == '#')
            while (c != '\n' && c != EOF)
                c = getc(file);
        else
            c = getc(file);
    }
    for (; c >= '0' && c <= '9'; c = getc(file)) {
        number = (number < 0 ? 0 : 10 * number) + (c - '0');
        if (number > EYES_MOST_SIDE)
            return -1;
    }
    return c == ' ' || (c >= '\t' && c <= '\r') ? number : -1; /* one white space ends it */
}

/* Whether fewer bytes are left than so many, as far as that can be known: of a pipe it cannot. So a
 * header that lies does not ask for memory. */
static int eyes_is_short(FILE *file, int64_t bytes) {
    long at = ftell(file);
    if (at < 0 || fseek(file, 0, SEEK_END) != 0)
        return 0;
    long end = ftell(file);
    return fseek(file, at, SEEK_SET) != 0 || (int64_t)end - at < bytes;
}

/* A part of a side that is padded, or of which the middle is taken. */
static eyes_part eyes_fit(int side, int other) {
    int longer = side > other ? side : other, shorter = side < other ? side : other;
    eyes_part part = {EYES_SIDE, 0, EYES_SIDE, 0};
    if (side == EYES_SIDE && other == EYES_SIDE)
        return part;
    if (EYES_CROP) {
        int64_t least = (int64_t)EYES_SIDE * 256 / 224;
        part.whole = (int64_t)((double)(least * side) / shorter);
        part.first = llrint((double)(part.whole - EYES_SIDE) / 2.0);
    } else {
        int fitted = (int)eyes_times(side, EYES_SIDE / (double)longer);
        part.count = fitted < 1 ? 1 : fitted > EYES_SIDE ? EYES_SIDE : fitted;
        part.whole = part.count;
        part.before = (EYES_SIDE - part.count) / 2;
    }
    return part;
}

/* The header, and memory; 0, or -1 after a message. */
static int eyes_open(eyes_picture *picture, const char *path) {
    picture->path = path;
    picture->file = fopen(path, "rb");
    if (!picture->file)
        return eyes_fail(path, "cannot be opened");
    if (getc(picture->file) != 'P' || getc(picture->file) != '6')
        return eyes_fail(path, "is no binary PPM, which begins with P6");
    picture->width = eyes_number(picture->file);
    picture->height = picture->width < 1 ? -1 : eyes_number(picture->file);
    if (picture->height < 1)
        return eyes_fail(path, "its sides are not two numbers from 1 to 65536");
    if (eyes_number(picture->file) != 255)
        return eyes_fail(path, "its largest value is not 255, as samples of one byte have");
    if (eyes_is_short(picture->file, 3 * (int64_t)picture->width * picture->height))
        return eyes_fail(path, "ends before its last row");
    eyes_part rows = eyes_fit(picture->height, picture->width);
    eyes_part columns = eyes_fit(picture->width, picture->height);
    picture->rows = rows;
    picture->columns = columns;
    /* Where the height loses more than twice as many samples as the width, columns come first, as
     * in Pillow 13. */
    int64_t lost_rows = picture->height - rows.whole, lost = picture->width - columns.whole;
    picture->down_first = lost_rows > 2 * (lost > 0 ? lost : 0);
    size_t source_bytes = 3 * (size_t)picture->width;
    picture->row_bytes = picture->down_first ? source_bytes : 3 * (size_t)columns.count;
    int down = eyes_filter_create(&picture->down, &rows, 1, picture->height);
    int across = eyes_filter_create(&picture->across, &columns, columns.count, picture->width);
    picture->source = malloc(source_bytes);
    picture->line = malloc(picture->row_bytes);
    picture->ring = malloc((size_t)picture->down.stride * picture->row_bytes);
    if (down != 0 || across != 0 || !picture->source || !picture->line || !picture->ring)
        return eyes_fail(path, "is larger than memory");
    for (int x = 0; x < columns.count; x++)
        eyes_fill(&picture->across, x, &columns, x, picture->width);
    return 0;
}

static void eyes_close(eyes_picture *picture) {
    eyes_filter_destroy(&picture->down);
    eyes_filter_destroy(&picture->across);
    free(picture->source);
    free(picture->line);
    free(picture->ring);
    if (picture->file)
        fclose(picture->file);
}

static uint8_t *eyes_ring_row(const eyes_picture *picture, int y) {
    return picture->ring + (size_t)(y % picture->down.stride) * picture->row_bytes;
}

/* Rows before row `end`, into the ring; 0, or -1 after a message. */
static int eyes_read(eyes_picture *picture, int end) {
    size_t bytes = 3 * (size_t)picture->width;
    for (; picture->read < end; picture->read++) {
        uint8_t *to = eyes_ring_row(picture, picture->read);
        uint8_t *from = picture->down_first ? to : picture->source;
        if (fread(from, 1, bytes, picture->file) != bytes)
            return eyes_fail(picture->path, "ends before its last row");
        if (!picture->down_first)
            eyes_narrow(to, picture->columns.count, from, &picture->across);
    }
    return 0;
}

/* Row y of the square; 0, or -1 after a message. */
static int eyes_square_row(eyes_picture *picture, int y, uint8_t *rgb) {
    eyes_filter *down = &picture->down;
    int row = y - picture->rows.before;
    eyes_clear(rgb, 3 * EYES_SIDE);
    if (row < 0 || row >= picture->rows.count)
        return 0;
    eyes_fill(down, 0, &picture->rows, row, picture->height);
    int first = down->firsts[0], count = down->counts[0];
    if (eyes_read(picture, first + count) != 0)
        return -1;
    for (size_t i = 0; i < picture->row_bytes; i++) {
        int32_t sum = 1 << (EYES_FRACTION - 1);
        for (int j = 0; j < count; j++)
            sum += eyes_ring_row(picture, first + j)[i] * down->weights[j];
        picture->line[i] = eyes_clamp(sum);
    }
    rgb += 3 * (size_t)picture->columns.before;
    if (picture->down_first)
        eyes_narrow(rgb, picture->columns.count, picture->line, &picture->across);
    else
        eyes_copy(rgb, picture->line, picture->row_bytes);
    return 0;
}

/* -- The answer -------------------------------------------------------------------------------- */

static void eyes_print(const float *logits) {
    static double powers[EYES_CLASSES];
    double sum = 0.0;
    int answer = 0;
    for (int c = 1; c < EYES_CLASSES; c++)
        if (logits[c] > logits[answer])
            answer = c;
    for (int c = 0; c < EYES_CLASSES; c++) {
        powers[c] = exp((double)logits[c] - (double)logits[answer]);
        sum += powers[c];
    }
#ifdef EYES_THRESHOLD
    answer = powers[EYES_POSITIVE] / sum >= EYES_THRESHOLD ? EYES_POSITIVE : 1 - EYES_POSITIVE;
#endif
    printf("%s %.6f\n", eyes_class_names[answer], powers[answer] / sum);
}

int main(int argc, char **argv) {
    static eyes_state state;
    static uint8_t rgb[3 * EYES_SIDE];
    static float logits[EYES_CLASSES];
    eyes_picture picture = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: %s photo.ppm\n", argc > 0 ? argv[0] : "program");
        return 2;
    }
    int status = eyes_open(&picture, argv[1]);
    eyes_init(&state);
    for (int y = 0; y < EYES_SIDE && status == 0; y++) {
        status = eyes_square_row(&picture, y, rgb);
        eyes_row(&state, rgb);
    }
    if (status == 0 && eyes_finish(&state, logits) == 0)
        eyes_print(logits);
    eyes_close(&picture);
    return status == 0 ? 0 : 1;
}
