/* codes.c: weights of few values as Huffman codes. The form is in csrc/README.md, "Coded weights".
 *
 * A stream is believed in nothing: its lengths are checked against its size, both codes for being
 * complete, and every position against the layer before it is written to. */
#include <stdlib.h>
#include <string.h>

#include "../base/status.h"

enum {
    MAX_VALUES = 15,      /* besides 0 */
    MAX_RUN_BITS = 6,     /* runs of up to 2^6 - 1 zeros are symbols of their own */
    MAX_SYMBOLS = 65,     /* of either code: 2^MAX_RUN_BITS runs and the escape */
    MAX_CODE_LENGTH = 12, /* bits; a run's and a value's code fit into one 32-bit window */
    HEADER_BYTES = 5,
};

/* What a stream begins with. */
typedef struct {
    int value_count, run_bits;
    uint32_t nonzero_count;
    int8_t values[MAX_VALUES]; /* ascending */
    /* Of each symbol's code, 0 for a symbol that does not occur. */
    uint8_t value_lengths[MAX_SYMBOLS], run_lengths[MAX_SYMBOLS];
} table;

static int run_symbols(int run_bits) {
    return (1 << run_bits) + 1;
}

/* Bytes of the table in the stream: the header, the values, the code lengths two a byte. */
static size_t table_bytes(int value_count, int run_bits) {
    if (!value_count)
        return HEADER_BYTES;
    return HEADER_BYTES + (size_t)value_count +
           (size_t)(value_count + run_symbols(run_bits) + 1) / 2;
}

/* A code's only symbol has the length 1, but takes no bits in the stream. */
static bool is_single(const uint8_t *lengths, int symbols) {
    int used = 0;
    for (int i = 0; i < symbols; i++)
        used += lengths[i] != 0;
    return used == 1;
}

/* Canonical codes (RFC 1951, 3.2.2): shorter ones first, among equals by symbol. */
static void assign_codes(uint16_t *codes, const uint8_t *lengths, int symbols) {
    uint16_t code = 0;
    for (int length = 1; length <= MAX_CODE_LENGTH; length++, code = (uint16_t)(code << 1))
        for (int i = 0; i < symbols; i++)
            if (lengths[i] == length)
                codes[i] = code++;
}

/* -- Encoding ---------------------------------------------------------------------------------- */

/* Huffman's lengths. Of equal weights the node made first is taken first, leaves by symbol, so that
 * equal counts give equal lengths everywhere. Returns the longest. */
