/* safetensors.c: reading. The layout is in safetensors.h.
 *
 * A file is believed in nothing. The header's length is checked against the file's before the
 * header is read; then every shape against its range, and all ranges against the data, before the
 * data is read. So memory is bounded by a multiple of the file's size, whatever it claims. */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "../base/bfloat16.h"
#include "../base/float16.h"
#include "../base/memory.h"
#include "json.h"

typedef struct {
    sqz_tensor tensor;
    int64_t begin, end; /* its bytes within the data */
} entry;

struct sqz_tensor_file {
    char *header; /* names, keys and values point into it */
    entry *entries;
    size_t count, capacity;
    sqz_metadata *metadata;
    size_t metadata_count, metadata_capacity;
    float *values;  /* of all tensors of floats, in the order of the header */
    uint8_t *bytes; /* of all others */
};

/* A file being read. */
typedef struct {
    sqz_tensor_file *file;
    const char *path;
    sqz_file source;
    int64_t header_bytes, data_bytes;
    sqz_json json;
    sqz_error *error;
} reader;

const sqz_tensor_dtype sqz_tensor_dtypes[SQZ_TENSOR_DTYPES] = {
    [SQZ_F32] = {"F32", 4, true}, [SQZ_F16] = {"F16", 2, true}, [SQZ_BF16] = {"BF16", 2, true},
    [SQZ_U8] = {"U8", 1, false},  [SQZ_I8] = {"I8", 1, false},
};

/* -- Numbers ----------------------------------------------------------------------------------- */

