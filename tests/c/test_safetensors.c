/* test_safetensors.c: tensor files written, read, cut, and changed byte by byte. */
#include "check.h"
#include "windows_calls.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[96];

static void put_file(const uint8_t *bytes, size_t size_bytes) {
    FILE *file = fopen(path, "wb");
    CHECK(file);
    if (!file)
        return;
    CHECK(fwrite(bytes, 1, size_bytes, file) == size_bytes);
    CHECK(fclose(file) == 0);
}

/* A file of this header and of data_bytes zeros. */
static void put_header(const char *header, size_t data_bytes) {
    uint8_t bytes[1024] = {0};
    size_t length = strlen(header);
    for (int b = 0; b < 8; b++)
        bytes[b] = (uint8_t)((uint64_t)length >> (8 * b));
    memcpy(bytes + 8, header, length);
    put_file(bytes, 8 + length + data_bytes);
}

static size_t get_file(uint8_t *bytes, size_t capacity) {
    FILE *file = fopen(path, "rb");
    CHECK(file);
    if (!file)
        return 0;
    size_t size_bytes = fread(bytes, 1, capacity, file);
    fclose(file);
    return size_bytes;
}

static size_t files_in_folder(void) {
    size_t count = 0;
    DIR *directory = opendir(folder);
    CHECK(directory);
    if (!directory)
        return 0;
    for (struct dirent *item; (item = readdir(directory));)
        count += item->d_name[0] != '.' || strlen(item->d_name) > 2; /* all but . and .. */
    closedir(directory);
    return count;
}

static const float weights[6] = {1.0f, -2.5f, 0.0f, -0.0f, 1e-42f, 3e38f};
static const sqz_tensor tensors[] = {
    {.name = "conv.weight", .rank = 2, .shape = {2, 3}, .count = 6, .values = weights},
    {.name = "空", .rank = 3, .shape = {4, 0, 1}, .count = 0, .values = NULL},
    {.name = "scalar", .rank = 0, .count = 1, .values = weights + 1},
};
static const sqz_metadata metadata[] = {{"classes", "[\"正常\", \"病理性近视\"]"},
                                        {"\t\\", "\x01"}};

static void write_it(void) {
    sqz_error failure;
    CHECK_OK(sqz_tensor_file_write(path, tensors, 3, metadata, 2, &failure), failure);
}

static void test_round_trip(void) {
    sqz_tensor_file *file;
    sqz_error failure;
    write_it();
    CHECK_OK(sqz_tensor_file_read(&file, path, &failure), failure);
    if (!file)
        return;
    CHECK(sqz_tensor_file_count(file) == 3 && sqz_tensor_file_metadata_count(file) == 2);
    for (size_t i = 0; i < 3; i++) {
        const sqz_tensor *found = sqz_tensor_file_tensor(file, i);
        CHECK(strcmp(found->name, tensors[i].name) == 0 && found->dtype == SQZ_F32);
        CHECK(found->rank == tensors[i].rank && found->count == tensors[i].count);
        CHECK(memcmp(found->shape, tensors[i].shape, sizeof found->shape) == 0);
        if (found->count)
            CHECK(memcmp(found->values, tensors[i].values, found->count * sizeof(float)) == 0);
    }
    for (size_t i = 0; i < 2; i++) {
        CHECK(strcmp(sqz_tensor_file_metadata(file, i)->key, metadata[i].key) == 0);
        CHECK(strcmp(sqz_tensor_file_metadata(file, i)->value, metadata[i].value) == 0);
    }
    CHECK(!sqz_tensor_file_tensor(file, 3) && !sqz_tensor_file_metadata(file, 2));
    sqz_tensor_file_destroy(file);
    sqz_tensor_file_destroy(NULL);
}

static void test_half_precision(void) {
    /* one, the smallest subnormal, -infinity; then, of bfloat16, -1.5 */
    static const uint8_t data[] = {0x00, 0x3C, 0x01, 0x00, 0x00, 0xFC, 0xC0, 0xBF};
    uint8_t bytes[256];
    sqz_tensor_file *file;
    sqz_error failure;
    put_header("{\"b\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[6,8]},"
               "\"h\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]}}",
               sizeof data);
    size_t size_bytes = get_file(bytes, sizeof bytes);
    memcpy(bytes + size_bytes - sizeof data, data, sizeof data);
    put_file(bytes, size_bytes);
    CHECK_OK(sqz_tensor_file_read(&file, path, &failure), failure);
    if (!file)
        return;
    const sqz_tensor *b = sqz_tensor_file_tensor(file, 0), *h = sqz_tensor_file_tensor(file, 1);
    CHECK(b->dtype == SQZ_BF16 && b->values[0] == -1.5f);
    CHECK(h->dtype == SQZ_F16 && h->values[0] == 1.0f && h->values[1] == 0x1p-24f);
    CHECK(isinf(h->values[2]) && h->values[2] < 0);
    sqz_tensor_file_destroy(file);
}

