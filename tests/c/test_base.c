/* test_base.c: csrc/base: errors, aligned memory, the arena, counted random numbers, threads. */
#include "check.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/rng.h"

static void test_status(void) {
    sqz_error error;
    CHECK(sqz_fail(&error, SQZ_INVALID, "h is %d", 3) == SQZ_INVALID);
    CHECK(strcmp(error.message, "h is 3") == 0);
    CHECK(error.system_errno == 0);
    CHECK(sqz_fail(NULL, SQZ_BUSY, "nobody reads this") == SQZ_BUSY);

    errno = ENOENT;
    CHECK(sqz_fail_io(&error, "a.jpg", "open") == SQZ_IO);
    CHECK(error.system_errno == ENOENT);
    CHECK(strncmp(error.message, "a.jpg: open: ", 13) == 0);

    CHECK(sqz_fail_memory(&error, "a plan", 77) == SQZ_NO_MEMORY);
    CHECK(strstr(error.message, "77 bytes for a plan") != NULL);

    /* A sentence longer than the buffer is cut, and still ends. */
    char longer[2 * sizeof error.message];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    sqz_fail(&error, SQZ_INVALID, "%s", longer);
    CHECK(strlen(error.message) == sizeof error.message - 1);
}

static void test_memory(void) {
    CHECK(sqz_size_multiply(6, 7) == 42);
    CHECK(sqz_size_multiply(0, SIZE_MAX) == 0);
    CHECK(sqz_size_multiply(SIZE_MAX / 2, 3) == SIZE_MAX);
    CHECK(sqz_size_align(0) == 0);
    CHECK(sqz_size_align(1) == SQZ_ALIGNMENT);
    CHECK(sqz_size_align(SQZ_ALIGNMENT) == SQZ_ALIGNMENT);

    unsigned char *memory = sqz_aligned_calloc(100, 3);
    CHECK(memory && (uintptr_t)memory % SQZ_ALIGNMENT == 0);
    for (int i = 0; memory && i < 300; i++)
        CHECK(memory[i] == 0);
    sqz_aligned_free(memory);
    sqz_aligned_free(NULL);

    CHECK(sqz_aligned_calloc(SIZE_MAX, 2) == NULL);
    CHECK(sqz_aligned_calloc(SIZE_MAX - SQZ_ALIGNMENT / 2, 1) == NULL);
    void *empty = sqz_aligned_calloc(0, 8);
    CHECK(empty != NULL);
    sqz_aligned_free(empty);
}

static size_t reserve(sqz_arena *arena, size_t size_bytes) {
    sqz_error error;
    size_t offset = SIZE_MAX;
    CHECK_OK(sqz_arena_reserve(arena, size_bytes, &offset, &error), error);
    return offset;
}

static void release(sqz_arena *arena, size_t offset, size_t size_bytes) {
    sqz_error error;
    CHECK_OK(sqz_arena_release(arena, offset, size_bytes, &error), error);
}

static void test_arena_reuse(void) {
    sqz_arena arena;
    sqz_arena_init(&arena);
    size_t a = reserve(&arena, 100), b = reserve(&arena, 64), c = reserve(&arena, 64);
    CHECK(a == 0 && b == 128 && c == 192);
    CHECK(arena.peak_bytes == 256);

    release(&arena, b, 64);
    CHECK(reserve(&arena, 10) == 128); /* the hole is used again */
    release(&arena, a, 100);
    release(&arena, b, 64);
    CHECK(arena.free_count == 1); /* neighbours join */
    CHECK(reserve(&arena, 192) == 0);

    /* What touches the end grows instead of leaving a hole. */
    release(&arena, c, 64);
    CHECK(reserve(&arena, 1024) == 192);
    CHECK(arena.peak_bytes == 192 + 1024);
    sqz_arena_free(&arena);

    sqz_error error;
    size_t offset;
    CHECK_FAILS(sqz_arena_reserve(&arena, SIZE_MAX, &offset, &error), error, SQZ_NO_MEMORY,
                "out of memory");
    sqz_arena_free(&arena);
}

/* Random reservations and releases: what is held never overlaps and lies below the peak. */
static void test_arena_at_random(void) {
    enum { HELD = 24 };
    size_t offsets[HELD], sizes[HELD] = {0};
    sqz_arena arena;
    sqz_rng rng;
    sqz_arena_init(&arena);
    sqz_rng_start(&rng, 1, SQZ_RNG_INIT, 0);
    for (int round = 0; round < 2000; round++) {
        uint32_t i = sqz_rng_below(&rng, HELD);
        if (sizes[i]) {
            release(&arena, offsets[i], sizes[i]);
            sizes[i] = 0;
            continue;
        }
        sizes[i] = 1 + sqz_rng_below(&rng, 1000);
        offsets[i] = reserve(&arena, sizes[i]);
        CHECK(offsets[i] % SQZ_ALIGNMENT == 0);
        CHECK(offsets[i] + sizes[i] <= arena.peak_bytes);
        for (uint32_t k = 0; k < HELD; k++)
            CHECK(k == i || !sizes[k] || offsets[k] + sizes[k] <= offsets[i] ||
                  offsets[i] + sizes[i] <= offsets[k]);
    }
    for (int i = 0; i < HELD; i++)
        if (sizes[i])
            release(&arena, offsets[i], sizes[i]);
    CHECK(arena.free_count == 1 && arena.free_ranges[0].size_bytes == arena.end_bytes);
    sqz_arena_free(&arena);
}

