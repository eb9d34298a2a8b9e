/* test_data.c: data sets and loaders, on pictures that the test draws itself. Run under the thread
 * sanitizer too: what is shared between threads is what can go wrong here. */
#include "check.h"
#include "windows_calls.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT = 12, SIZE = 16, PICTURE_BYTES = SIZE * SIZE * 3, ROUNDS = 60 };

static char folder[64];

/* COUNT pictures in the folder, and what they become. */
typedef struct {
    char names[COUNT][96];
    const char *paths[COUNT];
    uint8_t expected[COUNT][PICTURE_BYTES];
} album;

static void put32(uint8_t *bytes, uint32_t value) {
    for (int b = 0; b < 4; b++)
        bytes[b] = (uint8_t)(value >> (8 * b));
}

/* A 24-bit BMP of side x side, side a multiple of 4; pixels[side][side][3]. */
static void write_bmp(const char *path, const uint8_t *pixels, uint32_t side) {
    uint8_t header[54] = {'B', 'M'};
    put32(header + 2, 54 + side * side * 3);
    put32(header + 10, 54);
    put32(header + 14, 40);
    put32(header + 18, side);
    put32(header + 22, side);
    put32(header + 26, 1 | 24u << 16);
    put32(header + 34, side * side * 3);
    FILE *file = fopen(path, "wb");
    CHECK(file);
    if (!file)
        return;
    fwrite(header, 1, sizeof header, file);
    for (uint32_t y = side; y-- > 0;)
        for (uint32_t x = 0; x < side; x++)
            for (int c = 2; c >= 0; c--)
                fputc(pixels[(y * side + x) * 3 + (uint32_t)c], file);
    CHECK(fclose(file) == 0);
}

/* Picture i has a pattern and a size of its own. */
static void draw(album *a, size_t i) {
    uint8_t pixels[40 * 40 * 3];
    int side = 4 + 4 * (int)(i % 9);
    sqz_error failure;
    for (int at = 0; at < side * side * 3; at++)
        pixels[at] = (uint8_t)((at * at * 7 + at * 31) / 5 + (int)i * 53);
    snprintf(a->names[i], sizeof a->names[i], "%s/眼 %zu.bmp", folder, i);
    a->paths[i] = a->names[i];
    write_bmp(a->paths[i], pixels, (uint32_t)side);
    CHECK_OK(sqz_image_fit(a->expected[i], SIZE, SQZ_FIT_PAD, pixels, side, side, &failure),
             failure);
}

static void make_album(album *a) {
    snprintf(folder, sizeof folder, "/tmp/sqz-test-data-XXXXXX");
    CHECK(mkdtemp(folder));
    for (size_t i = 0; i < COUNT; i++)
        draw(a, i);
}

static void remove_album(const album *a) {
    for (size_t i = 0; i < COUNT; i++)
        unlink(a->names[i]);
    CHECK(rmdir(folder) == 0);
}

static bool is_picture(const album *a, size_t index, const uint8_t *picture) {
    return memcmp(picture, a->expected[index], PICTURE_BYTES) == 0;
}

static sqz_dataset *open_album(const album *a, size_t cached_pictures) {
    sqz_dataset *dataset;
    sqz_error failure;
    CHECK_OK(sqz_dataset_create(&dataset, a->paths, COUNT, SIZE, SQZ_FIT_PAD,
                                cached_pictures * PICTURE_BYTES, &failure),
             failure);
    return dataset;
}

static void test_cache(const album *a) {
    uint8_t picture[PICTURE_BYTES];
    sqz_error failure;
    sqz_dataset *dataset = open_album(a, 5);
    CHECK(sqz_dataset_count(dataset) == COUNT && sqz_dataset_cached_bytes(dataset) == 0);
    for (size_t i = 0; i < 2 * COUNT; i++) {
        CHECK_OK(sqz_dataset_picture(dataset, i % COUNT, picture, &failure), failure);
        CHECK(is_picture(a, i % COUNT, picture));
        CHECK(sqz_dataset_cached_bytes(dataset) == (i < 5 ? i + 1 : 5) * PICTURE_BYTES);
    }
    CHECK_FAILS(sqz_dataset_picture(dataset, COUNT, picture, &failure), failure, SQZ_INVALID,
                "index is 12, expected less than 12");
    CHECK(sqz_dataset_picture(dataset, COUNT, picture, NULL) == SQZ_INVALID);
    sqz_dataset_destroy(dataset);
    sqz_dataset_destroy(NULL);
}