/* Every dtype written, of odd counts, and read back. */
static void test_dtypes(void) {
    static const int8_t signed_bytes[3] = {-128, 0, 127};
    static const float halves[3] = {1.0f / 3, -2.0f, 0x1p-25f};
    const sqz_tensor all[] = {
        {.name = "i", .dtype = SQZ_I8, .rank = 1, .shape = {3}, .count = 3, .bytes = signed_bytes},
        {.name = "h", .dtype = SQZ_F16, .rank = 1, .shape = {3}, .count = 3, .values = halves},
        {.name = "b", .dtype = SQZ_BF16, .rank = 1, .shape = {3}, .count = 3, .values = halves},
        {.name = "u", .dtype = SQZ_U8, .rank = 2, .shape = {1, 3}, .count = 3, .bytes = "xyz"},
        {.name = "n", .dtype = SQZ_U8, .rank = 1, .shape = {0}, .count = 0, .bytes = NULL},
        {.name = "f", .rank = 1, .shape = {3}, .count = 3, .values = halves},
    };
    sqz_tensor_file *file;
    sqz_error failure;
    CHECK_OK(sqz_tensor_file_write(path, all, 6, NULL, 0, &failure), failure);
    CHECK_OK(sqz_tensor_file_read(&file, path, &failure), failure);
    if (!file)
        return;
    for (size_t i = 0; i < 6; i++) {
        const sqz_tensor *found = sqz_tensor_file_tensor(file, i);
        CHECK(found->dtype == all[i].dtype && found->count == all[i].count);
        CHECK(!found->values == !all[i].values && !found->bytes == (all[i].values != NULL));
    }
    const float *h = sqz_tensor_file_tensor(file, 1)->values;
    const float *b = sqz_tensor_file_tensor(file, 2)->values;
    CHECK(memcmp(sqz_tensor_file_tensor(file, 0)->bytes, signed_bytes, 3) == 0);
    CHECK(memcmp(sqz_tensor_file_tensor(file, 3)->bytes, "xyz", 3) == 0);
    CHECK(memcmp(sqz_tensor_file_tensor(file, 5)->values, halves, sizeof halves) == 0);
    CHECK(h[0] == 0x1.554p-2f && h[1] == -2.0f && h[2] == 0.0f); /* a tie, to even */
    CHECK(b[0] == 0x1.56p-2f && b[1] == -2.0f && b[2] == 0x1p-25f);
    sqz_tensor_file_destroy(file);
    unlink(path);
}

static void refuses(const char *header, size_t data_bytes, const char *text) {
    sqz_tensor_file *file;
    sqz_error failure;
    put_header(header, data_bytes);
    CHECK_FAILS(sqz_tensor_file_read(&file, path, &failure), failure, SQZ_BAD_FILE, text);
    CHECK(!file && strncmp(failure.message, path, strlen(path)) == 0);
}

