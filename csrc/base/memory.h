/* memory.h: cache-line aligned memory, and the arena that a plan lays its buffers out in. */
#ifndef SQZ_BASE_MEMORY_H
#define SQZ_BASE_MEMORY_H

#include "status.h"

enum { SQZ_ALIGNMENT = 64 };

/* count * size_bytes, or SIZE_MAX if that overflows (no allocation of SIZE_MAX succeeds). */
size_t sqz_size_multiply(size_t count, size_t size_bytes);
static inline size_t sqz_size_align(size_t size_bytes) {
    return (size_bytes + SQZ_ALIGNMENT - 1) / SQZ_ALIGNMENT * SQZ_ALIGNMENT;
}

/* Aligned to SQZ_ALIGNMENT, zeroed. NULL if there is not enough. Free with sqz_aligned_free. */
void *sqz_aligned_calloc(size_t count, size_t size_bytes);
void sqz_aligned_free(void *memory);

/* An arena plans first and allocates once: reserve gives offsets, release makes a range reusable,
 * and peak is the size of the one block that holds them all. Offsets are aligned. First fit. */
typedef struct {
    size_t offset, size_bytes;
} sqz_range;
typedef struct {
    sqz_range *free_ranges; /* sorted by offset, never adjacent */
    size_t free_count, free_capacity;
    size_t end_bytes;  /* past the last reserved byte */
    size_t peak_bytes; /* the largest end_bytes so far */
} sqz_arena;
void sqz_arena_init(sqz_arena *arena);
void sqz_arena_free(sqz_arena *arena);
sqz_status sqz_arena_reserve(sqz_arena *arena, size_t size_bytes, size_t *offset, sqz_error *error);
sqz_status sqz_arena_release(sqz_arena *arena, size_t offset, size_t size_bytes, sqz_error *error);

#endif