static int huffman(uint8_t *lengths, const uint64_t *weights, int symbols) {
    uint64_t weight[2 * MAX_SYMBOLS];
    int parent[2 * MAX_SYMBOLS], nodes = symbols, longest = 0;
    bool is_open[2 * MAX_SYMBOLS];
    for (int i = 0; i < symbols; i++) {
        weight[i] = weights[i];
        parent[i] = -1;
        is_open[i] = weights[i] > 0;
    }
    for (;;) {
        int least[2] = {-1, -1};
        for (int i = 0; i < nodes; i++) {
            if (!is_open[i])
                continue;
            if (least[0] < 0 || weight[i] < weight[least[0]]) {
                least[1] = least[0];
                least[0] = i;
            } else if (least[1] < 0 || weight[i] < weight[least[1]]) {
                least[1] = i;
            }
        }
        if (least[1] < 0)
            break;
        weight[nodes] = weight[least[0]] + weight[least[1]];
        parent[nodes] = -1;
        is_open[nodes] = true;
        for (int side = 0; side < 2; side++) {
            parent[least[side]] = nodes;
            is_open[least[side]] = false;
        }
        nodes++;
    }
    for (int i = 0; i < symbols; i++) {
        int length = 0;
        for (int node = i; parent[node] >= 0; node = parent[node])
            length++;
        if (weights[i] > 0 && length == 0)
            length = 1; /* the only symbol */
        lengths[i] = (uint8_t)length;
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* Lengths of at most MAX_CODE_LENGTH: while one is longer, the counts are made more alike. Returns
 * the bits of the symbols in the stream. */
static uint64_t choose_lengths(uint8_t *lengths, const uint64_t *counts, int symbols) {
    uint64_t weights[MAX_SYMBOLS], bits = 0;
    memcpy(weights, counts, (size_t)symbols * sizeof *weights);
    while (huffman(lengths, weights, symbols) > MAX_CODE_LENGTH)
        for (int i = 0; i < symbols; i++)
            weights[i] = (weights[i] + 1) / 2;
    if (is_single(lengths, symbols))
        return 0;
    for (int i = 0; i < symbols; i++)
        bits += counts[i] * lengths[i];
    return bits;
}

/* How often each value occurs, and each symbol of runs for each number of run bits. */
typedef struct {
    uint64_t values[256]; /* by value + 128 */
    uint64_t runs[MAX_RUN_BITS + 1][MAX_SYMBOLS];
} histogram;

static void count_symbols(histogram *found, const int8_t *values, size_t count) {
    size_t run = 0;
    memset(found, 0, sizeof *found);
    for (size_t i = 0; i < count; i++) {
        if (!values[i]) {
            run++;
            continue;
        }
        found->values[values[i] + 128]++;
        for (int bits = 0; bits <= MAX_RUN_BITS; bits++) {
            found->runs[bits][1 << bits] += run >> bits; /* escapes */
            found->runs[bits][run & ((1u << bits) - 1)]++;
        }
        run = 0;
    }
}

/* Fills in the table that takes the fewest bytes, and finds the bits that follow it. */
static sqz_status choose_table(table *chosen, uint64_t *bits, const histogram *found,
                               sqz_error *error) {
    uint64_t counts[MAX_VALUES], nonzero_count = 0, value_bits, best = UINT64_MAX;
    int distinct = 0;
    memset(chosen, 0, sizeof *chosen);
    *bits = 0;
    for (int i = 0; i < 256; i++) {
        if (!found->values[i])
            continue;
        if (distinct < MAX_VALUES) {
            chosen->values[distinct] = (int8_t)(i - 128);
            counts[distinct] = found->values[i];
        }
        distinct++;
        nonzero_count += found->values[i];
    }
    if (distinct > MAX_VALUES)
        return sqz_fail(error, SQZ_INVALID,
                        "a layer has %d distinct weights besides 0, expected at most %d", distinct,
                        MAX_VALUES);
    if (nonzero_count > UINT32_MAX)
        return sqz_fail(error, SQZ_INVALID,
                        "a layer has %llu weights that are not 0, expected at most %llu",
                        (unsigned long long)nonzero_count, (unsigned long long)UINT32_MAX);
    if (!distinct)
        return SQZ_OK;
    chosen->value_count = distinct;
    chosen->nonzero_count = (uint32_t)nonzero_count;
    value_bits = choose_lengths(chosen->value_lengths, counts, distinct);
    for (int run_bits = 0; run_bits <= MAX_RUN_BITS; run_bits++) {
        uint8_t lengths[MAX_SYMBOLS] = {0};
        uint64_t run_total = choose_lengths(lengths, found->runs[run_bits], run_symbols(run_bits));
        uint64_t total = 8 * table_bytes(distinct, run_bits) + run_total;
        if (total < best) {
            best = total;
            *bits = run_total + value_bits;
            chosen->run_bits = run_bits;
            memcpy(chosen->run_lengths, lengths, sizeof lengths);
        }
    }
    return SQZ_OK;
}

/* The code lengths as one row: of the values, then of the runs. */
static uint8_t *length_at(table *codes, int index) {
    return index < codes->value_count ? &codes->value_lengths[index]
                                      : &codes->run_lengths[index - codes->value_count];
}

static uint8_t *write_table(uint8_t *at, table *codes) {
    int lengths = codes->value_count ? codes->value_count + run_symbols(codes->run_bits) : 0;
    *at++ = (uint8_t)(codes->value_count | codes->run_bits << 4);
    for (int b = 0; b < 4; b++)
        *at++ = (uint8_t)(codes->nonzero_count >> (8 * b));
    for (int i = 0; i < codes->value_count; i++)
        *at++ = (uint8_t)codes->values[i];
    for (int i = 0; i < lengths; i += 2)
        *at++ =
            (uint8_t)(*length_at(codes, i) | (i + 1 < lengths ? *length_at(codes, i + 1) << 4 : 0));
    return at;
}

typedef struct {
    uint8_t *at;
    uint32_t bits; /* the last `held` of them are not written yet */
    int held;
} bit_writer;

static inline void put_bits(bit_writer *writer, uint32_t code, int length) {
    writer->bits = writer->bits << length | code;
    for (writer->held += length; writer->held >= 8; writer->held -= 8)
        *writer->at++ = (uint8_t)(writer->bits >> (writer->held - 8));
}

static void write_symbols(uint8_t *at, const table *codes, const int8_t *values, size_t count) {
    uint16_t value_codes[MAX_SYMBOLS] = {0}, run_codes[MAX_SYMBOLS] = {0};
    uint8_t value_lengths[MAX_SYMBOLS] = {0}, run_lengths[MAX_SYMBOLS] = {0};
    uint8_t symbol_of[256] = {0};
    int runs = run_symbols(codes->run_bits), escape = runs - 1;
    bit_writer writer = {.at = at};
    size_t run = 0;
    if (!is_single(codes->value_lengths, codes->value_count)) {
        memcpy(value_lengths, codes->value_lengths, sizeof value_lengths);
        assign_codes(value_codes, value_lengths, codes->value_count);
    }
    if (!is_single(codes->run_lengths, runs)) {
        memcpy(run_lengths, codes->run_lengths, sizeof run_lengths);
        assign_codes(run_codes, run_lengths, runs);
    }
    for (int i = 0; i < codes->value_count; i++)
        symbol_of[(uint8_t)codes->values[i]] = (uint8_t)i;
    for (size_t i = 0; i < count; i++) {
        if (!values[i]) {
            run++;
            continue;
        }
        int value = symbol_of[(uint8_t)values[i]];
        for (; run >= (size_t)escape; run -= (size_t)escape)
            put_bits(&writer, run_codes[escape], run_lengths[escape]);
        put_bits(&writer, run_codes[run], run_lengths[run]);
        put_bits(&writer, value_codes[value], value_lengths[value]);
        run = 0;
    }
    put_bits(&writer, 0, (8 - writer.held) % 8);
}

sqz_status sqz_codes_encode(const int8_t *values, size_t count, uint8_t **bytes, size_t *size_bytes,
                            sqz_error *error) {
    histogram found;
    table codes;
    uint64_t bits;
    *bytes = NULL;
    *size_bytes = 0;
    count_symbols(&found, values, count);
    SQZ_TRY(choose_table(&codes, &bits, &found, error));
    size_t total_bytes = table_bytes(codes.value_count, codes.run_bits) + (size_t)((bits + 7) / 8);
    *bytes = malloc(total_bytes);
    if (!*bytes)
        return sqz_fail_memory(error, "coded weights", total_bytes);
    write_symbols(write_table(*bytes, &codes), &codes, values, count);
    *size_bytes = total_bytes;
    return SQZ_OK;
}

void sqz_codes_free(uint8_t *bytes) {
    free(bytes);
}

/* -- Decoding ---------------------------------------------------------------------------------- */

static sqz_status check_values(const table *codes, sqz_error *error) {
    for (int i = 0; i < codes->value_count; i++) {
        if (codes->values[i] == 0)
            return sqz_fail(error, SQZ_BAD_FILE,
                            "coded weights: value %d of the codebook is 0, expected another", i);
        if (i && codes->values[i] <= codes->values[i - 1])
            return sqz_fail(
                error, SQZ_BAD_FILE,
                "coded weights: the codebook has %d after %d, expected ascending values",
                codes->values[i], codes->values[i - 1]);
    }
    return SQZ_OK;
}

/* A code must be complete: whatever bits come are the beginning of just one way to read them. */
static sqz_status check_lengths(const uint8_t *lengths, int symbols, const char *what,
                                sqz_error *error) {
    unsigned sum = 0, whole = 1u << MAX_CODE_LENGTH;
    for (int i = 0; i < symbols; i++) {
        if (lengths[i] > MAX_CODE_LENGTH)
            return sqz_fail(error, SQZ_BAD_FILE,
                            "coded weights: the code of %s %d has %d bits, expected at most %d",
                            what, i, lengths[i], MAX_CODE_LENGTH);
        sum += lengths[i] ? whole >> lengths[i] : 0;
    }
    if (sum == whole || (sum == whole / 2 && is_single(lengths, symbols)))
        return SQZ_OK;
    return sqz_fail(error, SQZ_BAD_FILE,
                    "coded weights: the lengths of the codes of %ss use %u of %u parts, expected "
                    "all of them, or one code of 1 bit",
                    what, sum, whole);
}

static sqz_status read_table(table *codes, const uint8_t *bytes, size_t size_bytes, size_t count,
                             sqz_error *error) {
    memset(codes, 0, sizeof *codes);
    if (size_bytes < HEADER_BYTES)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "coded weights: %zu bytes are left, expected at least %d", size_bytes,
                        HEADER_BYTES);
    codes->value_count = bytes[0] & 15;
    codes->run_bits = bytes[0] >> 4;
    for (int b = 0; b < 4; b++)
        codes->nonzero_count |= (uint32_t)bytes[1 + b] << (8 * b);
    if (codes->nonzero_count > count)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "coded weights: %lu weights are said not to be 0, of a layer of %zu",
                        (unsigned long)codes->nonzero_count, count);
    if (!codes->value_count != !codes->nonzero_count)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "coded weights: a codebook of %d values for %lu weights that are not 0",
                        codes->value_count, (unsigned long)codes->nonzero_count);
    if (codes->run_bits > (codes->value_count ? MAX_RUN_BITS : 0))
        return sqz_fail(error, SQZ_BAD_FILE,
                        "coded weights: runs are said to have %d bits, expected at most %d",
                        codes->run_bits, codes->value_count ? MAX_RUN_BITS : 0);
    if (!codes->value_count)
        return SQZ_OK;
    size_t expected_bytes = table_bytes(codes->value_count, codes->run_bits);
    if (size_bytes < expected_bytes)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "coded weights: %zu bytes are left, expected the %zu of the code table",
                        size_bytes, expected_bytes);
    int runs = run_symbols(codes->run_bits), lengths = codes->value_count + runs;
    memcpy(codes->values, bytes + HEADER_BYTES, (size_t)codes->value_count);
    const uint8_t *nibbles = bytes + HEADER_BYTES + codes->value_count;
    for (int i = 0; i < lengths; i++)
        *length_at(codes, i) = nibbles[i / 2] >> (i % 2 * 4) & 15;
    if (lengths % 2 && nibbles[lengths / 2] >> 4)
        return sqz_fail(error, SQZ_BAD_FILE,
                        "coded weights: %d follows the last code's length, expected 0",
                        nibbles[lengths / 2] >> 4);
    SQZ_TRY(check_values(codes, error));
    SQZ_TRY(check_lengths(codes->value_lengths, codes->value_count, "value", error));
    return check_lengths(codes->run_lengths, runs, "run", error);
}