#define TENSOR(shape, offsets)                                                                     \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_bad_headers(void) {
    refuses("{ ", 0, "header byte 2: found the end");
    refuses("{} {", 0, "expected nothing but spaces");
    refuses("{\"\\ud800\":{}}", 0, "surrogates in pairs");
    refuses("{\"\xC0\xAF\":{}}", 0, "expected UTF-8");
    refuses("{\"a\":" TENSOR("[2]", "[0,8]") "}", 9, "9 bytes of data follow the header");
    refuses("{\"a\":" TENSOR("[2]", "[0,4]") "}", 8, "has 4 bytes of data, expected the 8");
    refuses("{\"a\":" TENSOR("[2]", "[8,0]") "}", 8, "not a begin and an end");
    refuses("{\"a\":" TENSOR("[2]", "[0,16]") "}", 8, "not a begin and an end");
    refuses("{\"a\":" TENSOR("[4611686018427387905,4]", "[0,16]") "}", 16, "product is too large");
    refuses("{\"a\":" TENSOR("[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "more than 8 dimensions");
    refuses("{\"a\":" TENSOR("[1]", "[0,4]") ",\"a\":" TENSOR("[1]", "[4,8]") "}", 8, "twice");
    refuses("{\"a\":" TENSOR("[1]", "[0,4]") ",\"b\":" TENSOR("[1]", "[8,12]") "}", 12,
            "\"b\" begins at byte 8 of the data, expected 4");
    refuses("{\"a\":" TENSOR("[2]", "[0,8]") ",\"b\":" TENSOR("[2]", "[4,12]") "}", 12,
            "\"b\" begins at byte 4 of the data, expected 8");
    refuses("{\"a\":{\"dtype\":\"I64\"}}", 0, "dtype \"I64\", expected F32, F16, BF16, U8 or I8");
}

static void test_cut_and_changed(void) {
    uint8_t whole[1024], changed[1024];
    sqz_tensor_file *file;
    sqz_error failure;
    write_it();
    size_t size_bytes = get_file(whole, sizeof whole);
    for (size_t cut = 0; cut < size_bytes; cut++) {
        put_file(whole, cut);
        CHECK_FAILS(sqz_tensor_file_read(&file, path, &failure), failure, SQZ_BAD_FILE, path);
    }
    uint64_t state = 1; /* Knuth's linear congruential generator: the same changes in every run */
    for (int round = 0; round < 300; round++) {
        memcpy(changed, whole, size_bytes);
        for (int i = 0; i < 2; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            changed[(state >> 40) % size_bytes] = (uint8_t)(state >> 32);
        }
        put_file(changed, size_bytes);
        sqz_status status = sqz_tensor_file_read(&file, path, &failure);
        CHECK(status == SQZ_BAD_FILE || (status == SQZ_OK && sqz_tensor_file_count(file) == 3));
        sqz_tensor_file_destroy(file);
    }
}

static void write_fails(const char *target, sqz_tensor tensor, sqz_status status,
                        const char *text) {
    const sqz_tensor both[] = {tensors[2], tensor};
    sqz_error failure;
    CHECK_FAILS(sqz_tensor_file_write(target, both, 2, NULL, 0, &failure), failure, status, text);
}

static void test_failed_writes(void) {
    uint8_t before[1024], after[1024];
    char missing[128];
    sqz_tensor good = tensors[0], bad = good;
    sqz_error failure;
    write_it();
    size_t size_bytes = get_file(before, sizeof before);
    bad.name = "scalar";
    write_fails(path, bad, SQZ_INVALID, "tensor name \"scalar\" is given twice");
    bad.name = "\xFF";
    write_fails(path, bad, SQZ_INVALID, "tensor name 1 is not UTF-8");
    bad.name = "__metadata__";
    write_fails(path, bad, SQZ_INVALID, "which the format reserves");
    bad = good;
    bad.count = 5;
    write_fails(path, bad, SQZ_INVALID, "expected the product of its shape");
    bad.rank = 9;
    write_fails(path, bad, SQZ_INVALID, "9 dimensions");
    bad.rank = 1;
    bad.shape[0] = -1;
    write_fails(path, bad, SQZ_INVALID, "a dimension of -1");
    bad = good;
    bad.dtype = (sqz_dtype)5;
    write_fails(path, bad, SQZ_INVALID, "the dtype 5, which is none");
    bad.dtype = SQZ_F16;
    write_fails(path, bad, SQZ_INVALID, "has 3e+38, beyond the range of F16");
    snprintf(missing, sizeof missing, "%s/nowhere/x", folder);
    write_fails(missing, good, SQZ_IO, "cannot be written");
    write_fails(folder, good, SQZ_IO, "cannot be written");
    CHECK_FAILS(sqz_tensor_file_write(path, NULL, 0, &(sqz_metadata){"a", "\x80"}, 1, &failure),
                failure, SQZ_INVALID, "metadata value 0 is not UTF-8");
    CHECK(get_file(after, sizeof after) == size_bytes && memcmp(before, after, size_bytes) == 0);
    CHECK(files_in_folder() == 1);
}

static void test_unreadable(void) {
    sqz_tensor_file *file;
    sqz_error failure;
    unlink(path);
    CHECK_FAILS(sqz_tensor_file_read(&file, path, &failure), failure, SQZ_IO, path);
    CHECK_FAILS(sqz_tensor_file_read(&file, folder, &failure), failure, SQZ_IO, folder);
    CHECK(sqz_tensor_file_read(&file, path, NULL) == SQZ_IO);
}

void test_safetensors(void);
void test_safetensors(void) {
    snprintf(folder, sizeof folder, "/tmp/sqz-test-tensors-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/模型.safetensors", folder);
    test_round_trip();
    test_half_precision();
    test_dtypes();
    test_bad_headers();
    test_cut_and_changed();
    test_failed_writes();
    test_unreadable();
    CHECK(files_in_folder() == 0 && rmdir(folder) == 0);
}
