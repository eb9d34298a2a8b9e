/* harness.h: what the harnesses share: properties that have to hold, a file without a disk, and a
 * count of the memory that one input takes.
 *
 * A harness is one file: LLVMFuzzerTestOneInput, which libFuzzer calls with every input. Whatever
 * the library says of an input is right, but for statuses that no input may cause; what must never
 * happen, the sanitizers and EXPECT notice. */
#ifndef SQZ_FUZZ_HARNESS_H
#define SQZ_FUZZ_HARNESS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sanitizer/allocator_interface.h>

#include "sqz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size); /* libFuzzer's own */

#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#else
#define __msan_unpoison(memory, size) ((void)(memory), (void)(size))
#endif

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The statuses that a file's contents may cause; whether it is SQZ_OK. */
static inline bool harness_accepted(sqz_status status, const sqz_error *error) {
    if (status == SQZ_OK)
        return true;
    if (status != SQZ_BAD_FILE)
        fprintf(stderr, "status %d: %s\n", (int)status, error->message);
    EXPECT(status == SQZ_BAD_FILE);
    EXPECT(error->message[0] && memchr(error->message, 0, sizeof error->message));
    return false;
}

/* The path of a file with these contents, the same one at every call. */
static inline const char *harness_file(const uint8_t *data, size_t size) {
    static int descriptor = -1;
    static char path[64];
    if (descriptor < 0) {
        descriptor = memfd_create("input", 0);
        EXPECT(descriptor >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    }
    EXPECT(ftruncate(descriptor, 0) == 0);
    EXPECT(pwrite(descriptor, data, size, 0) == (ssize_t)size);
    return path;
}

/* LLVMFuzzerMutate of bytes that libFuzzer wrote, as it is not instrumented. */
static inline size_t harness_mutate(uint8_t *data, size_t size, size_t max_size) {
    size = LLVMFuzzerMutate(data, size, max_size);
    __msan_unpoison(data, size);
    return size;
}

/* Sums bytes, so that the sanitizers see every one of them read. */
static inline void harness_read(const void *memory, size_t size) {
    static volatile unsigned sum;
    const uint8_t *bytes = memory;
    unsigned now = 0;
    for (size_t i = 0; i < size; i++)
        now += bytes[i] ? 1 : 0; /* a branch, which MemorySanitizer looks at */
    sum = now;
}

/* -- Memory: what is allocated between harness_measure and harness_peak, at its highest -------- */

static int64_t harness_live, harness_highest;

static void harness_allocated(const volatile void *memory, size_t size) {
    (void)memory;
    harness_live += (int64_t)size;
    if (harness_live > harness_highest)
        harness_highest = harness_live;
}

static void harness_freed(const volatile void *memory) {
    if (memory)
        harness_live -= (int64_t)__sanitizer_get_allocated_size((const void *)memory);
}

static inline void harness_measure(void) {
    static bool installed;
    if (!installed)
        __sanitizer_install_malloc_and_free_hooks(harness_allocated, harness_freed);
    installed = true;
    harness_live = harness_highest = 0;
}

static inline int64_t harness_peak(void) {
    return harness_highest;
}

#endif
