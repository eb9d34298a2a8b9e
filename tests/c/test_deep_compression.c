/* test_deep_compression.c: a small network's file in Deep Compression's form, read, cut, and
 * changed byte by byte. */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 52, CONVOLUTIONS = ROWS / 2, CODEBOOK = 256 };

static sqz_spec spec;
static sqz_parameter rows[ROWS];
static size_t floats;
static char path[64];

static void put_file(const uint8_t *bytes, size_t size_bytes) {
    FILE *file = fopen(path, "wb");
    CHECK(file);
    if (!file)
        return;
    CHECK(fwrite(bytes, 1, size_bytes, file) == size_bytes);
    CHECK(fclose(file) == 0);
}

static void put_uint32(uint8_t *bytes, uint32_t value) {
    for (int b = 0; b < 4; b++)
        bytes[b] = (uint8_t)(value >> 8 * b);
}

static void put_float(uint8_t *bytes, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_uint32(bytes, bits);
}

/* Of each convolution the last weight alone is not 0, but the number of the convolution, counted
 * from 1; its biases are that number's negative. Returns the file's length. */
static size_t make_file(uint8_t *bytes) {
    uint8_t *next = bytes + CONVOLUTIONS * 4;
    for (uint32_t c = 0; c < CONVOLUTIONS; c++) {
        size_t weights = rows[2 * c].count, biases = rows[2 * c + 1].count;
        size_t codes = (weights + 15) / 16;
        put_uint32(bytes + 4 * c, (uint32_t)codes);
        for (size_t i = 0; i < CODEBOOK; i++, next += 4)
            put_float(next, i == 9 ? (float)(c + 1) : 0);
        for (size_t i = 0; i < biases; i++, next += 4)
            put_float(next, -(float)(c + 1));
        memset(next, 0, codes + (codes + 1) / 2);
        next[codes - 1] = 9;
        for (size_t i = 0; i < codes; i++) {
            size_t run = i + 1 < codes ? 15 : (weights - 1) % 16;
            next[codes + i / 2] |= (uint8_t)(run << 4 * (i % 2));
        }
        next += codes + (codes + 1) / 2;
    }
    return (size_t)(next - bytes);
}

static void check_values(const float *parameters) {
    for (int row = 0; row < ROWS; row++) {
        const float *values = parameters + rows[row].offset, number = (float)(row / 2 + 1);
        for (size_t i = 0; i < rows[row].count; i++) {
            float expected = row % 2 ? -number : i + 1 == rows[row].count ? number : 0;
            if (values[i] != expected) {
                CHECK(values[i] == expected);
                return;
            }
        }
    }
}

static void test_read(float *parameters, const uint8_t *bytes, size_t size_bytes) {
    sqz_error failure;
    put_file(bytes, size_bytes);
    CHECK_OK(sqz_deep_compression_read(parameters, &spec, path, &failure), failure);
    check_values(parameters);
    CHECK_FAILS(sqz_deep_compression_read(parameters, &spec, "/nowhere/x", &failure), failure,
                SQZ_IO, "/nowhere/x: cannot be read");
    sqz_spec wrong = spec;
    wrong.num_classes = 0;
    CHECK_FAILS(sqz_deep_compression_read(parameters, &wrong, path, &failure), failure, SQZ_INVALID,
                "num_classes");
    wrong.num_classes = spec.num_classes + 1;
    CHECK_FAILS(sqz_deep_compression_read(parameters, &wrong, path, &failure), failure,
                SQZ_BAD_FILE, "is cut short");
}

static void test_cut_and_changed(float *parameters, const uint8_t *bytes, size_t size_bytes) {
    sqz_error failure;
    uint8_t *changed = malloc(size_bytes);
    CHECK(changed);
    if (!changed)
        return;
    for (size_t cut = 0; cut < size_bytes; cut += cut < 200 ? 1 : 997) {
        put_file(bytes, cut);
        CHECK_FAILS(sqz_deep_compression_read(parameters, &spec, path, &failure), failure,
                    SQZ_BAD_FILE, "is cut short");
    }
    uint64_t state = 1; /* Knuth's linear congruential generator: the same changes in every run */
    for (int round = 0; round < 200; round++) {
        memcpy(changed, bytes, size_bytes);
        for (int i = 0; i < 3; i++) { /* one of them a count */
            state = state * 6364136223846793005u + 1442695040888963407u;
            size_t end = i ? size_bytes : CONVOLUTIONS * 4;
            changed[(state >> 40) % end] = (uint8_t)(state >> 32);
        }
        put_file(changed, size_bytes);
        sqz_status status = sqz_deep_compression_read(parameters, &spec, path, &failure);
        CHECK(status == SQZ_OK || status == SQZ_BAD_FILE);
    }
    free(changed);
}

void test_deep_compression(void);
void test_deep_compression(void) {
    sqz_error failure;
    size_t count = 0, size_bytes;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, 2);
    spec.base_e = spec.incr_e = 16;
    CHECK_OK(sqz_spec_parameters(&spec, rows, ROWS, &count, &failure), failure);
    CHECK(count == ROWS);
    floats = rows[ROWS - 1].offset + rows[ROWS - 1].count;
    snprintf(path, sizeof path, "/tmp/sqz-test-deep-XXXXXX");
    int descriptor = mkstemp(path);
    CHECK(descriptor >= 0 && close(descriptor) == 0);
    float *parameters = malloc(floats * sizeof *parameters);
    uint8_t *bytes = malloc(CONVOLUTIONS * 1028 + 4 * floats);
    if (count == ROWS && parameters && bytes) {
        size_bytes = make_file(bytes);
        test_read(parameters, bytes, size_bytes);
        test_cut_and_changed(parameters, bytes, size_bytes);
    } else
        CHECK(!"out of memory, or another number of rows");
    CHECK(unlink(path) == 0);
    free(bytes);
    free(parameters);
}
