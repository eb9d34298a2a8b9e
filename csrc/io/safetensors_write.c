/* safetensors_write.c: writing. The layout is in safetensors.h, the atomic part in atomic.h. */
#include "safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/bfloat16.h"
#include "../base/float16.h"
#include "../base/memory.h"
#include "atomic.h"
#include "json.h"

static int compare_names(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The names, sorted and so overwritten, must be valid UTF-8 and differ. */
static sqz_status check_names(const char **names, size_t count, const char *what,
                              sqz_error *error) {
    for (size_t i = 0; i < count; i++)
        if (!names[i] || !sqz_utf8_is_valid(names[i]))
            return sqz_fail(error, SQZ_INVALID, "%s %zu is not UTF-8", what, i);
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return sqz_fail(error, SQZ_INVALID, "%s \"%s\" is given twice", what, names[i]);
    return SQZ_OK;
}

static sqz_status check_tensor(const sqz_tensor *tensor, sqz_error *error) {
    size_t count = 0;
    if (strcmp(tensor->name, SQZ_TENSOR_METADATA_KEY) == 0)
        return sqz_fail(error, SQZ_INVALID, "a tensor is called \"%s\", which the format reserves",
                        tensor->name);
    if (tensor->rank < 0 || tensor->rank > SQZ_TENSOR_MAX_RANK)
        return sqz_fail(error, SQZ_INVALID, "tensor \"%s\" has %d dimensions, expected 0 to %d",
                        tensor->name, tensor->rank, SQZ_TENSOR_MAX_RANK);
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] < 0)
            return sqz_fail(error, SQZ_INVALID, "tensor \"%s\" has a dimension of %lld",
                            tensor->name, (long long)tensor->shape[i]);
    if (!sqz_tensor_shape_count(&count, tensor->shape, tensor->rank) || count != tensor->count)
        return sqz_fail(error, SQZ_INVALID,
                        "tensor \"%s\" has %zu values, expected the product of its shape",
                        tensor->name, tensor->count);
    if ((unsigned)tensor->dtype >= SQZ_TENSOR_DTYPES)
        return sqz_fail(error, SQZ_INVALID, "tensor \"%s\" has the dtype %d, which is none",
                        tensor->name, (int)tensor->dtype);
    return SQZ_OK;
}

static sqz_status check_all(const sqz_tensor *tensors, size_t tensor_count,
                            const sqz_metadata *metadata, size_t metadata_count, sqz_error *error) {
    size_t capacity = (tensor_count > metadata_count ? tensor_count : metadata_count) + 1;
    size_t size_bytes = sqz_size_multiply(capacity, sizeof(const char *));
    const char **names = malloc(size_bytes);
    if (!names)
        return sqz_fail_memory(error, "a safetensors header", size_bytes);
    for (size_t i = 0; i < tensor_count; i++)
        names[i] = tensors[i].name;
    sqz_status status = check_names(names, tensor_count, "tensor name", error);
    for (size_t i = 0; i < tensor_count && status == SQZ_OK; i++)
        status = check_tensor(&tensors[i], error);
    for (size_t i = 0; i < metadata_count && status == SQZ_OK; i++) {
        names[i] = metadata[i].key;
        if (!metadata[i].value || !sqz_utf8_is_valid(metadata[i].value))
            status = sqz_fail(error, SQZ_INVALID, "metadata value %zu is not UTF-8", i);
    }
    if (status == SQZ_OK)
        status = check_names(names, metadata_count, "metadata key", error);
    free(names);
    return status;
}

static void write_metadata(sqz_json_text *text, const sqz_metadata *metadata, size_t count) {
    sqz_json_write(text, "\"" SQZ_TENSOR_METADATA_KEY "\":{");
    for (size_t i = 0; i < count; i++) {
        sqz_json_write(text, i ? "," : "");
        sqz_json_write_string(text, metadata[i].key);
        sqz_json_write(text, ":");
        sqz_json_write_string(text, metadata[i].value);
    }
    sqz_json_write(text, "}");
}

/* The tensor's key and value; returns where its data ends. */
static uint64_t write_tensor(sqz_json_text *text, const sqz_tensor *tensor, uint64_t begin) {
    const sqz_tensor_dtype *dtype = &sqz_tensor_dtypes[tensor->dtype];
    uint64_t end = begin + dtype->size_bytes * (uint64_t)tensor->count;
    sqz_json_write_string(text, tensor->name);
    sqz_json_write(text, ":{\"dtype\":\"%s\",\"shape\":[", dtype->name);
    for (int i = 0; i < tensor->rank; i++)
        sqz_json_write(text, "%s%lld", i ? "," : "", (long long)tensor->shape[i]);
    sqz_json_write(text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin,
                   (unsigned long long)end);
    return end;
}