/* What the next `bits` bits of a stream begin with, by their number. */
typedef struct {
    int bits;
    struct {
        uint8_t symbol, length;
    } entries[1 << MAX_CODE_LENGTH];
} lookup;

static void fill_lookup(lookup *wanted, const uint8_t *lengths, int symbols) {
    uint16_t codes[MAX_SYMBOLS];
    bool single = is_single(lengths, symbols);
    wanted->bits = 0;
    for (int i = 0; !single && i < symbols; i++)
        wanted->bits = lengths[i] > wanted->bits ? lengths[i] : wanted->bits;
    assign_codes(codes, lengths, symbols);
    for (int i = 0; i < symbols; i++) {
        if (!lengths[i])
            continue;
        int length = single ? 0 : lengths[i], spare = wanted->bits - length;
        for (int tail = 0; tail < 1 << spare; tail++) {
            wanted->entries[(codes[i] << spare) + tail].symbol = (uint8_t)i;
            wanted->entries[(codes[i] << spare) + tail].length = (uint8_t)length;
        }
    }
}

typedef struct {
    const uint8_t *bytes;
    size_t size_bytes,
        at; /* at: a bit, the most significant of a byte first; may be past the end */
} bit_reader;

/* The symbol that comes next; past the end zeros are read. */
static inline int next_symbol(bit_reader *reader, const lookup *codes) {
    size_t byte = reader->at / 8;
    uint32_t window = 0;
    if (reader->size_bytes >= 4 && byte <= reader->size_bytes - 4) {
        const uint8_t *b = reader->bytes + byte;
        window = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    } else {
        for (size_t i = 0; i < 4 && byte + i < reader->size_bytes; i++)
            window |= (uint32_t)reader->bytes[byte + i] << (24 - 8 * i);
    }
    uint64_t ahead = (uint64_t)(window << reader->at % 8) << codes->bits; /* codes->bits may be 0 */
    unsigned index = (unsigned)(ahead >> 32);
    reader->at += codes->entries[index].length;
    return codes->entries[index].symbol;
}

