/* spec.c: the table of a spec's fields, and what follows from them: see spec.h and sqz.h. The
 * metaparameters are those of Iandola et al. 2016, section 5.1.
 */
#include "spec.h"

#include "../base/status.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- The table --------------------------------------------------------------------------------- */

enum { LARGEST_CHANNELS = 1 << 16, LARGEST_CLASSES = 1 << 16 };

static const sqz_field_word versions[] = {{"1_0", SQZ_VERSION_1_0}, {"1_1", SQZ_VERSION_1_1}};
static const sqz_field_word bypasses[] = {
    {NULL, SQZ_BYPASS_NONE}, {"simple", SQZ_BYPASS_SIMPLE}, {"complex", SQZ_BYPASS_COMPLEX}};

/* Member, kind, default, and the range. */
#define FIELD(member, ...) {.name = #member, .offset = offsetof(sqz_spec, member), __VA_ARGS__}
#define WORD(member, first, choices)                                                               \
    FIELD(member, .kind = SQZ_FIELD_WORD, .initial = first, .words = choices,                      \
          .word_count = sizeof choices / sizeof *choices)
#define WHOLE(member, first, from, to)                                                             \
    FIELD(member, .kind = SQZ_FIELD_WHOLE, .initial = first, .smallest = from, .largest = to)
#define FLAG(member, first) FIELD(member, .kind = SQZ_FIELD_FLAG, .initial = first)
#define NUMBER(member, first, from, to, ...)                                                       \
    FIELD(member, .kind = SQZ_FIELD_NUMBER, .initial = first, .smallest = from, .largest = to,     \
          __VA_ARGS__)

static const sqz_spec_field fields[] = {
    WORD(version, SQZ_VERSION_1_1, versions),
    WHOLE(num_classes, 2, 1, LARGEST_CLASSES),
    FLAG(final_relu, false),
    NUMBER(dropout, 0.5, 0, 1, .below = true),
    WORD(bypass, SQZ_BYPASS_NONE, bypasses),
    NUMBER(squeeze_ratio, 0.125, 0, 1, .above = true),
    NUMBER(pct_3x3, 0.5, 0, 1, .above = false),
    WHOLE(base_e, 128, 2, LARGEST_CHANNELS),
    WHOLE(incr_e, 128, 0, LARGEST_CHANNELS / SQZ_FIRES),
    WHOLE(freq, 2, 1, INT_MAX),
};
enum { FIELDS = sizeof fields / sizeof *fields };

const sqz_spec_field *sqz_spec_fields(size_t *count) {
    *count = FIELDS;
    return fields;
}

_Static_assert(sizeof(sqz_version) == sizeof(int) && sizeof(sqz_bypass) == sizeof(int),
               "a word's member is read as an int");

double sqz_spec_get(const sqz_spec *spec, const sqz_spec_field *field) {
    const char *member = (const char *)spec + field->offset;
    switch (field->kind) {
    case SQZ_FIELD_NUMBER:
        return *(const double *)member;
    case SQZ_FIELD_FLAG:
        return *(const bool *)member;
    default:
        return *(const int *)member;
    }
}

void sqz_spec_set(sqz_spec *spec, const sqz_spec_field *field, double value) {
    char *member = (char *)spec + field->offset;
    switch (field->kind) {
    case SQZ_FIELD_NUMBER:
        *(double *)member = value;
        break;
    case SQZ_FIELD_FLAG:
        *(bool *)member = value != 0;
        break;
    default:
        *(int *)member = (int)value;
    }
}

void sqz_spec_default(sqz_spec *spec, sqz_version version, int num_classes) {
    memset(spec, 0, sizeof *spec);
    for (int i = 0; i < FIELDS; i++)
        sqz_spec_set(spec, &fields[i], fields[i].initial);
    spec->version = version;
    spec->num_classes = num_classes;
}

/* -- Channels ---------------------------------------------------------------------------------- */

static int at_least_one(double count) {
    return count < 1 ? 1 : (int)floor(count + 0.5);
}

static int expand_channels(const sqz_spec *spec, int index) {
    return spec->base_e + spec->incr_e * (index / spec->freq);
}

sqz_fire sqz_spec_fire(const sqz_spec *spec, int index) {
    int expand = expand_channels(spec, index);
    int expand3x3 = at_least_one(spec->pct_3x3 * expand);
    if (expand3x3 > expand - 1)
        expand3x3 = expand - 1;
    return (sqz_fire){.squeeze = at_least_one(spec->squeeze_ratio * expand),
                      .expand1x1 = expand - expand3x3,
                      .expand3x3 = expand3x3};
}

/* -- Checks ------------------------------------------------------------------------------------ */

/* An identity bypass adds a Fire module's input to its output, so the two must have the same number
 * of channels: fire 3, 5, 7 and 9 must not be where the width steps up. */
static sqz_status check_bypass(const sqz_spec *spec, sqz_error *error) {
    for (int index = 1; index < SQZ_FIRES; index += 2) {
        int before = expand_channels(spec, index - 1), after = expand_channels(spec, index);
        if (before != after)
            return sqz_fail(error, SQZ_INVALID,
                            "bypass needs fire %d to keep its input's %d channels, but base_e %d, "
                            "incr_e %d, freq %d give it %d",
                            index + 2, before, spec->base_e, spec->incr_e, spec->freq, after);
    }
    return SQZ_OK;
}

void sqz_spec_field_range(char text[80], const sqz_spec_field *field) {
    const char *kind = field->kind == SQZ_FIELD_WHOLE ? "a whole number" : "a number";
    double from = field->smallest, to = field->largest;
    if (field->kind == SQZ_FIELD_WHOLE && to == INT_MAX)
        snprintf(text, 80, "%s of at least %.0f", kind, from);
    else if (field->above)
        snprintf(text, 80, "%s above %.9g, at most %.9g", kind, from, to);
    else if (field->below)
        snprintf(text, 80, "%s of at least %.9g, below %.9g", kind, from, to);
    else
        snprintf(text, 80, "%s from %.9g to %.9g", kind, from, to);
}

static sqz_status check_word(const sqz_spec_field *field, int value, sqz_error *error) {
    for (size_t i = 0; i < field->word_count; i++)
        if (field->words[i].value == value)
            return SQZ_OK;
    return sqz_fail(error, SQZ_INVALID, "%s is %d, which is none of its constants", field->name,
                    value);
}

static sqz_status check_range(const sqz_spec_field *field, double value, sqz_error *error) {
    /* Written so that NaN fails. */
    bool high = field->above ? value > field->smallest : value >= field->smallest;
    bool low = field->below ? value < field->largest : value <= field->largest;
    if (high && low)
        return SQZ_OK;
    char range[80];
    sqz_spec_field_range(range, field);
    return sqz_fail(error, SQZ_INVALID, "%s is %.9g, expected %s", field->name, value, range);
}

sqz_status sqz_spec_check(const sqz_spec *spec, sqz_error *error) {
    for (int i = 0; i < FIELDS; i++) {
        double value = sqz_spec_get(spec, &fields[i]);
        if (fields[i].kind == SQZ_FIELD_WORD)
            SQZ_TRY(check_word(&fields[i], (int)value, error));
        else if (fields[i].kind != SQZ_FIELD_FLAG)
            SQZ_TRY(check_range(&fields[i], value, error));
    }
    return spec->bypass == SQZ_BYPASS_NONE ? SQZ_OK : check_bypass(spec, error);
}