/* The header, padded with spaces so that the data begins at a multiple of 8. */
static sqz_status write_header(sqz_json_text *text, const sqz_tensor *tensors, size_t tensor_count,
                               const sqz_metadata *metadata, size_t metadata_count,
                               sqz_error *error) {
    uint64_t at = 0;
    sqz_json_write(text, "{");
    if (metadata_count)
        write_metadata(text, metadata, metadata_count);
    for (size_t i = 0; i < tensor_count; i++) {
        sqz_json_write(text, i || metadata_count ? "," : "");
        at = write_tensor(text, &tensors[i], at);
    }
    sqz_json_write(text, "}");
    while (!text->failed && text->size_bytes % 8)
        sqz_json_write(text, " ");
    if (text->failed)
        return sqz_fail_memory(error, "a safetensors header", text->capacity_bytes);
    if (text->size_bytes > SQZ_TENSOR_MAX_HEADER_BYTES)
        return sqz_fail(error, SQZ_INVALID,
                        "names, shapes and metadata need a header of %zu bytes, expected at most "
                        "%d",
                        text->size_bytes, SQZ_TENSOR_MAX_HEADER_BYTES);
    return SQZ_OK;
}

static void put_singles(uint8_t *bytes, const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        for (int b = 0; b < 4; b++)
            bytes[4 * i + (size_t)b] = (uint8_t)(bits >> (8 * b));
    }
}

static sqz_status put_halves(uint8_t *bytes, const float *values, size_t count,
                             const sqz_tensor *tensor, sqz_error *error) {
    bool is_float16 = tensor->dtype == SQZ_F16;
    uint16_t infinity = is_float16 ? 0x7C00 : 0x7F80;
    for (size_t i = 0; i < count; i++) {
        uint16_t half = is_float16 ? sqz_float16_round(values[i]) : sqz_bfloat16_round(values[i]);
        if ((half & 0x7FFF) == infinity && isfinite(values[i]))
            return sqz_fail(error, SQZ_INVALID, "tensor \"%s\" has %g, beyond the range of %s",
                            tensor->name, (double)values[i], sqz_tensor_dtypes[tensor->dtype].name);
        bytes[2 * i] = (uint8_t)half;
        bytes[2 * i + 1] = (uint8_t)(half >> 8);
    }
    return SQZ_OK;
}

static sqz_status write_floats(sqz_atomic_file *file, const sqz_tensor *tensor, sqz_error *error) {
    uint8_t chunk[SQZ_TENSOR_CHUNK_BYTES];
    size_t item_bytes = sqz_tensor_dtypes[tensor->dtype].size_bytes;
    size_t capacity = sizeof chunk / item_bytes;
    for (size_t at = 0, now; at < tensor->count; at += now) {
        now = tensor->count - at < capacity ? tensor->count - at : capacity;
        if (tensor->dtype == SQZ_F32)
            put_singles(chunk, tensor->values + at, now);
        else
            SQZ_TRY(put_halves(chunk, tensor->values + at, now, tensor, error));
        SQZ_TRY(sqz_atomic_write(file, chunk, item_bytes * now, error));
    }
    return SQZ_OK;
}

static sqz_status write_values(sqz_atomic_file *file, const sqz_tensor *tensor, sqz_error *error) {
    if (sqz_tensor_dtypes[tensor->dtype].is_float)
        return write_floats(file, tensor, error);
    return tensor->count ? sqz_atomic_write(file, tensor->bytes, tensor->count, error) : SQZ_OK;
}

static sqz_status write_contents(sqz_atomic_file *file, const sqz_json_text *header,
                                 const sqz_tensor *tensors, size_t tensor_count, sqz_error *error) {
    uint8_t length[SQZ_TENSOR_LENGTH_BYTES];
    for (int b = 0; b < SQZ_TENSOR_LENGTH_BYTES; b++)
        length[b] = (uint8_t)((uint64_t)header->size_bytes >> (8 * b));
    SQZ_TRY(sqz_atomic_write(file, length, sizeof length, error));
    SQZ_TRY(sqz_atomic_write(file, header->bytes, header->size_bytes, error));
    for (size_t i = 0; i < tensor_count; i++)
        SQZ_TRY(write_values(file, &tensors[i], error));
    return SQZ_OK;
}

static sqz_status write_file(const char *path, const sqz_json_text *header,
                             const sqz_tensor *tensors, size_t tensor_count, sqz_error *error) {
    sqz_atomic_file file;
    SQZ_TRY(sqz_atomic_open(&file, path, error));
    sqz_status status = write_contents(&file, header, tensors, tensor_count, error);
    if (status == SQZ_OK)
        return sqz_atomic_commit(&file, error);
    sqz_atomic_abandon(&file);
    return status;
}

sqz_status sqz_tensor_file_write(const char *path, const sqz_tensor *tensors, size_t tensor_count,
                                 const sqz_metadata *metadata, size_t metadata_count,
                                 sqz_error *error) {
    SQZ_TRY(check_all(tensors, tensor_count, metadata, metadata_count, error));
    sqz_json_text header = {0};
    sqz_status status =
        write_header(&header, tensors, tensor_count, metadata, metadata_count, error);
    if (status == SQZ_OK)
        status = write_file(path, &header, tensors, tensor_count, error);
    free(header.bytes);
    return status;
}
