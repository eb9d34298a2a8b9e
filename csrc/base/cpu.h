/* cpu.h: which instruction set the kernels may use. */
#ifndef SQZ_BASE_CPU_H
#define SQZ_BASE_CPU_H

#include "status.h"

/* In rising order, each includes those before it. baseline is what the compiler targets without
 * flags: SSE2 on x86-64, NEON on ARM. */
typedef enum { SQZ_ISA_BASELINE = 0, SQZ_ISA_AVX2 = 1, SQZ_ISA_AVX512 = 2 } sqz_isa;

/* Floats in a register, which is also the channels in a block of the activation layout. */
static inline int sqz_isa_block(sqz_isa isa) {
    return isa == SQZ_ISA_AVX512 ? 16 : isa == SQZ_ISA_AVX2 ? 8 : 4;
}
const char *sqz_isa_name(sqz_isa isa);

/* Whether the CPU has `isa`'s instruction that multiplies four bytes at a time and adds (VNNI), and
 * the environment's SQZ_VNNI is not "0". sqz_cpu_isa refuses other words than "0" and "1" there. A
 * test may have AVX-VNNI emulated (cpu.c). */
bool sqz_cpu_vnni(sqz_isa isa);

/* The best set this CPU has, capped by the environment's SQZ_ISA ("avx512", "avx2", "baseline").
 * SQZ_INVALID: SQZ_ISA, or SQZ_VNNI, is another word. Read once; later changes of SQZ_ISA have no
 * effect. */
sqz_status sqz_cpu_isa(sqz_isa *isa, sqz_error *error);

#endif
