/* spec.c: see spec.h and sqz.h. The metaparameters are those of Iandola et al. 2016, section 5.1.
 */
#include "spec.h"

#include "../base/status.h"

#include <math.h>

enum { LARGEST_CHANNELS = 1 << 16, LARGEST_CLASSES = 1 << 16 };

void sqz_spec_default(sqz_spec *spec, sqz_version version, int num_classes) {
    *spec = (sqz_spec){.version = version,
                       .num_classes = num_classes,
                       .bypass = SQZ_BYPASS_NONE,
                       .squeeze_ratio = 0.125,
                       .pct_3x3 = 0.5,
                       .base_e = 128,
                       .incr_e = 128,
                       .freq = 2,
                       .final_relu = false,
                       .dropout = 0.5};
}

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

sqz_status sqz_spec_check(const sqz_spec *spec, sqz_error *error) {
    if (spec->version != SQZ_VERSION_1_0 && spec->version != SQZ_VERSION_1_1)
        return sqz_fail(error, SQZ_INVALID, "version is %d, expected 10 (1_0) or 11 (1_1)",
                        (int)spec->version);
    if (spec->num_classes < 1 || spec->num_classes > LARGEST_CLASSES)
        return sqz_fail(error, SQZ_INVALID, "num_classes is %d, expected 1 to %d",
                        spec->num_classes, (int)LARGEST_CLASSES);
    if (spec->bypass < SQZ_BYPASS_NONE || spec->bypass > SQZ_BYPASS_COMPLEX)
        return sqz_fail(error, SQZ_INVALID, "bypass is %d, expected 0, 1 or 2", (int)spec->bypass);
    /* The comparisons are written so that NaN fails them. */
    if (!(spec->squeeze_ratio > 0 && spec->squeeze_ratio <= 1))
        return sqz_fail(error, SQZ_INVALID, "squeeze_ratio is %g, expected more than 0, at most 1",
                        spec->squeeze_ratio);
    if (!(spec->pct_3x3 >= 0 && spec->pct_3x3 <= 1))
        return sqz_fail(error, SQZ_INVALID, "pct_3x3 is %g, expected 0 to 1", spec->pct_3x3);
    if (!(spec->dropout >= 0 && spec->dropout < 1))
        return sqz_fail(error, SQZ_INVALID, "dropout is %g, expected 0 or more, less than 1",
                        spec->dropout);
    if (spec->freq < 1)
        return sqz_fail(error, SQZ_INVALID, "freq is %d, expected at least 1", spec->freq);
    if (spec->base_e < 2 || spec->base_e > LARGEST_CHANNELS)
        return sqz_fail(error, SQZ_INVALID, "base_e is %d, expected 2 to %d", spec->base_e,
                        (int)LARGEST_CHANNELS);
    if (spec->incr_e < 0 || spec->incr_e > LARGEST_CHANNELS / SQZ_FIRES)
        return sqz_fail(error, SQZ_INVALID, "incr_e is %d, expected 0 to %d", spec->incr_e,
                        (int)LARGEST_CHANNELS / SQZ_FIRES);
    return spec->bypass == SQZ_BYPASS_NONE ? SQZ_OK : check_bypass(spec, error);
}
