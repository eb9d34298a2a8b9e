/* codes.c: coded weights, decoded for a number of weights that the input says first; what was
 * decoded is encoded and decoded again, and is the same. And the input's own bytes as weights. */
#include "harness.h"

enum { COUNT_BYTES = 3, MOST_WEIGHTS = 1 << 12 };

/* Whether there are too many values for a code. */
static bool too_many(const int8_t *values, size_t count) {
    bool seen[256] = {false};
    int distinct = 0;
    for (size_t i = 0; i < count; i++) {
        distinct += values[i] && !seen[values[i] + 128];
        seen[values[i] + 128] = true;
    }
    return distinct > 15;
}

static void check_encoded(const int8_t *values, size_t count) {
    uint8_t *bytes = NULL;
    size_t size_bytes = 0, used_bytes = 0;
    sqz_error error;
    sqz_status status = sqz_codes_encode(values, count, &bytes, &size_bytes, &error);
    EXPECT(status == (too_many(values, count) ? SQZ_INVALID : SQZ_OK));
    if (status != SQZ_OK) {
        EXPECT(!bytes);
        return;
    }
    int8_t *again = malloc(count ? count : 1);
    EXPECT(again);
    EXPECT(sqz_codes_decode(bytes, size_bytes, &used_bytes, again, count, &error) == SQZ_OK);
    EXPECT(used_bytes == size_bytes && memcmp(values, again, count) == 0);
    sqz_codes_free(bytes);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sqz_error error;
    if (size < COUNT_BYTES)
        return 0;
    size_t count = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % (MOST_WEIGHTS + 1);
    data += COUNT_BYTES;
    size -= COUNT_BYTES;
    uint8_t *bytes = malloc(size ? size : 1);
    int8_t *values = malloc(count ? count : 1);
    EXPECT(bytes && values);
    memcpy(bytes, data, size);
    size_t used_bytes;
    harness_measure();
    sqz_status status = sqz_codes_decode(bytes, size, &used_bytes, values, count, &error);
    EXPECT(harness_peak() == 0); /* it allocates nothing */
    if (harness_accepted(status, &error)) {
        EXPECT(used_bytes <= size);
        harness_read(values, count);
        check_encoded(values, count);
    }
    check_encoded((const int8_t *)bytes, size);
    free(bytes);
    free(values);
    return 0;
}
