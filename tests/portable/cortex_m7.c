/* cortex_m7.c: a Cortex-M7 without an operating system, on QEMU's board mps2-an500: the reset, and
 * Arm's semihosting for files and text. Its last line says how much stack was used, and how many
 * thousand instructions a picture takes (a tick of SysTick is 40 of them with -icount shift=0). */
#include "run.h"

#include <stdint.h>

enum { SYS_OPEN = 1, SYS_WRITE0 = 4, SYS_READ = 6, SYS_EXIT = 0x18 };
enum { READ_BINARY = 1, EXIT_WELL = 0x20026, EXIT_BADLY = 0x20023 };
enum { INSTRUCTIONS_A_TICK = 40, UNUSED = 0x5a5a5a5a };

typedef struct {
    uint32_t control, reload, value, calibration;
} systick;

static systick volatile *const ticks = (systick volatile *)0xe000e010;
static uint32_t volatile *const coprocessors = (uint32_t volatile *)0xe000ed88;

extern uint32_t bss_begin[], bss_end[], stack_begin[], stack_end[]; /* of the linker script */

int main(void);
void reset(void);

static uint32_t call(uint32_t what, const void *arguments) {
    register uint32_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t file, elapsed, begun, pictures;

/* Before each row, so that the counter of 24 bits does not come round. */
static void count(void) {
    uint32_t now = ticks->value;
    elapsed += (begun - now) & 0xffffff;
    begun = now;
}

size_t input(void *to, size_t bytes) {
    count();
    uint32_t arguments[] = {file, (uint32_t)to, (uint32_t)bytes};
    return bytes - call(SYS_READ, arguments);
}

void output(const char *text) {
    if (text[0] == '\n')
        pictures++;
    call(SYS_WRITE0, text);
}

static void print(const char *name, uint32_t number) {
    char text[12] = "";
    int at = 11;
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    output(name);
    output(text + at);
}

int main(void) {
    uint32_t arguments[] = {(uint32_t)"pictures.bin", READ_BINARY, 12};
    file = call(SYS_OPEN, arguments);
    int status = run();
    count();
    const uint32_t *used = stack_begin;
    while (*used == UNUSED)
        used++;
    print("stack ", (uint32_t)(stack_end - used) * 4);
    print(" kiloinstructions ", elapsed / pictures * INSTRUCTIONS_A_TICK / 1000);
    output("\r\n");
    call(SYS_EXIT, (const void *)(status ? EXIT_BADLY : EXIT_WELL));
    return status;
}

void reset(void) {
    *coprocessors |= 0xf << 20; /* the floating-point unit */
    for (uint32_t *word = bss_begin; word < bss_end; word++)
        *word = 0;
    uint32_t *here = (uint32_t *)__builtin_frame_address(0) - 16;
    for (uint32_t volatile *word = stack_begin; word < here; word++)
        *word = UNUSED;
    ticks->reload = 0xffffff;
    ticks->value = 0;
    ticks->control = 5;
    main();
}

extern void (*const vectors[])(void);

__attribute__((section(".vectors"), used)) void (*const vectors[16])(void) = {
    (void (*)(void))stack_end,
    reset,
};
