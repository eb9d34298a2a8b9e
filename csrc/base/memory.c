/* memory.c: see memory.h. */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

size_t sqz_size_multiply(size_t count, size_t size_bytes) {
    return size_bytes != 0 && count > SIZE_MAX / size_bytes ? SIZE_MAX : count * size_bytes;
}

void *sqz_aligned_calloc(size_t count, size_t size_bytes) {
    size_t total_bytes = sqz_size_multiply(count, size_bytes);
    void *memory = NULL;
    if (total_bytes > SIZE_MAX - SQZ_ALIGNMENT)
        return NULL;
    total_bytes = total_bytes ? sqz_size_align(total_bytes) : SQZ_ALIGNMENT;
#ifdef _WIN32
    memory = _aligned_malloc(total_bytes, SQZ_ALIGNMENT);
    if (!memory)
        return NULL;
#else
    if (posix_memalign(&memory, SQZ_ALIGNMENT, total_bytes) != 0)
        return NULL;
#endif
    return memset(memory, 0, total_bytes);
}

void sqz_aligned_free(void *memory) {
#ifdef _WIN32
    _aligned_free(memory);
#else
    free(memory);
#endif
}

void sqz_arena_init(sqz_arena *arena) {
    memset(arena, 0, sizeof *arena);
}

void sqz_arena_free(sqz_arena *arena) {
    free(arena->free_ranges);
    sqz_arena_init(arena);
}

static void remove_range(sqz_arena *arena, size_t index) {
    arena->free_count--;
    memmove(&arena->free_ranges[index], &arena->free_ranges[index + 1],
            (arena->free_count - index) * sizeof *arena->free_ranges);
}

sqz_status sqz_arena_reserve(sqz_arena *arena, size_t size_bytes, size_t *offset,
                             sqz_error *error) {
    if (size_bytes > SIZE_MAX / 2)
        return sqz_fail_memory(error, "a plan's buffer", size_bytes);
    size_bytes = sqz_size_align(size_bytes ? size_bytes : 1);
    for (size_t i = 0; i < arena->free_count; i++) {
        sqz_range *range = &arena->free_ranges[i];
        if (range->size_bytes < size_bytes)
            continue;
        *offset = range->offset;
        range->offset += size_bytes;
        range->size_bytes -= size_bytes;
        if (range->size_bytes == 0)
            remove_range(arena, i);
        return SQZ_OK;
    }
    /* Nothing fits: grow the end, starting in the free range that touches it if there is one. */
    size_t start = arena->end_bytes;
    if (arena->free_count) {
        sqz_range last = arena->free_ranges[arena->free_count - 1];
        if (last.offset + last.size_bytes == arena->end_bytes) {
            start = last.offset;
            arena->free_count--;
        }
    }
    if (start > SIZE_MAX / 2)
        return sqz_fail_memory(error, "a plan's buffers", start);
    *offset = start;
    arena->end_bytes = start + size_bytes;
    if (arena->peak_bytes < arena->end_bytes)
        arena->peak_bytes = arena->end_bytes;
    return SQZ_OK;
}

sqz_status sqz_arena_release(sqz_arena *arena, size_t offset, size_t size_bytes, sqz_error *error) {
    size_bytes = sqz_size_align(size_bytes ? size_bytes : 1);
    size_t at = 0;
    while (at < arena->free_count && arena->free_ranges[at].offset < offset)
        at++;
    bool joins_left =
        at > 0 &&
        arena->free_ranges[at - 1].offset + arena->free_ranges[at - 1].size_bytes == offset;
    bool joins_right =
        at < arena->free_count && offset + size_bytes == arena->free_ranges[at].offset;
    if (joins_left) {
        arena->free_ranges[at - 1].size_bytes += size_bytes;
        if (joins_right) {
            arena->free_ranges[at - 1].size_bytes += arena->free_ranges[at].size_bytes;
            remove_range(arena, at);
        }
        return SQZ_OK;
    }
    if (joins_right) {
        arena->free_ranges[at].offset = offset;
        arena->free_ranges[at].size_bytes += size_bytes;
        return SQZ_OK;
    }
    if (arena->free_count == arena->free_capacity) {
        size_t capacity = arena->free_capacity ? 2 * arena->free_capacity : 16;
        sqz_range *grown = realloc(arena->free_ranges, capacity * sizeof *grown);
        if (!grown)
            return sqz_fail_memory(error, "a plan's free list", capacity * sizeof *grown);
        arena->free_ranges = grown;
        arena->free_capacity = capacity;
    }
    memmove(&arena->free_ranges[at + 1], &arena->free_ranges[at],
            (arena->free_count - at) * sizeof *arena->free_ranges);
    arena->free_ranges[at] = (sqz_range){offset, size_bytes};
    arena->free_count++;
    return SQZ_OK;
}
