/* augment.h: what is drawn for a training picture (augment.c) and done to it (change.c). */
#ifndef SQZ_IMAGE_AUGMENT_H
#define SQZ_IMAGE_AUGMENT_H

#include "../base/status.h"

#include <string.h>

/* The members of sqz_augmentation as a table. A flag is bool; the others are double, from 0 to
 * `largest`. */
typedef struct {
    const char *name;
    bool flag;
    size_t offset;
    double largest;
} sqz_augmentation_field;
const sqz_augmentation_field *sqz_augmentation_fields(size_t *count);
/* What sqz_change_draw refuses. */
sqz_status sqz_augmentation_check(const sqz_augmentation *augmentation, int h, int w,
                                  sqz_error *error);

/* The numbers of an sqz_change, in their order. Shares are in 2^-16. */
typedef struct {
    int32_t flips;         /* SQZ_FLIP_HORIZONTAL, SQZ_FLIP_VERTICAL, after all that moves it */
    int32_t moved;         /* whether the pixel at column x and row y comes from */
    int32_t column[3];     /* column[0] x + column[1] y + column[2] and */
    int32_t row[3];        /* row[0] x + row[1] y + row[2], in 2^-16 of a pixel */
    int32_t coloured;      /* whether its colours then become */
    int32_t colours[3][3]; /* colours (R, G, B) */
    int32_t grey;          /* + grey times the picture's mean grey value */
    int32_t erased[4]; /* top, left, height and width of what is then erased; of no height: none */
    int32_t noise[2];  /* by bytes of this key */
} sqz_change_parts;
_Static_assert(sizeof(sqz_change_parts) == sizeof(sqz_change), "the same numbers");

static inline sqz_change_parts sqz_change_parts_of(const sqz_change *change) {
    sqz_change_parts parts;
    memcpy(&parts, change, sizeof parts);
    return parts;
}

#endif
