/* cpu.c: see cpu.h. */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

const char *sqz_isa_name(sqz_isa isa) {
    return isa == SQZ_ISA_AVX512 ? "avx512" : isa == SQZ_ISA_AVX2 ? "avx2" : "baseline";
}

/* GCC's and Clang's feature test also asks the operating system whether it saves the registers. */
static sqz_isa detect(void) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(SQZ_ONLY_BASELINE)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx2)
        return avx512 ? SQZ_ISA_AVX512 : SQZ_ISA_AVX2;
#endif
    return SQZ_ISA_BASELINE;
}

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
#if defined(__x86_64__) && defined(__GNUC__) && !defined(SQZ_ONLY_BASELINE)
    __builtin_cpu_init();
    if (isa == SQZ_ISA_AVX512)
        return __builtin_cpu_supports("avx512vnni");
    unsigned a = 0, b = 0, c = 0, d = 0; /* AVX-VNNI: leaf 7, subleaf 1, EAX bit 4 */
    if (isa == SQZ_ISA_AVX2)
        return VNNI_EMULATED || (__get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1);
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
