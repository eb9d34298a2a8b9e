/* safetensors.c: a safetensors file, read; what could be read is written and read again, and is the
 * same. */
#include "harness.h"

/* Headers are lists of small things: an entry, with its place in sorted lists, is what `{"":...` of
 * some 50 bytes makes; F16 becomes float32. Lists double as they grow, from 64 entries. */
enum { BYTES_OF_BYTE = 16, BYTES_BESIDE = 1 << 16 };
enum { MOST_TENSORS = 64 };

static const char *written_path(void) {
    static char path[512];
    const char *folder = getenv("TMPDIR");
    if (!path[0])
        snprintf(path, sizeof path, "%s/written.safetensors", folder ? folder : "/tmp");
    return path;
}

/* What no file may hold is not written, and nothing is left of it. */
static void check_refused(void) {
    static const float large[] = {1e30f};
    static const sqz_tensor good = {
        .name = "a", .dtype = SQZ_F32, .rank = 1, .shape = {1}, .count = 1, .values = large};
    enum { CASES = 8 };
    sqz_tensor wrong[CASES][2];
    for (size_t i = 0; i < CASES; i++)
        wrong[i][0] = wrong[i][1] = good;
    wrong[0][0].name = "\xff";
    wrong[1][0].name = "a"; /* twice */
    wrong[2][0].name = "__metadata__";
    wrong[3][0].rank = 9;
    wrong[4][0].shape[0] = -1;
    wrong[5][0].count = 2;
    wrong[6][0].dtype = (sqz_dtype)5;
    wrong[7][0].dtype = SQZ_F16; /* beyond which the value is, which is found while it is written */
    for (size_t i = 0; i < CASES; i++) {
        wrong[i][1].name = i == 1 ? "a" : "b";
        EXPECT(sqz_tensor_file_write(written_path(), wrong[i], 2, NULL, 0, NULL) == SQZ_INVALID);
    }
    const sqz_metadata metadata = {"key", "\xff"};
    EXPECT(sqz_tensor_file_write(written_path(), &good, 1, &metadata, 1, NULL) == SQZ_INVALID);
    EXPECT(sqz_tensor_file_write("/proc/none/a", &good, 1, NULL, 0, NULL) == SQZ_IO);
    EXPECT(sqz_tensor_file_write("/proc", &good, 1, NULL, 0, NULL) == SQZ_IO);
    EXPECT(sqz_file_write(written_path(), "a", 1, NULL) == SQZ_OK);
}

/* The same float; NaNs are the same whatever their bits, of which a half has not room for all. */
static bool same(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

static void check_tensor(const sqz_tensor *a, const sqz_tensor *b) {
    EXPECT(strcmp(a->name, b->name) == 0 && a->dtype == b->dtype && a->rank == b->rank);
    EXPECT(memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0);
    EXPECT(a->count == b->count && !a->values == !b->values && !a->bytes != !a->values);
    if (a->bytes)
        EXPECT(memcmp(a->bytes, b->bytes, a->count) == 0);
    for (size_t i = 0; a->values && i < a->count; i++)
        EXPECT(same(a->values[i], b->values[i]));
}

static void check_written(const sqz_tensor_file *file) {
    sqz_tensor tensors[MOST_TENSORS];
    sqz_metadata metadata[MOST_TENSORS];
    sqz_tensor_file *again;
    sqz_error error;
    size_t count = sqz_tensor_file_count(file), pairs = sqz_tensor_file_metadata_count(file);
    if (count > MOST_TENSORS || pairs > MOST_TENSORS)
        return;
    for (size_t i = 0; i < count; i++)
        tensors[i] = *sqz_tensor_file_tensor(file, i);
    for (size_t i = 0; i < pairs; i++)
        metadata[i] = *sqz_tensor_file_metadata(file, i);
    const char *path = written_path();
    EXPECT(sqz_tensor_file_write(path, tensors, count, metadata, pairs, &error) == SQZ_OK);
    EXPECT(sqz_tensor_file_read(&again, path, &error) == SQZ_OK);
    EXPECT(sqz_tensor_file_count(again) == count && sqz_tensor_file_metadata_count(again) == pairs);
    for (size_t i = 0; i < count; i++)
        check_tensor(&tensors[i], sqz_tensor_file_tensor(again, i));
    for (size_t i = 0; i < pairs; i++) {
        const sqz_metadata *pair = sqz_tensor_file_metadata(again, i);
        EXPECT(strcmp(pair->key, metadata[i].key) == 0);
        EXPECT(strcmp(pair->value, metadata[i].value) == 0);
    }
    sqz_tensor_file_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sqz_tensor_file *file;
    sqz_error error;
    const char *path = harness_file(data, size);
    harness_measure();
    sqz_status status = sqz_tensor_file_read(&file, path, &error);
    EXPECT(harness_peak() <= BYTES_OF_BYTE * (int64_t)size + BYTES_BESIDE);
    if (!harness_accepted(status, &error)) {
        EXPECT(!file);
        return 0;
    }
    static bool refused;
    if (!refused)
        check_refused();
    refused = true;
    for (size_t i = 0; i < sqz_tensor_file_count(file); i++) {
        const sqz_tensor *tensor = sqz_tensor_file_tensor(file, i);
        harness_read(tensor->name, strlen(tensor->name));
        harness_read(tensor->values, tensor->values ? tensor->count * sizeof(float) : 0);
        harness_read(tensor->bytes, tensor->bytes ? tensor->count : 0);
    }
    check_written(file);
    sqz_tensor_file_destroy(file);
    return 0;
}

/* The header's length has to fit the header, so a mutation of the header changes it too: of what
 * can be a file the header and the data are mutated, one at a time. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    __msan_unpoison(data, size);
    enum { LENGTH = 8 };
    uint64_t header = 0;
    for (size_t i = 0; size >= LENGTH && i < LENGTH; i++)
        header |= (uint64_t)data[i] << 8 * i;
    if (size < LENGTH || header > size - LENGTH || max_size < 2 * LENGTH || seed % 16 == 0)
        return harness_mutate(data, size, max_size);
    size_t others = size - LENGTH - (size_t)header;
    if (others && seed % 4 == 0)
        return LENGTH + (size_t)header +
               harness_mutate(data + LENGTH + header, others, max_size - LENGTH - header);
    uint8_t *tail = malloc(others + 1);
    EXPECT(tail);
    memcpy(tail, data + LENGTH + header, others);
    header = harness_mutate(data + LENGTH, (size_t)header, max_size - LENGTH - others);
    memcpy(data + LENGTH + header, tail, others);
    free(tail);
    for (size_t i = 0; i < LENGTH; i++)
        data[i] = (uint8_t)(header >> 8 * i);
    return LENGTH + (size_t)header + others;
}
