/* spec.h: what follows from a spec. */
#ifndef SQZ_NET_SPEC_H
#define SQZ_NET_SPEC_H

#include "../sqz.h"

enum { SQZ_FIRES = 8 }; /* fire 2 .. fire 9 */

typedef struct {
    int squeeze, expand1x1, expand3x3; /* channels */
} sqz_fire;

/* Fire module `index` (0 for fire 2) of a checked spec. */
sqz_fire sqz_spec_fire(const sqz_spec *spec, int index);

#endif