static void test_dataset_arguments(const album *a) {
    sqz_dataset *dataset;
    sqz_error failure;
    const char *const empty[] = {"a", ""}, *const missing[] = {NULL};
    CHECK_FAILS(sqz_dataset_create(&dataset, a->paths, COUNT, 0, SQZ_FIT_PAD, 0, &failure), failure,
                SQZ_INVALID, "image_size is 0, expected 1 to");
    CHECK(!dataset);
    CHECK_FAILS(sqz_dataset_create(&dataset, empty, 2, SIZE, SQZ_FIT_PAD, 0, &failure), failure,
                SQZ_INVALID, "paths[1] is empty");
    CHECK_FAILS(sqz_dataset_create(&dataset, missing, 1, SIZE, SQZ_FIT_PAD, 0, &failure), failure,
                SQZ_INVALID, "paths[0] is empty");
    CHECK_OK(sqz_dataset_create(&dataset, NULL, 0, SIZE, SQZ_FIT_PAD, 0, &failure), failure);
    CHECK(sqz_dataset_count(dataset) == 0);
    sqz_dataset_destroy(dataset);
}

/* Pictures in memory become what files become. One that is square already is never kept. */
static void test_in_memory(void) {
    enum { SIDES = 3 };
    static const int sides[SIDES] = {SIZE, 5, 40};
    static uint8_t pixels[SIDES][40 * 40 * 3];
    sqz_image images[SIDES];
    uint8_t picture[PICTURE_BYTES], expected[PICTURE_BYTES];
    sqz_dataset *dataset;
    sqz_error failure;
    for (int i = 0; i < SIDES; i++) {
        for (int at = 0; at < sides[i] * sides[i] * 3; at++)
            pixels[i][at] = (uint8_t)(at * 13 + i);
        images[i] = (sqz_image){sides[i], sides[i], pixels[i]};
    }
    CHECK_OK(sqz_dataset_create_in_memory(&dataset, images, SIDES, SIZE, SQZ_FIT_PAD,
                                          2 * PICTURE_BYTES, &failure),
             failure);
    CHECK(sqz_dataset_count(dataset) == SIDES);
    for (size_t i = 0; i < 2 * SIDES; i++) {
        const sqz_image *image = &images[i % SIDES];
        CHECK_OK(
            sqz_image_fit(expected, SIZE, SQZ_FIT_PAD, image->pixels, image->h, image->w, &failure),
            failure);
        CHECK_OK(sqz_dataset_picture(dataset, i % SIDES, picture, &failure), failure);
        CHECK(memcmp(picture, expected, PICTURE_BYTES) == 0);
        CHECK(sqz_dataset_cached_bytes(dataset) == (i < 2 ? i : 2) * PICTURE_BYTES);
    }
    sqz_dataset_destroy(dataset);
    images[1].w = 0;
    CHECK_FAILS(
        sqz_dataset_create_in_memory(&dataset, images, SIDES, SIZE, SQZ_FIT_PAD, 0, &failure),
        failure, SQZ_INVALID, "images[1] is 0 x 5, expected at least a pixel");
    CHECK(!dataset);
    CHECK_FAILS(sqz_dataset_create_in_memory(&dataset, images, 1, 0, SQZ_FIT_PAD, 0, &failure),
                failure, SQZ_INVALID, "image_size is 0");
    CHECK_OK(sqz_dataset_create_in_memory(&dataset, NULL, 0, SIZE, SQZ_FIT_PAD, 0, &failure),
             failure);
    sqz_dataset_destroy(dataset);
}

/* What one of several threads on one data set does. */
typedef struct {
    const album *album;
    sqz_dataset *dataset;
    size_t start;
    int wrong;
} visitor;

static void *visit(void *argument) {
    visitor *v = argument;
    uint8_t picture[PICTURE_BYTES];
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t index = (v->start + i * 5) % COUNT;
        if (sqz_dataset_picture(v->dataset, index, picture, NULL) != SQZ_OK ||
            !is_picture(v->album, index, picture) ||
            sqz_dataset_cached_bytes(v->dataset) > 7 * PICTURE_BYTES)
            v->wrong++;
    }
    return NULL;
}

