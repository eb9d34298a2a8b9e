/* part.h: a piece of work that several threads share, divided so that each knows its part. */
#ifndef SQZ_BASE_PART_H
#define SQZ_BASE_PART_H

#include <stddef.h>

/* The part of thread `index` of `count`: 0 <= index < count. */
typedef struct {
    int index, count;
} sqz_part;

static const sqz_part sqz_part_whole = {0, 1};

/* Units begin..end of `units` independent ones that a part does. All parts together do each unit
 * once, in order, and differ by at most one unit. */
typedef struct {
    size_t begin, end;
} sqz_span;

static inline sqz_span sqz_part_span(sqz_part part, size_t units) {
    size_t count = (size_t)part.count, index = (size_t)part.index;
    size_t each = units / count, more = units % count; /* the first `more` parts do one more */
    size_t begin = index * each + (index < more ? index : more);
    return (sqz_span){begin, begin + each + (index < more)};
}

#endif
