/* deep_compression.c: a file in Deep Compression's form, of the smallest network that there is. */
#include "harness.h"

enum { COUNT_BYTES = 4, CODEBOOK_BYTES = 1024, CONVOLUTIONS = 26, TENSORS = 2 * CONVOLUTIONS };

static sqz_spec spec;
static sqz_parameter rows[TENSORS];
static size_t floats;

static void prepare(void) {
    sqz_error error;
    size_t count;
    if (floats)
        return;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, 1);
    spec.base_e = 2;
    spec.incr_e = 0;
    EXPECT(sqz_spec_parameters(&spec, rows, TENSORS, &count, &error) == SQZ_OK);
    EXPECT(count == TENSORS);
    for (size_t i = 0; i < TENSORS; i++)
        floats += rows[i].count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sqz_error error;
    prepare();
    const char *path = harness_file(data, size);
    float *parameters = malloc(floats * sizeof *parameters);
    EXPECT(parameters);
    harness_measure();
    sqz_status status = sqz_deep_compression_read(parameters, &spec, path, &error);
    /* By the spec alone: a file longer than its full weights is not read. */
    EXPECT(harness_peak() <=
           (int64_t)(sizeof rows + 2 * CONVOLUTIONS * CODEBOOK_BYTES + 4 * floats * sizeof(float)));
    if (harness_accepted(status, &error))
        for (size_t i = 0; i < floats; i++)
            EXPECT(parameters[i] - parameters[i] == 0); /* finite */
    free(parameters);
    return 0;
}

/* A file has just the length that its counts say: mostly it is given that. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    __msan_unpoison(data, size);
    prepare();
    size_t fields =
        seed % 4 == 1 && size > CONVOLUTIONS * COUNT_BYTES ? CONVOLUTIONS * COUNT_BYTES : size;
    if (fields < size) /* the counts alone */
        harness_mutate(data, fields, fields);
    else
        size = harness_mutate(data, size, max_size);
    if (size < CONVOLUTIONS * COUNT_BYTES || seed % 8 == 0)
        return size;
    size_t expected = CONVOLUTIONS * COUNT_BYTES;
    for (size_t i = 0; i < CONVOLUTIONS; i++) {
        size_t codes = 0;
        for (size_t b = 0; b < COUNT_BYTES; b++)
            codes |= (size_t)data[i * COUNT_BYTES + b] << 8 * b;
        if (codes > rows[2 * i].count)
            return size;
        expected += CODEBOOK_BYTES + 4 * rows[2 * i + 1].count + codes + (codes + 1) / 2;
    }
    if (expected > max_size)
        return size;
    if (expected > size)
        memset(data + size, 0, expected - size);
    return expected;
}
