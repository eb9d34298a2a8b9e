/* sqz_files.h: the part of sqz.h, which includes it, that is about what stands in files of weights:
 * safetensors, coded weights, Deep Compression's. */
#ifndef SQZ_FILES_H
#define SQZ_FILES_H

#ifndef SQZ_H
#error "include sqz.h, which includes this"
#endif

/* -- safetensors ------------------------------------------------------------------------------- */

/* A file of named tensors: 8-byte little-endian header length, JSON header, data. Reading checks
 * every length and offset against the file before it is used. */
typedef enum { SQZ_F32, SQZ_F16, SQZ_BF16, SQZ_U8, SQZ_I8 } sqz_dtype;
typedef struct {
    const char *name;
    sqz_dtype dtype; /* in the file */
    int rank;
    int64_t shape[8];
    size_t count;
    const float *values; /* F32, F16, BF16: as float32; else NULL */
    const void *bytes;   /* U8: uint8_t, I8: int8_t; else NULL */
} sqz_tensor;
typedef struct {
    const char *key, *value; /* UTF-8 */
} sqz_metadata;

typedef struct sqz_tensor_file sqz_tensor_file;
/* SQZ_IO: cannot be read; SQZ_BAD_FILE: contents that are not what they should be, a dtype other
 * than those above, more than 8 dimensions, an unknown field. *file is NULL after an error. */
sqz_status sqz_tensor_file_read(sqz_tensor_file **file, const char *path, sqz_error *error);
void sqz_tensor_file_destroy(sqz_tensor_file *file);
size_t sqz_tensor_file_count(const sqz_tensor_file *file);
const sqz_tensor *sqz_tensor_file_tensor(const sqz_tensor_file *file, size_t index);
size_t sqz_tensor_file_metadata_count(const sqz_tensor_file *file);
const sqz_metadata *sqz_tensor_file_metadata(const sqz_tensor_file *file, size_t index);
/* Write tensors, in the order given, as sqz_file_write does, each with its dtype: `values` rounded
 * to the nearest F16 or BF16, ties to even. SQZ_INVALID: names or keys not in UTF-8 or given twice,
 * count not the product of shape, a finite value beyond the range of its dtype. */
sqz_status sqz_tensor_file_write(const char *path, const sqz_tensor *tensors, size_t tensor_count,
                                 const sqz_metadata *metadata, size_t metadata_count,
                                 sqz_error *error);

/* -- Coded weights ----------------------------------------------------------------------------- */

/* A layer of int8 weights with at most 15 distinct values besides 0 as bytes: a table, then the
 * weights that are not 0, each with the run of zeros before it, in canonical Huffman codes
 * (csrc/README.md has the form). The bytes know their own end but not `count`. */

/* *bytes, *size_bytes: a function of the values alone, released by sqz_codes_free; NULL after an
 * error. SQZ_INVALID: more distinct values, or more than 2^32 - 1 that are not 0. */
sqz_status sqz_codes_encode(const int8_t *values, size_t count, uint8_t **bytes, size_t *size_bytes,
                            sqz_error *error);
void sqz_codes_free(uint8_t *bytes);
/* values[count], written, from the first *used_bytes of the size_bytes at `bytes`, behind which
 * other layers may follow. Allocates nothing. SQZ_BAD_FILE: the bytes are no layer of that many
 * weights; the values are undefined then. */
sqz_status sqz_codes_decode(const uint8_t *bytes, size_t size_bytes, size_t *used_bytes,
                            int8_t *values, size_t count, sqz_error *error);

/* -- Deep Compression's file ------------------------------------------------------------------- */

/* Reads weights and biases of the spec's network from a file in the form of Deep Compression's
 * SqueezeNet (io/deep_compression.c) into an array of as many floats as the rows of
 * sqz_spec_parameters have, laid out as they say; undefined after an error. Nothing is folded: the
 * network takes what Caffe's took. SQZ_IO: cannot be read; SQZ_BAD_FILE: contents that are not what
 * they should be; SQZ_INVALID: see sqz_spec_check. Memory is bounded by the spec, whatever the file
 * says. */
sqz_status sqz_deep_compression_read(float *parameters, const sqz_spec *spec, const char *path,
                                     sqz_error *error);

#endif
