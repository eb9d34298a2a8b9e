/* codebook.c: layers whose weights are few values, see sqz.h. One thread: a million weights take a
 * millisecond, and the order of the sums is then fixed. */
#include "../base/status.h"

enum { MOST_VALUES = 256 };

static sqz_status check(const sqz_codebook *codebook, sqz_error *error) {
    if (codebook->value_count < 1 || codebook->value_count > MOST_VALUES)
        return sqz_fail(error, SQZ_INVALID, "a codebook has %zu values, expected 1 to %d",
                        codebook->value_count, MOST_VALUES);
    for (size_t i = 0; i < codebook->rows * codebook->columns; i++)
        if (codebook->codes[i] >= codebook->value_count)
            return sqz_fail(error, SQZ_INVALID, "weight %zu has the code %d, expected below %zu", i,
                            codebook->codes[i], codebook->value_count);
    return SQZ_OK;
}

sqz_status sqz_codebook_weights(float *weights, const sqz_codebook *codebook, const float *values,
                                sqz_error *error) {
    SQZ_TRY(check(codebook, error));
    size_t columns = codebook->columns;
    for (size_t row = 0; row < codebook->rows; row++)
        for (size_t i = row * columns; i < (row + 1) * columns; i++)
            weights[i] = codebook->units[row] * values[codebook->codes[i]];
    return SQZ_OK;
}

sqz_status sqz_codebook_gradients(float *sums, const sqz_codebook *codebook, const float *gradients,
                                  sqz_error *error) {
    double totals[MOST_VALUES] = {0};
    SQZ_TRY(check(codebook, error));
    size_t columns = codebook->columns;
    for (size_t row = 0; row < codebook->rows; row++)
        for (size_t i = row * columns; i < (row + 1) * columns; i++)
            totals[codebook->codes[i]] += (double)codebook->units[row] * (double)gradients[i];
    for (size_t value = 0; value < codebook->value_count; value++)
        sums[value] = (float)totals[value];
    return SQZ_OK;
}
