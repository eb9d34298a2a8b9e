/* safetensors.h: what reading and writing share of the format.
 *
 *     8 bytes     the header's length, little-endian
 *     header      JSON: {"__metadata__": {"key": "value"},
 *                        "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
 *     data        little-endian numbers, row by row; the tensors' ranges follow each other without
 *                 holes or overlaps and cover the data exactly
 *
 * As on the format's own page, https://github.com/huggingface/safetensors#format. */
#ifndef SQZ_IO_SAFETENSORS_H
#define SQZ_IO_SAFETENSORS_H

#include "../base/status.h"

#define SQZ_TENSOR_METADATA_KEY "__metadata__"
enum {
    SQZ_TENSOR_LENGTH_BYTES = 8,
    SQZ_TENSOR_MAX_HEADER_BYTES = 100000000, /* the reference implementation's limit */
    SQZ_TENSOR_MAX_RANK = 8,
    SQZ_TENSOR_CHUNK_BYTES = 65536 /* converted at a time */
};

/* By sqz_dtype. */
typedef struct {
    const char *name;
    size_t size_bytes;
    bool is_float; /* its tensors have values, others bytes */
} sqz_tensor_dtype;
enum { SQZ_TENSOR_DTYPES = SQZ_I8 + 1 };
extern const sqz_tensor_dtype sqz_tensor_dtypes[SQZ_TENSOR_DTYPES];

/* The product of the sizes, each >= 0. False if the product of those that are not 0 exceeds
 * SIZE_MAX / 8: a shape that no array can have, even an empty one. */
bool sqz_tensor_shape_count(size_t *count, const int64_t *shape, int rank);

#endif
