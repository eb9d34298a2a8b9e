/* test_codes.c: coded weights encoded, decoded, cut, and changed byte by byte. Each stream is
 * copied to memory of just its size, so that the sanitizers see a byte read past it. */
#include "check.h"

#include <stdlib.h>

enum { COUNT = 500 };

/* Knuth's linear congruential generator: the same numbers in every run. */
static uint64_t state = 1;
static unsigned next_number(unsigned limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % limit;
}

/* Weights of `distinct` values besides 0, `percent` of them not 0. */
static void fill(int8_t *values, size_t count, unsigned percent, unsigned distinct) {
    for (size_t i = 0; i < count; i++)
        values[i] = (int8_t)(next_number(100) < percent ? 5 + 7 * (int)next_number(distinct) : 0);
}

/* Decodes from and into memory of just these sizes; the bytes used, or 0 if it is refused. */
static size_t decode(const uint8_t *bytes, size_t size_bytes, int8_t *values, size_t count) {
    uint8_t *copy = malloc(size_bytes ? size_bytes : 1);
    size_t used_bytes = 0;
    sqz_error failure;
    CHECK(copy);
    if (!copy)
        return 0;
    memcpy(copy, bytes, size_bytes);
    sqz_status status = sqz_codes_decode(copy, size_bytes, &used_bytes, values, count, &failure);
    CHECK(status == SQZ_OK || status == SQZ_BAD_FILE);
    CHECK(status == SQZ_OK || strncmp(failure.message, "coded weights: ", 15) == 0);
    CHECK(used_bytes <= size_bytes);
    free(copy);
    return status == SQZ_OK ? used_bytes : 0;
}

static void test_layer(unsigned percent, unsigned distinct, size_t count) {
    int8_t *values = malloc(count ? count : 1), *found = malloc(count ? count : 1);
    uint8_t *bytes;
    size_t size_bytes;
    sqz_error failure;
    CHECK(values && found);
    if (!values || !found)
        return;
    fill(values, count, percent, distinct);
    CHECK_OK(sqz_codes_encode(values, count, &bytes, &size_bytes, &failure), failure);
    if (bytes) {
        CHECK(decode(bytes, size_bytes, found, count) == size_bytes);
        CHECK(count == 0 || memcmp(values, found, count) == 0);
        for (size_t cut = 0; cut < size_bytes; cut++)
            CHECK(decode(bytes, cut, found, count) == 0);
        for (size_t bit = 0; bit < 8 * size_bytes; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            decode(bytes, size_bytes, found, count);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (int round = 0; round < 2000; round++) {
            size_t at = next_number((unsigned)size_bytes);
            uint8_t before = bytes[at];
            bytes[at] = (uint8_t)next_number(256);
            decode(bytes, size_bytes, found, count ? next_number((unsigned)count) : 0);
            if (round % 4)
                bytes[at] = before;
        }
    }
    sqz_codes_free(bytes);
    free(values);
    free(found);
}

void test_codes(void);
void test_codes(void) {
    static const unsigned percents[] = {0, 3, 20, 50, 100};
    int8_t values[16], *nothing = NULL;
    uint8_t *bytes;
    size_t size_bytes;
    sqz_error failure;
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        test_layer(percents[i], 1, COUNT);
        test_layer(percents[i], 2, COUNT);
        test_layer(percents[i], 15, COUNT);
        test_layer(percents[i], 15, 1);
    }
    test_layer(20, 15, 0);
    for (int i = 0; i < 16; i++)
        values[i] = (int8_t)(i + 1);
    CHECK_FAILS(sqz_codes_encode(values, 16, &bytes, &size_bytes, &failure), failure, SQZ_INVALID,
                "16 distinct weights besides 0, expected at most 15");
    CHECK(!bytes && sqz_codes_encode(values, 16, &bytes, &size_bytes, NULL) == SQZ_INVALID);
    CHECK_OK(sqz_codes_encode(nothing, 0, &bytes, &size_bytes, &failure), failure);
    CHECK_OK(sqz_codes_decode(bytes, size_bytes, &size_bytes, nothing, 0, &failure), failure);
    CHECK(size_bytes == 5);
    sqz_codes_free(bytes);
    sqz_codes_free(NULL);
}
