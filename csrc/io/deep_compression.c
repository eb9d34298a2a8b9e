/* deep_compression.c: the form in which Deep Compression (Han, Mao & Dally 2016, arXiv:1510.00149)
 * released its SqueezeNet, as decode.py in github.com/songhan/SqueezeNet-Deep-Compression reads it.
 * Little-endian:
 *
 *     uint32 a convolution     how many codes it has
 *     and then of each convolution, in the network's order
 *     256 float32              its codebook, which begins with 0
 *     float32 an output        its biases
 *     uint8 a code             the number of a value in the codebook
 *     4 bits a code            how many weights before it, back to the code before, are 0; two to
 *                              a byte, the low half first
 *
 * Where more than 15 weights in a row are 0, some of them have a code: that of 0.
 *
 * A file is believed in nothing. It may be no longer than the network's full weights would make it,
 * is read whole, and has to have just the length that its counts add up to; after that only a
 * weight's place has to be checked. So memory is bounded by the network's size. */
#include "../base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CODEBOOK = 256, COUNT_BYTES = 4, FLOAT_BYTES = 4 };

/* A file being read. */
typedef struct {
    const char *path;
    sqz_parameter *rows; /* of each convolution its weights, then its biases */
    size_t row_count;
    uint8_t *bytes; /* the whole file */
    size_t size_bytes;
    sqz_error *error;
} reader;

static uint32_t read_uint32(const uint8_t *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static size_t codes_of(const reader *r, size_t weight_row) {
    return read_uint32(r->bytes + weight_row / 2 * COUNT_BYTES);
}

static size_t counts_bytes(const reader *r) {
    return r->row_count / 2 * COUNT_BYTES;
}

static size_t convolution_bytes(const reader *r, size_t weight_row, size_t codes) {
    return (CODEBOOK + r->rows[weight_row + 1].count) * FLOAT_BYTES + codes + (codes + 1) / 2;
}

/* -- The file ---------------------------------------------------------------------------------- */

static sqz_status read_file(reader *r) {
    sqz_file source;
    size_t most_bytes = counts_bytes(r);
    for (size_t row = 0; row < r->row_count; row += 2)
        most_bytes += convolution_bytes(r, row, r->rows[row].count);
    SQZ_TRY(sqz_file_open(&source, r->path, (int64_t)most_bytes, r->error));
    r->size_bytes = (size_t)source.size_bytes;
    r->bytes = malloc(r->size_bytes ? r->size_bytes : 1);
    sqz_status status = r->bytes ? sqz_file_read(&source, r->bytes, r->size_bytes, 0, r->error)
                                 : sqz_fail_memory(r->error, "a compressed file", r->size_bytes);
    sqz_file_close(&source);
    return status;
}

static sqz_status cut_short(const reader *r, size_t needed) {
    return sqz_fail(r->error, SQZ_BAD_FILE,
                    "%s: the compressed network is cut short (%zu bytes, needs %zu)", r->path,
                    r->size_bytes, needed);
}

static sqz_status check_length(const reader *r) {
    size_t expected = counts_bytes(r);
    if (r->size_bytes < expected)
        return cut_short(r, expected);
    for (size_t row = 0; row < r->row_count; row += 2) {
        size_t codes = codes_of(r, row);
        if (codes < 1 || codes > r->rows[row].count)
            return sqz_fail(r->error, SQZ_BAD_FILE,
                            "%s: %s has %zu codes, expected 1 to %zu, one a weight", r->path,
                            r->rows[row].name, codes, r->rows[row].count);
        expected += convolution_bytes(r, row, codes);
    }
    if (r->size_bytes < expected)
        return cut_short(r, expected);
    if (r->size_bytes > expected)
        return sqz_fail(r->error, SQZ_BAD_FILE,
                        "%s: has %zu bytes, expected the %zu that its counts of codes add up to",
                        r->path, r->size_bytes, expected);
    return SQZ_OK;
}

/* -- A convolution ----------------------------------------------------------------------------- */

static sqz_status read_floats(const reader *r, float *values, size_t count, const uint8_t *bytes,
                              const char *what, const char *of) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = read_uint32(bytes + i * FLOAT_BYTES);
        memcpy(&values[i], &bits, sizeof bits);
        if (!isfinite(values[i]))
            return sqz_fail(r->error, SQZ_BAD_FILE,
                            "%s: %s %zu of %s is %g, expected a finite number", r->path, what, i,
                            of, values[i]);
    }
    return SQZ_OK;
}

static sqz_status read_weights(const reader *r, float *weights, const sqz_parameter *row,
                               const float codebook[CODEBOOK], const uint8_t *bytes, size_t codes) {
    const uint8_t *runs = bytes + codes;
    size_t next = 0; /* after the weight of the last code */
    memset(weights, 0, row->count * sizeof *weights);
    for (size_t i = 0; i < codes; i++) {
        size_t index = next + (runs[i / 2] >> 4 * (i % 2) & 15);
        if (index >= row->count)
            return sqz_fail(r->error, SQZ_BAD_FILE,
                            "%s: code %zu of %s is for weight %zu, expected one below %zu", r->path,
                            i, row->name, index, row->count);
        weights[index] = codebook[bytes[i]];
        next = index + 1;
    }
    return SQZ_OK;
}

static sqz_status read_convolution(const reader *r, float *parameters, size_t weight_row,
                                   const uint8_t *bytes) {
    const sqz_parameter *weight = &r->rows[weight_row], *bias = weight + 1;
    float codebook[CODEBOOK];
    SQZ_TRY(read_floats(r, codebook, CODEBOOK, bytes, "codebook value", weight->name));
    if (codebook[0] != 0)
        return sqz_fail(r->error, SQZ_BAD_FILE, "%s: the codebook of %s begins with %g, expected 0",
                        r->path, weight->name, codebook[0]);
    bytes += CODEBOOK * FLOAT_BYTES;
    SQZ_TRY(read_floats(r, parameters + bias->offset, bias->count, bytes, "value", bias->name));
    bytes += bias->count * FLOAT_BYTES;
    return read_weights(r, parameters + weight->offset, weight, codebook, bytes,
                        codes_of(r, weight_row));
}

/* -- Public ------------------------------------------------------------------------------------ */

static sqz_status read_all(reader *r, float *parameters) {
    SQZ_TRY(read_file(r));
    SQZ_TRY(check_length(r));
    const uint8_t *bytes = r->bytes + counts_bytes(r);
    for (size_t row = 0; row < r->row_count; row += 2) {
        SQZ_TRY(read_convolution(r, parameters, row, bytes));
        bytes += convolution_bytes(r, row, codes_of(r, row));
    }
    return SQZ_OK;
}

sqz_status sqz_deep_compression_read(float *parameters, const sqz_spec *spec, const char *path,
                                     sqz_error *error) {
    reader r = {.path = path, .error = error};
    SQZ_TRY(sqz_spec_parameters(spec, NULL, 0, &r.row_count, error));
    r.rows = malloc(r.row_count * sizeof *r.rows);
    if (!r.rows)
        return sqz_fail_memory(error, "a table of parameters", r.row_count * sizeof *r.rows);
    sqz_status status = sqz_spec_parameters(spec, r.rows, r.row_count, &r.row_count, error);
    if (status == SQZ_OK)
        status = read_all(&r, parameters);
    free(r.rows);
    free(r.bytes);
    return status;
}
