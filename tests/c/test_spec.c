/* test_spec.c: the table of a spec's fields: defaults, ranges, and what a network's parameters are
 * without one. */
#include "check.h"

#include <stdlib.h>

static void check_ranges(const sqz_spec_field *field) {
    sqz_spec spec;
    sqz_error error;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, 2);
    CHECK(sqz_spec_get(&spec, field) == field->initial);
    const double values[] = {field->smallest, field->largest, field->smallest - 1,
                             field->largest + 1};
    const bool allowed[] = {!field->above, !field->below, false, false};
    for (int i = 0; i < 4; i++) {
        if (field->kind == SQZ_FIELD_WHOLE && values[i] > 2147483647)
            continue; /* no int */
        sqz_spec_set(&spec, field, values[i]);
        CHECK(sqz_spec_get(&spec, field) == values[i]);
        if (allowed[i])
            CHECK_OK(sqz_spec_check(&spec, &error), error);
        else
            CHECK_FAILS(sqz_spec_check(&spec, &error), error, SQZ_INVALID, field->name);
    }
    if (field->kind == SQZ_FIELD_NUMBER) {
        sqz_spec_set(&spec, field, NAN);
        CHECK_FAILS(sqz_spec_check(&spec, &error), error, SQZ_INVALID, field->name);
    }
}

static void check_words(const sqz_spec_field *field) {
    sqz_spec spec;
    sqz_error error;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, 2);
    for (size_t i = 0; i < field->word_count; i++) {
        sqz_spec_set(&spec, field, field->words[i].value);
        CHECK(sqz_spec_get(&spec, field) == field->words[i].value);
        CHECK_OK(sqz_spec_check(&spec, &error), error);
    }
    sqz_spec_set(&spec, field, 99);
    CHECK_FAILS(sqz_spec_check(&spec, &error), error, SQZ_INVALID, field->name);
}

/* The largest network there may be: 10^11 parameters, of which only the names are made. */
static void check_parameters(void) {
    sqz_spec spec;
    sqz_error error;
    size_t count = 0, again = 0, floats = 0;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, 65536);
    spec.base_e = 65536;
    spec.squeeze_ratio = 1;
    CHECK_OK(sqz_spec_parameters(&spec, NULL, 0, &count, &error), error);
    sqz_parameter *rows = calloc(count, sizeof *rows);
    CHECK(rows && count == 52);
    if (rows)
        CHECK_OK(sqz_spec_parameters(&spec, rows, count - 1, &again, &error), error);
    CHECK(rows && again == count && !rows[count - 1].rank);
    for (size_t i = 0; rows && i + 1 < count; i++) {
        CHECK(rows[i].offset == floats);
        floats += rows[i].count;
    }
    CHECK(floats > 100000000000);
    free(rows);
    spec.freq = 0;
    CHECK_FAILS(sqz_spec_parameters(&spec, NULL, 0, &count, &error), error, SQZ_INVALID, "freq");
}

void test_spec(void) {
    size_t count;
    const sqz_spec_field *fields = sqz_spec_fields(&count);
    CHECK(fields && count > 0);
    for (size_t i = 0; i < count; i++)
        if (fields[i].kind == SQZ_FIELD_WORD)
            check_words(&fields[i]);
        else if (fields[i].kind != SQZ_FIELD_FLAG)
            check_ranges(&fields[i]);
    check_parameters();
}
