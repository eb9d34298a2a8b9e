/* emulated_vnni.c: AVX-VNNI on an x86-64 Linux machine whose CPU has AVX2 and not that, for tests.
 *
 * Loaded before the library (LD_PRELOAD), it defines what the library looks for (base/cpu.c), so
 * that the table for AVX-VNNI is offered. Its kernels then run as they were compiled: the CPU
 * refuses each VPDPBUSD (VEX.66.0F38.W0 50 /r) by SIGILL, and the handler does it on the registers
 * that the signal saved. It takes microseconds each time: for small networks. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

/* What the library looks for; and how many instructions were done, for the test to see that they
 * were. */
const int sqz_vnni_emulated = 1;
unsigned long sqz_vnni_emulations;

/* -- Registers ---------------------------------------------------------------------------------
 *
 * The frame has the standard form of XSAVE: 512 bytes, of which XMM0-15 are at 160 and the kernel
 * says at 464 that an XSAVE area is there at all; a header whose first 64 bits say which components
 * are not in their initial state, 0; and the components, where CPUID says. */

enum { XMM_AT = 160, KERNEL_WORDS_AT = 464, HEADER_AT = 512, MAGIC = 0x46505853 };
enum { YMM_HIGH = 2, ZMM_HIGH = 6 }; /* components: bits 128-255 of each register, 256-511 */

static unsigned component_at[8], component_bytes[8];

typedef struct {
    uint8_t *area;
    uint64_t *live; /* the header's bits */
} registers;

static void read_register(uint8_t value[32], const registers *at, unsigned number) {
    memset(value, 0, 32);
    memcpy(value, at->area + XMM_AT + 16 * number, 16);
    if (*at->live >> YMM_HIGH & 1)
        memcpy(value + 16, at->area + component_at[YMM_HIGH] + 16 * number, 16);
}

/* Every bit of the register above `value` becomes 0. */
static void write_register(const registers *at, unsigned number, const uint8_t value[32]) {
    uint8_t *high = at->area + component_at[YMM_HIGH];
    memcpy(at->area + XMM_AT + 16 * number, value, 16);
    if (!(*at->live >> YMM_HIGH & 1))
        memset(high, 0, component_bytes[YMM_HIGH]);
    *at->live |= 1 << YMM_HIGH | 1 << 1; /* 1: the XMM registers */
    memcpy(high + 16 * number, value + 16, 16);
    if (*at->live >> ZMM_HIGH & 1)
        memset(at->area + component_at[ZMM_HIGH] + 32 * number, 0, 32);
}

/* -- The instruction --------------------------------------------------------------------------- */

static const int general[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

typedef struct {
    unsigned bytes;                              /* of a register: 16 or 32 */
    unsigned sums, unsigned_terms, signed_terms; /* registers; the last one if not in memory */
    const uint8_t *memory;
    unsigned length; /* of the instruction */
} vpdpbusd;

static int32_t number_at(const uint8_t *code) {
    int32_t number;
    memcpy(&number, code, sizeof number);
    return number;
}

/* Where the operand in memory is: after ModRM come a byte for base and scaled index, if rm is 4,
 * and a displacement. */
static const uint8_t *address(vpdpbusd *found, const uint8_t *code, const greg_t *values) {
    unsigned mod = code[4] >> 6, rm = code[4] & 7;
    unsigned high_base = !(code[1] >> 5 & 1) << 3, high_index = !(code[1] >> 6 & 1) << 3;
    uint64_t sum = 0;
    const uint8_t *at = code + 5;
    bool far = mod == 2; /* a displacement of 32 bits */
    if (rm == 4) {
        unsigned index = (*at >> 3 & 7) | high_index;
        if (index != 4)
            sum += (uint64_t)values[general[index]] << (*at >> 6);
        if ((*at & 7) == 5 && mod == 0)
            far = true;
        else
            sum += (uint64_t)values[general[(*at & 7) | high_base]];
        at++;
    } else if (rm == 5 && mod == 0) {
        sum += (uint64_t)(code + 9); /* relative to the next instruction */
        far = true;
    } else
        sum += (uint64_t)values[general[rm | high_base]];
    if (far)
        sum += (uint64_t)(int64_t)number_at(at);
    else if (mod == 1)
        sum += (uint64_t)(int64_t)(int8_t)*at;
    found->length = (unsigned)(at - code) + (far ? 4 : mod == 1);
    return (const uint8_t *)sum;
}

/* C4, then R X B (inverted) and map 2, then W 0, vvvv (inverted), L and pp 1, then 50 and ModRM. */
static bool decode(vpdpbusd *found, const uint8_t *code, const greg_t *values) {
    if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || (code[2] & 0x83) != 1 || code[3] != 0x50)
        return false;
    found->bytes = code[2] & 4 ? 32 : 16;
    found->sums = (code[4] >> 3 & 7) | (unsigned)!(code[1] >> 7) << 3;
    found->unsigned_terms = ~code[2] >> 3 & 15;
    found->signed_terms = (code[4] & 7) | (unsigned)!(code[1] >> 5 & 1) << 3;
    found->memory = NULL;
    found->length = 5;
    if (code[4] >> 6 != 3)
        found->memory = address(found, code, values);
    return true;
}

static void execute(const vpdpbusd *found, const registers *at) {
    uint8_t sums[32], left[32], right[32], result[32] = {0};
    read_register(sums, at, found->sums);
    read_register(left, at, found->unsigned_terms);
    if (found->memory)
        memcpy(right, found->memory, found->bytes);
    else
        read_register(right, at, found->signed_terms);
    for (unsigned lane = 0; lane < found->bytes; lane += 4) {
        uint32_t sum; /* wraps around, as the instruction does */
        memcpy(&sum, sums + lane, sizeof sum);
        for (unsigned i = lane; i < lane + 4; i++)
            sum += (uint32_t)(left[i] * (int8_t)right[i]);
        memcpy(result + lane, &sum, sizeof sum);
    }
    write_register(at, found->sums, result);
}

/* -- The signal -------------------------------------------------------------------------------- */

static void on_illegal(int number, siginfo_t *info, void *context) {
    (void)info;
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    greg_t *next = &machine->gregs[REG_RIP];
    uint8_t *area = (uint8_t *)machine->fpregs;
    bool saved = area && number_at(area + KERNEL_WORDS_AT) == MAGIC;
    unsigned long done = 0;
    vpdpbusd found;
    for (; saved && decode(&found, (const uint8_t *)*next, machine->gregs); done++) {
        execute(&found, &(registers){area, (uint64_t *)(void *)(area + HEADER_AT)});
        *next += found.length; /* where often the next one is */
    }
    if (!done)
        signal(number, SIG_DFL); /* what it is, is met again, and ends the process as ever */
    __atomic_fetch_add(&sqz_vnni_emulations, done, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void start(void) {
    static const unsigned components[] = {YMM_HIGH, ZMM_HIGH};
    for (int i = 0; i < 2; i++) {
        unsigned number = components[i], c, d;
        __get_cpuid_count(0xD, number, &component_bytes[number], &component_at[number], &c, &d);
    }
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, NULL);
}