/* Known answers for philox4x32-10 of the Random123 distribution (file kat_vectors). The third's
 * inputs are the digits of pi. */
static void test_philox(void) {
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        sqz_philox(out, cases[i].counter, cases[i].key);
        CHECK(memcmp(out, cases[i].expected, sizeof out) == 0);
    }
}

static void test_streams(void) {
    uint32_t block[4], other[4];
    sqz_rng rng;
    sqz_rng_start(&rng, 7, SQZ_RNG_SHUFFLE, 3);
    sqz_rng_block(block, 7, SQZ_RNG_SHUFFLE, 3, 0);
    for (int i = 0; i < 4; i++)
        CHECK(sqz_rng_next(&rng) == block[i]);
    sqz_rng_block(block, 7, SQZ_RNG_SHUFFLE, 3, 1);
    CHECK(sqz_rng_next(&rng) == block[0]);
    sqz_rng_block(other, 7, SQZ_RNG_FLIP, 3, 1);
    CHECK(memcmp(block, other, sizeof block) != 0);

    /* Means of 20,000 draws, within five standard errors. */
    enum { DRAWS = 20000 };
    double uniform = 0, normal = 0, square = 0;
    int counts[3] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double u = sqz_rng_uniform(&rng), z = sqz_rng_normal(&rng);
        CHECK(u >= 0 && u < 1);
        uniform += u / DRAWS;
        normal += z / DRAWS;
        square += z * z / DRAWS;
        counts[sqz_rng_below(&rng, 3)]++;
    }
    CHECK_NEAR(uniform, 0.5, 5 * sqrt(1.0 / 12 / DRAWS));
    CHECK_NEAR(normal, 0, 5 * sqrt(1.0 / DRAWS));
    CHECK_NEAR(square, 1, 5 * sqrt(2.0 / DRAWS));
    for (int i = 0; i < 3; i++)
        CHECK_NEAR(counts[i], DRAWS / 3.0, 5 * sqrt(DRAWS * 2.0 / 9));
    CHECK(sqz_rng_below(&rng, 1) == 0);
}

static void test_threads_and_cpu(void) {
    sqz_error error;
    int before = sqz_get_num_threads();
    CHECK(before >= 1);
    CHECK_FAILS(sqz_set_num_threads(0, &error), error, SQZ_INVALID, "threads is 0");
    CHECK_FAILS(sqz_set_num_threads(SQZ_MAX_THREADS + 1, &error), error, SQZ_INVALID, "1 to 1024");
    CHECK_OK(sqz_set_num_threads(2, &error), error);
    CHECK(sqz_get_num_threads() == (SQZ_OPENMP_BUILT ? 2 : 1));
    /* Calls side by side share the threads, and none goes without. */
    int first = sqz_threads_take(1), second = sqz_threads_take(8), third = sqz_threads_take(8);
    CHECK(first == 1 && second == 1 && third == 1);
    sqz_threads_give(first + second + third);
    first = sqz_threads_take(8);
    CHECK(first == sqz_get_num_threads());
    sqz_threads_give(first);
    CHECK_OK(sqz_set_num_threads(before, &error), error);

    CHECK(sqz_threads_parse(NULL) == 0 && sqz_threads_parse("") == 0);
    CHECK(sqz_threads_parse("12") == 12 && sqz_threads_parse("3 , 2") == 3);
    CHECK(sqz_threads_parse("2x") == 0 && sqz_threads_parse("-1") == 0);

    sqz_isa isa;
    CHECK_OK(sqz_cpu_isa(&isa, &error), error);
    CHECK(isa >= SQZ_ISA_BASELINE && isa <= SQZ_ISA_AVX512);
    CHECK(strcmp(sqz_isa_name(SQZ_ISA_AVX2), "avx2") == 0);
    CHECK(sqz_isa_block(SQZ_ISA_AVX2) == 8);
}

void test_base(void);
void test_base(void) {
    test_status();
    test_memory();
    test_arena_reuse();
    test_arena_at_random();
    test_philox();
    test_streams();
    test_threads_and_cpu();
}
