/* cpu.c: see cpu.h. */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(SQZ_ONLY_BASELINE)
#define ASKS_CPUID
#include <cpuid.h>
#endif

const char *sqz_isa_name(sqz_isa isa) {
    return isa == SQZ_ISA_AVX512 ? "avx512" : isa == SQZ_ISA_AVX2 ? "avx2" : "baseline";
}

#ifdef ASKS_CPUID
/* By the instruction itself, and not __builtin_cpu_supports, for which not every linker finds the
 * compiler's library. Intel, "Software Developer's Manual", volume 1, sections 14.3 and 15.2. */

typedef struct {
    unsigned a, b, c, d;
} registers;

static registers leaf(unsigned number, unsigned below) {
    registers found = {0};
    __get_cpuid_count(number, below, &found.a, &found.b, &found.c, &found.d); /* 0: no such leaf */
    return found;
}

static bool all_bits(unsigned value, unsigned bits) {
    return (value & bits) == bits;
}

/* Which registers the operating system saves: XCR0. */
static unsigned saved_registers(void) {
    enum { OSXSAVE = 1u << 27 };
    unsigned low = 0, high = 0;
    if (leaf(1, 0).c & OSXSAVE)
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static sqz_isa detect(void) {
    const unsigned fma = 1u << 12, avx2 = 1u << 5;
    const unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    const unsigned ymm = 0x06, zmm = 0xe6; /* of XCR0 */
    unsigned saved = saved_registers(), extended = leaf(7, 0).b;
    if (!all_bits(saved, ymm) || !all_bits(leaf(1, 0).c, fma) || !all_bits(extended, avx2))
        return SQZ_ISA_BASELINE;
    bool avx512 = all_bits(saved, zmm) && all_bits(extended, f | dq | bw | vl);
    return avx512 ? SQZ_ISA_AVX512 : SQZ_ISA_AVX2;
}
#else
static sqz_isa detect(void) {
    return SQZ_ISA_BASELINE;
}
#endif

#if defined(__x86_64__) && defined(__linux__)
/* Nowhere in the library. A test's library, loaded before, defines it and does AVX-VNNI's
 * instruction where a CPU has none (tests/c/emulated_vnni.c). */
extern const int sqz_vnni_emulated __attribute__((weak));
#define VNNI_EMULATED (&sqz_vnni_emulated != NULL)
#else
#define VNNI_EMULATED false
#endif

bool sqz_cpu_vnni(sqz_isa isa) {
    const char *wanted = getenv("SQZ_VNNI");
    if (wanted && strcmp(wanted, "0") == 0)
        return false;
#ifdef ASKS_CPUID
    if (isa == SQZ_ISA_AVX512)
        return leaf(7, 0).c >> 11 & 1; /* AVX512_VNNI */
    if (isa == SQZ_ISA_AVX2)
        return VNNI_EMULATED || (leaf(7, 1).a >> 4 & 1); /* AVX-VNNI */
#endif
    (void)isa;
    return false;
}

sqz_status sqz_cpu_isa(sqz_isa *isa, sqz_error *error) {
    /* Two threads that come here first compute the same value: the race is harmless, and atomic. */
    static int cached = -1;
    int known = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (known < 0) {
        const char *vnni = getenv("SQZ_VNNI");
        if (vnni && *vnni && strcmp(vnni, "0") != 0 && strcmp(vnni, "1") != 0)
            return sqz_fail(error, SQZ_INVALID, "SQZ_VNNI is \"%s\", expected \"0\" or \"1\"",
                            vnni);
        known = (int)detect();
        const char *wanted = getenv("SQZ_ISA");
        if (wanted && *wanted) {
            int cap = 0;
            while (cap <= SQZ_ISA_AVX512 && strcmp(wanted, sqz_isa_name((sqz_isa)cap)) != 0)
                cap++;
            if (cap > SQZ_ISA_AVX512)
                return sqz_fail(error, SQZ_INVALID,
                                "SQZ_ISA is \"%s\", expected \"avx512\", \"avx2\" or \"baseline\"",
                                wanted);
            known = cap < known ? cap : known;
        }
        __atomic_store_n(&cached, known, __ATOMIC_RELAXED);
    }
    *isa = (sqz_isa)known;
    return SQZ_OK;
}