bool sqz_tensor_shape_count(size_t *count, const int64_t *shape, int rank) {
    size_t product = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] == 0)
            empty = true;
        else if ((uint64_t)shape[i] > SIZE_MAX / 8 / product)
            return false;
        else
            product *= (size_t)shape[i];
    }
    *count = empty ? 0 : product;
    return true;
}

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void convert(float *out, const uint8_t *bytes, size_t count, sqz_dtype dtype) {
    for (size_t i = 0; i < count; i++) {
        if (dtype == SQZ_F32) {
            const uint8_t *b = bytes + 4 * i;
            out[i] = float_of_bits((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
                                   (uint32_t)b[3] << 24);
        } else {
            uint16_t half = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
            out[i] = dtype == SQZ_F16 ? sqz_float16_widen(half) : sqz_bfloat16_widen(half);
        }
    }
}

/* -- The file ---------------------------------------------------------------------------------- */

/* Reads the header's length and the header, and finds how much data follows. */
static sqz_status read_header(reader *r) {
    uint8_t bytes[SQZ_TENSOR_LENGTH_BYTES];
    uint64_t length = 0;
    if (r->source.size_bytes < SQZ_TENSOR_LENGTH_BYTES)
        return sqz_fail(r->error, SQZ_BAD_FILE,
                        "%s: the file has %lld bytes, expected at least the %d of the header's "
                        "length",
                        r->path, (long long)r->source.size_bytes, SQZ_TENSOR_LENGTH_BYTES);
    SQZ_TRY(sqz_file_read(&r->source, bytes, sizeof bytes, 0, r->error));
    for (int i = SQZ_TENSOR_LENGTH_BYTES - 1; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length < 2 || length > SQZ_TENSOR_MAX_HEADER_BYTES)
        return sqz_fail(r->error, SQZ_BAD_FILE,
                        "%s: the header's length is given as %llu bytes, expected 2 to %d "
                        "(is this a safetensors file?)",
                        r->path, (unsigned long long)length, SQZ_TENSOR_MAX_HEADER_BYTES);
    if ((int64_t)length > r->source.size_bytes - SQZ_TENSOR_LENGTH_BYTES)
        return sqz_fail(r->error, SQZ_BAD_FILE,
                        "%s: the header's length is given as %llu bytes, but only %lld follow",
                        r->path, (unsigned long long)length,
                        (long long)r->source.size_bytes - SQZ_TENSOR_LENGTH_BYTES);
    r->header_bytes = (int64_t)length;
    r->data_bytes = r->source.size_bytes - SQZ_TENSOR_LENGTH_BYTES - r->header_bytes;
    r->file->header = malloc((size_t)length);
    if (!r->file->header)
        return sqz_fail_memory(r->error, "a safetensors header", (size_t)length);
    return sqz_file_read(&r->source, r->file->header, (size_t)length, SQZ_TENSOR_LENGTH_BYTES,
                         r->error);
}

/* -- The header -------------------------------------------------------------------------------- */

/* Room for one more item in a growing array. */
static sqz_status grow(void **items, size_t count, size_t *capacity, size_t item_bytes,
                       sqz_error *error) {
    if (count < *capacity)
        return SQZ_OK;
    size_t wanted = *capacity ? 2 * *capacity : 64;
    size_t wanted_bytes = sqz_size_multiply(wanted, item_bytes);
    void *grown = wanted_bytes == SIZE_MAX ? NULL : realloc(*items, wanted_bytes);
    if (!grown)
        return sqz_fail_memory(error, "a safetensors header", wanted_bytes);
    *items = grown;
    *capacity = wanted;
    return SQZ_OK;
}

static sqz_status parse_metadata(reader *r) {
    sqz_tensor_file *file = r->file;
    bool more;
    SQZ_TRY(sqz_json_enter(&r->json, '{'));
    for (;;) {
        SQZ_TRY(sqz_json_more(&r->json, '}', &more));
        if (!more)
            return SQZ_OK;
        void *items = file->metadata;
        SQZ_TRY(grow(&items, file->metadata_count, &file->metadata_capacity, sizeof *file->metadata,
                     r->error));
        file->metadata = items;
        sqz_metadata *pair = &file->metadata[file->metadata_count];
        SQZ_TRY(sqz_json_key(&r->json, &pair->key));
        SQZ_TRY(sqz_json_string(&r->json, &pair->value));
        file->metadata_count++;
    }
}

static sqz_status parse_dtype(reader *r, sqz_tensor *tensor) {
    const char *name;
    SQZ_TRY(sqz_json_string(&r->json, &name));
    for (size_t i = 0; i < SQZ_TENSOR_DTYPES; i++)
        if (strcmp(name, sqz_tensor_dtypes[i].name) == 0) {
            tensor->dtype = (sqz_dtype)i;
            return SQZ_OK;
        }
    return sqz_fail(r->error, SQZ_BAD_FILE,
                    "%s: tensor \"%s\" has dtype \"%s\", expected F32, F16, BF16, U8 or I8",
                    r->path, tensor->name, name);
}

static sqz_status parse_shape(reader *r, sqz_tensor *tensor) {
    bool more;
    SQZ_TRY(sqz_json_enter(&r->json, '['));
    for (tensor->rank = 0;; tensor->rank++) {
        SQZ_TRY(sqz_json_more(&r->json, ']', &more));
        if (!more)
            break;
        if (tensor->rank == SQZ_TENSOR_MAX_RANK)
            return sqz_fail(r->error, SQZ_BAD_FILE, "%s: tensor \"%s\" has more than %d dimensions",
                            r->path, tensor->name, SQZ_TENSOR_MAX_RANK);
        SQZ_TRY(sqz_json_whole(&r->json, &tensor->shape[tensor->rank]));
    }
    if (!sqz_tensor_shape_count(&tensor->count, tensor->shape, tensor->rank))
        return sqz_fail(r->error, SQZ_BAD_FILE,
                        "%s: tensor \"%s\" has a shape whose product is too large", r->path,
                        tensor->name);
    return SQZ_OK;
}

static sqz_status parse_offsets(reader *r, entry *found) {
    int64_t *const offsets[] = {&found->begin, &found->end};
    bool more;
    SQZ_TRY(sqz_json_enter(&r->json, '['));
    for (int i = 0; i < 2; i++) {
        SQZ_TRY(sqz_json_more(&r->json, ']', &more));
        if (!more)
            break;
        SQZ_TRY(sqz_json_whole(&r->json, offsets[i]));
        if (i == 1)
            SQZ_TRY(sqz_json_more(&r->json, ']', &more));
    }
    bool is_pair = !more && found->begin >= 0 && found->end >= 0;
    if (!is_pair || found->begin > found->end || found->end > r->data_bytes)
        return sqz_fail(r->error, SQZ_BAD_FILE,
                        "%s: tensor \"%s\" has data_offsets that are not a begin and an end within "
                        "the %lld bytes of data",
                        r->path, found->tensor.name, (long long)r->data_bytes);
    return SQZ_OK;
}

/* The value of a tensor's key: an object of exactly dtype, shape and data_offsets, in any order. */
static sqz_status parse_tensor(reader *r, entry *found) {
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    bool seen[3] = {false}, more;
    SQZ_TRY(sqz_json_enter(&r->json, '{'));
    for (;;) {
        const char *key;
        int field = 0;
        SQZ_TRY(sqz_json_more(&r->json, '}', &more));
        if (!more)
            break;
        SQZ_TRY(sqz_json_key(&r->json, &key));
        while (field < 3 && strcmp(key, fields[field]) != 0)
            field++;
        if (field == 3 || seen[field])
            return sqz_fail(r->error, SQZ_BAD_FILE,
                            "%s: tensor \"%s\" has %s field \"%s\", expected dtype, shape and "
                            "data_offsets, once each",
                            r->path, found->tensor.name, field == 3 ? "an unknown" : "a second",
                            key);
        seen[field] = true;
        SQZ_TRY(field == 0   ? parse_dtype(r, &found->tensor)
                : field == 1 ? parse_shape(r, &found->tensor)
                             : parse_offsets(r, found));
    }
    for (int field = 0; field < 3; field++)
        if (!seen[field])
            return sqz_fail(r->error, SQZ_BAD_FILE, "%s: tensor \"%s\" has no %s", r->path,
                            found->tensor.name, fields[field]);
    return SQZ_OK;
}

static sqz_status check_length(const reader *r, const entry *found) {
    const sqz_tensor *tensor = &found->tensor;
    const sqz_tensor_dtype *dtype = &sqz_tensor_dtypes[tensor->dtype];
    size_t expected = tensor->count * dtype->size_bytes; /* no overflow: shape_count */
    if ((uint64_t)(found->end - found->begin) != expected)
        return sqz_fail(r->error, SQZ_BAD_FILE,
                        "%s: tensor \"%s\" has %lld bytes of data, expected the %zu of %zu numbers "
                        "of type %s",
                        r->path, tensor->name, (long long)(found->end - found->begin), expected,
                        tensor->count, dtype->name);
    return SQZ_OK;
}

static sqz_status parse_header(reader *r) {
    sqz_tensor_file *file = r->file;
    bool more, has_metadata = false;
    sqz_json_start(&r->json, file->header, (size_t)r->header_bytes, r->path, r->error);
    if (file->header[0] != '{')
        return sqz_json_fail(&r->json, "'{'");
    SQZ_TRY(sqz_json_enter(&r->json, '{'));
    for (;;) {
        const char *key;
        SQZ_TRY(sqz_json_more(&r->json, '}', &more));
        if (!more)
            return sqz_json_end(&r->json);
        SQZ_TRY(sqz_json_key(&r->json, &key));
        if (strcmp(key, SQZ_TENSOR_METADATA_KEY) == 0) {
            if (has_metadata)
                return sqz_fail(r->error, SQZ_BAD_FILE, "%s: the header has %s twice", r->path,
                                key);
            has_metadata = true;
            SQZ_TRY(parse_metadata(r));
            continue;
        }
        void *items = file->entries;
        SQZ_TRY(grow(&items, file->count, &file->capacity, sizeof *file->entries, r->error));
        file->entries = items;
        entry *found = &file->entries[file->count];
        *found = (entry){.tensor.name = key, .begin = -1, .end = -1};
        SQZ_TRY(parse_tensor(r, found));
        SQZ_TRY(check_length(r, found));
        file->count++;
    }
}

/* -- The header as a whole --------------------------------------------------------------------- */

static int compare_names(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Refuses a string that stands twice among `count` strings, the first at `first` and each
 * `stride_bytes` after the one before. */
static sqz_status check_unique(const reader *r, const char *what, const void *first,
                               size_t stride_bytes, size_t count) {
    size_t size_bytes = sqz_size_multiply(count ? count : 1, sizeof(const char *));
    const char **names = malloc(size_bytes);
    if (!names)
        return sqz_fail_memory(r->error, "a safetensors header", size_bytes);
    for (size_t i = 0; i < count; i++)
        memcpy(&names[i], (const char *)first + i * stride_bytes, sizeof names[i]);
    qsort(names, count, sizeof *names, compare_names);
    sqz_status status = SQZ_OK;
    for (size_t i = 1; i < count && status == SQZ_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = sqz_fail(r->error, SQZ_BAD_FILE, "%s: %s \"%s\" is there twice", r->path, what,
                              names[i]);
    free(names);
    return status;
}

static int compare_ranges(const void *left, const void *right) {
    const entry *a = *(const entry *const *)left, *b = *(const entry *const *)right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end); /* empty tensors come first */
}

/* The tensors' ranges, put in order, must cover the data without holes or overlaps. */
static sqz_status check_coverage(const reader *r) {
    const sqz_tensor_file *file = r->file;
    size_t size_bytes = sqz_size_multiply(file->count ? file->count : 1, sizeof(entry *));
    const entry **entries = malloc(size_bytes);
    if (!entries)
        return sqz_fail_memory(r->error, "a safetensors header", size_bytes);
    for (size_t i = 0; i < file->count; i++)
        entries[i] = &file->entries[i];
    qsort(entries, file->count, sizeof *entries, compare_ranges);
    sqz_status status = SQZ_OK;
    int64_t covered = 0;
    for (size_t i = 0; i < file->count && status == SQZ_OK; i++) {
        if (entries[i]->begin != covered)
            status = sqz_fail(r->error, SQZ_BAD_FILE,
                              "%s: tensor \"%s\" begins at byte %lld of the data, expected %lld, "
                              "where the tensor before it ends",
                              r->path, entries[i]->tensor.name, (long long)entries[i]->begin,
                              (long long)covered);
        covered = entries[i]->end;
    }
    free(entries);
    if (status == SQZ_OK && covered != r->data_bytes)
        status = sqz_fail(r->error, SQZ_BAD_FILE,
                          "%s: %lld bytes of data follow the header, expected the %lld that its "
                          "tensors take up",
                          r->path, (long long)r->data_bytes, (long long)covered);
    return status;
}

static sqz_status check_header(const reader *r) {
    const sqz_tensor_file *file = r->file;
    if (file->count)
        SQZ_TRY(check_unique(r, "tensor", &file->entries->tensor.name, sizeof *file->entries,
                             file->count));
    if (file->metadata_count)
        SQZ_TRY(check_unique(r, "metadata key", &file->metadata->key, sizeof *file->metadata,
                             file->metadata_count));
    return check_coverage(r);
}

/* -- The data ---------------------------------------------------------------------------------- */

static sqz_status read_floats(reader *r, const entry *found, float *values) {
    uint8_t chunk[SQZ_TENSOR_CHUNK_BYTES]; /* a whole number of values of every type */
    size_t item_bytes = sqz_tensor_dtypes[found->tensor.dtype].size_bytes;
    int64_t data_start = SQZ_TENSOR_LENGTH_BYTES + r->header_bytes;
    for (int64_t at = found->begin; at < found->end;) {
        int64_t left_bytes = found->end - at;
        size_t size_bytes = left_bytes < (int64_t)sizeof chunk ? (size_t)left_bytes : sizeof chunk;
        SQZ_TRY(sqz_file_read(&r->source, chunk, size_bytes, data_start + at, r->error));
        convert(values, chunk, size_bytes / item_bytes, found->tensor.dtype);
        values += size_bytes / item_bytes;
        at += (int64_t)size_bytes;
    }
    return SQZ_OK;
}

static sqz_status allocate(void **memory, size_t count, size_t item_bytes, sqz_error *error) {
    size_t size_bytes = sqz_size_multiply(count ? count : 1, item_bytes);
    *memory = malloc(size_bytes);
    return *memory ? SQZ_OK : sqz_fail_memory(error, "a safetensors file's values", size_bytes);
}

static sqz_status read_values(reader *r) {
    sqz_tensor_file *file = r->file;
    size_t floats = 0, others = 0; /* cannot overflow: the ranges are disjoint parts of the file */
    for (size_t i = 0; i < file->count; i++)
        *(sqz_tensor_dtypes[file->entries[i].tensor.dtype].is_float ? &floats : &others) +=
            file->entries[i].tensor.count;
    void *values, *bytes;
    SQZ_TRY(allocate(&values, floats, sizeof *file->values, r->error));
    float *next_value = file->values = values;
    SQZ_TRY(allocate(&bytes, others, 1, r->error));
    uint8_t *next_byte = file->bytes = bytes;
    for (size_t i = 0; i < file->count; i++) {
        entry *found = &file->entries[i];
        if (sqz_tensor_dtypes[found->tensor.dtype].is_float) {
            SQZ_TRY(read_floats(r, found, next_value));
            found->tensor.values = next_value;
            next_value += found->tensor.count;
        } else {
            SQZ_TRY(sqz_file_read(&r->source, next_byte, found->tensor.count,
                                  SQZ_TENSOR_LENGTH_BYTES + r->header_bytes + found->begin,
                                  r->error));
            found->tensor.bytes = next_byte;
            next_byte += found->tensor.count;
        }
    }
    return SQZ_OK;
}

/* -- Public ------------------------------------------------------------------------------------ */

static sqz_status read_all(reader *r) {
    SQZ_TRY(sqz_file_open(&r->source, r->path, -1, r->error));
    SQZ_TRY(read_header(r));
    SQZ_TRY(parse_header(r));
    SQZ_TRY(check_header(r));
    return read_values(r);
}

sqz_status sqz_tensor_file_read(sqz_tensor_file **file, const char *path, sqz_error *error) {
    *file = NULL;
    reader r = {.path = path, .source.descriptor = -1, .error = error};
    r.file = calloc(1, sizeof *r.file);
    if (!r.file)
        return sqz_fail_memory(error, "a safetensors file", sizeof *r.file);
    sqz_status status = read_all(&r);
    sqz_file_close(&r.source);
    if (status == SQZ_OK)
        *file = r.file;
    else
        sqz_tensor_file_destroy(r.file);
    return status;
}

void sqz_tensor_file_destroy(sqz_tensor_file *file) {
    if (!file)
        return;
    free(file->header);
    free(file->entries);
    free(file->metadata);
    free(file->values);
    free(file->bytes);
    free(file);
}

size_t sqz_tensor_file_count(const sqz_tensor_file *file) {
    return file->count;
}

const sqz_tensor *sqz_tensor_file_tensor(const sqz_tensor_file *file, size_t index) {
    return index < file->count ? &file->entries[index].tensor : NULL;
}

size_t sqz_tensor_file_metadata_count(const sqz_tensor_file *file) {
    return file->metadata_count;
}

const sqz_metadata *sqz_tensor_file_metadata(const sqz_tensor_file *file, size_t index) {
    return index < file->metadata_count ? &file->metadata[index] : NULL;
}
