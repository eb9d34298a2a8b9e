/* A program: reads a binary PPM, makes it square row by row (scale.c), and prints the answer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A picture being read. */
typedef struct {
    FILE *file;
    const char *path;
    void *memory;
    eyes_scaler scaler;
} eyes_picture;

static int eyes_fail(const char *path, const char *what) {
    fprintf(stderr, "%s: %s\n", path, what);
    return -1;
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

/* An eyes_reader; -1 after a message. */
static int eyes_read_row(void *from, uint8_t *rgb) {
    eyes_picture *picture = from;
    size_t bytes = 3 * (size_t)picture->scaler.width;
    if (fread(rgb, 1, bytes, picture->file) != bytes)
        return eyes_fail(picture->path, "ends before its last row");
    return 0;
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

/* The header, and memory; 0, or -1 after a message. */
static int eyes_open(eyes_picture *picture, const char *path) {
    picture->path = path;
    picture->file = fopen(path, "rb");
    if (!picture->file)
        return eyes_fail(path, "cannot be opened");
    if (getc(picture->file) != 'P' || getc(picture->file) != '6')
        return eyes_fail(path, "is no binary PPM, which begins with P6");
    int width = eyes_number(picture->file);
    int height = width < 1 ? -1 : eyes_number(picture->file);
    if (height < 1)
        return eyes_fail(path, "its sides are not two numbers from 1 to 65536");
    if (eyes_number(picture->file) != 255)
        return eyes_fail(path, "its largest value is not 255, as samples of one byte have");
    if (eyes_is_short(picture->file, 3 * (int64_t)width * height))
        return eyes_fail(path, "ends before its last row");
    size_t bytes = eyes_scaler_init(&picture->scaler, width, height, eyes_read_row, picture);
    picture->memory = malloc(bytes);
    if (!picture->memory)
        return eyes_fail(path, "is larger than memory");
    eyes_scaler_start(&picture->scaler, picture->memory);
    return 0;
}

static void eyes_close(eyes_picture *picture) {
    free(picture->memory);
    if (picture->file)
        fclose(picture->file);
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
        status = eyes_scaler_row(&picture.scaler, y, rgb);
        eyes_row(&state, rgb);
    }
    if (status == 0 && eyes_finish(&state, logits) == 0)
        eyes_print(logits);
    eyes_close(&picture);
    return status == 0 ? 0 : 1;
}