static sqz_status read_symbols(bit_reader *reader, int8_t *values, size_t count, const table *codes,
                               sqz_error *error) {
    lookup runs, symbols;
    size_t at = 0, escape = (size_t)1 << codes->run_bits, end = 8 * reader->size_bytes;
    fill_lookup(&symbols, codes->value_lengths, codes->value_count);
    fill_lookup(&runs, codes->run_lengths, run_symbols(codes->run_bits));
    for (uint32_t i = 0; i < codes->nonzero_count; i++) {
        size_t run;
        do { /* ends: every escape leads further from the beginning of the layer */
            run = (size_t)next_symbol(reader, &runs);
            at += run;
        } while (run == escape && at < count);
        int8_t value = codes->values[next_symbol(reader, &symbols)];
        if (reader->at > end)
            return sqz_fail(error, SQZ_BAD_FILE,
                            "coded weights: the codes end within weight %lu of %lu that are not 0",
                            (unsigned long)i + 1, (unsigned long)codes->nonzero_count);
        if (at >= count)
            return sqz_fail(error, SQZ_BAD_FILE,
                            "coded weights: weight %lu of %lu that are not 0 would stand at %zu of "
                            "a layer of %zu",
                            (unsigned long)i + 1, (unsigned long)codes->nonzero_count, at, count);
        values[at++] = value;
    }
    if (reader->at % 8 && (uint8_t)(reader->bytes[reader->at / 8] << reader->at % 8))
        return sqz_fail(error, SQZ_BAD_FILE,
                        "coded weights: bits follow the last code, expected zeros up to the byte");
    return SQZ_OK;
}

sqz_status sqz_codes_decode(const uint8_t *bytes, size_t size_bytes, size_t *used_bytes,
                            int8_t *values, size_t count, sqz_error *error) {
    table codes;
    *used_bytes = 0;
    SQZ_TRY(read_table(&codes, bytes, size_bytes, count, error));
    size_t begin = table_bytes(codes.value_count, codes.run_bits);
    bit_reader reader = {.bytes = bytes + begin, .size_bytes = size_bytes - begin};
    if (count)
        memset(values, 0, count);
    if (codes.nonzero_count)
        SQZ_TRY(read_symbols(&reader, values, count, &codes, error));
    *used_bytes = begin + (reader.at + 7) / 8;
    return SQZ_OK;
}