static void test_threads_on_one_dataset(const album *a) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    visitor visitors[THREADS];
    sqz_dataset *dataset = open_album(a, 7);
    for (size_t i = 0; i < THREADS; i++) {
        visitors[i] = (visitor){a, dataset, i / 2, 0}; /* two at a time want the same picture */
        CHECK(pthread_create(&threads[i], NULL, visit, &visitors[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(visitors[i].wrong == 0);
    }
    CHECK(sqz_dataset_cached_bytes(dataset) == 7 * PICTURE_BYTES);
    sqz_dataset_destroy(dataset);
}

static sqz_loader *open_loader(sqz_dataset *dataset, size_t count, size_t ahead, int threads) {
    int64_t order[ROUNDS];
    sqz_loader *loader;
    sqz_error failure;
    for (size_t i = 0; i < count; i++)
        order[i] = (int64_t)(i * 7 % COUNT);
    CHECK_OK(sqz_loader_create(&loader, dataset, order, count, ahead, threads, &failure), failure);
    return loader;
}

/* The next n pictures are those of the order, from position `at`. */
static void check_next(const album *a, sqz_loader *loader, size_t at, size_t n) {
    uint8_t *pictures = malloc(n * PICTURE_BYTES + 1);
    sqz_error failure;
    CHECK(pictures);
    if (!pictures)
        return;
    CHECK_OK(sqz_loader_next(loader, pictures, n, &failure), failure);
    for (size_t i = 0; i < n; i++)
        CHECK(is_picture(a, (at + i) * 7 % COUNT, pictures + i * PICTURE_BYTES));
    free(pictures);
}

static void test_loader_order(const album *a) {
    static const size_t aheads[] = {1, 3, SIZE_MAX};
    sqz_dataset *dataset = open_album(a, 4);
    sqz_error failure;
    for (int threads = 1; threads <= 4; threads++)
        for (size_t i = 0; i < 3; i++) {
            sqz_loader *loader = open_loader(dataset, ROUNDS, aheads[i], threads);
            sqz_loader *other = open_loader(dataset, ROUNDS, 2, 2);
            check_next(a, loader, 0, 1);
            check_next(a, loader, 1, 29);
            check_next(a, other, 0, 20);
            check_next(a, loader, 30, 0);
            check_next(a, loader, 30, 30);
            CHECK_FAILS(sqz_loader_next(loader, NULL, 1, &failure), failure, SQZ_INVALID,
                        "only 0 of 60 are left");
            check_next(a, other, 20, 7);
            sqz_loader_destroy(loader);
            sqz_loader_destroy(other); /* with pictures in work */
        }
    sqz_dataset_destroy(dataset);
}

static void test_loader_arguments(const album *a) {
    sqz_dataset *dataset = open_album(a, 0);
    sqz_loader *loader;
    sqz_error failure;
    const int64_t beyond[] = {0, COUNT}, negative[] = {-1};
    CHECK_FAILS(sqz_loader_create(&loader, dataset, beyond, 2, 1, 1, &failure), failure,
                SQZ_INVALID, "order[1] is 12, expected 0 or more and less than 12");
    CHECK(!loader);
    CHECK_FAILS(sqz_loader_create(&loader, dataset, negative, 1, 1, 1, &failure), failure,
                SQZ_INVALID, "order[0] is -1");
    CHECK_FAILS(sqz_loader_create(&loader, dataset, beyond, 1, 0, 1, &failure), failure,
                SQZ_INVALID, "ahead is 0");
    CHECK_FAILS(sqz_loader_create(&loader, dataset, beyond, 1, 1, 0, &failure), failure,
                SQZ_INVALID, "threads is 0");
    CHECK_OK(sqz_loader_create(&loader, dataset, NULL, 0, 1, 1, &failure), failure);
    CHECK_OK(sqz_loader_next(loader, NULL, 0, &failure), failure);
    sqz_loader_destroy(loader);
    sqz_loader_destroy(NULL);
    sqz_dataset_destroy(dataset);
}

/* Files 3 and 8 are bad, and in the order 0, 1, 2, ... 3 is reported, whichever was first found. */
static void test_failure_at_its_turn(const album *a) {
    int64_t order[COUNT];
    const char *paths[COUNT];
    uint8_t pictures[COUNT * PICTURE_BYTES];
    sqz_dataset *dataset;
    sqz_loader *loader;
    sqz_error failure;
    for (size_t i = 0; i < COUNT; i++) {
        order[i] = (int64_t)i;
        paths[i] = i == 3 ? "/nowhere/three.bmp" : i == 8 ? "/nowhere/eight.bmp" : a->paths[i];
    }
    CHECK_OK(sqz_dataset_create(&dataset, paths, COUNT, SIZE, SQZ_FIT_PAD, 0, &failure), failure);
    for (int threads = 1; threads <= 4; threads++) {
        CHECK_OK(sqz_loader_create(&loader, dataset, order, COUNT, COUNT, threads, &failure),
                 failure);
        CHECK_OK(sqz_loader_next(loader, pictures, 3, &failure), failure);
        for (size_t i = 0; i < 3; i++)
            CHECK(is_picture(a, i, pictures + i * PICTURE_BYTES));
        for (size_t n = 1; n <= COUNT; n++)
            CHECK_FAILS(sqz_loader_next(loader, pictures, n, &failure), failure, SQZ_IO,
                        "/nowhere/three.bmp");
        CHECK(sqz_loader_next(loader, pictures, 1, NULL) == SQZ_IO);
        sqz_loader_destroy(loader);
    }
    sqz_dataset_destroy(dataset);
}

static void test_destroyed_at_once(const album *a) {
    sqz_dataset *dataset = open_album(a, 0);
    for (int round = 0; round < 20; round++)
        sqz_loader_destroy(open_loader(dataset, ROUNDS, 1 + (size_t)round, 1 + round % 4));
    sqz_dataset_destroy(dataset);
}

void test_data(void);
void test_data(void) {
    static album a;
    make_album(&a);
    test_cache(&a);
    test_dataset_arguments(&a);
    test_in_memory();
    test_threads_on_one_dataset(&a);
    test_loader_order(&a);
    test_loader_arguments(&a);
    test_failure_at_its_turn(&a);
    test_destroyed_at_once(&a);
    remove_album(&a);
}
