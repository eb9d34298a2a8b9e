/* integer.h: the tables of 8-bit integers: inference alone, and with scales (csrc/README.md has the
 * arithmetic). */
#ifndef SQZ_OPS_INTEGER_INTEGER_H
#define SQZ_OPS_INTEGER_INTEGER_H

#include "../ops.h"

#include <math.h>

enum { SQZ_INTEGER_MOST_WEIGHT = 127, SQZ_INTEGER_MOST_BYTE = 255 };

/* A weight in whole steps of its scale. */
static inline int sqz_integer_weight(double value, double scale) {
    double steps = rint(value / scale);
    double most = SQZ_INTEGER_MOST_WEIGHT;
    return (int)(steps > most ? most : steps < -most ? -most : steps);
}

/* What a byte of a picture's channel counts for in the first convolution, which normalises: a
 * weight for (byte / 255 - mean) / std becomes this share of itself, for bytes. */
static inline double sqz_integer_folded(double std) {
    return 255.0 * std;
}

#endif
