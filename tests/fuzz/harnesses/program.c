/* program.c: what an exported file is with -DMODEL_MAIN: a program that reads a PPM. */
#include "harness.h"

#define main model_main /* libFuzzer has the other one */
#define MODEL_MAIN
#include "model.c"
#undef main

/* A ring of rows for the filter down, a few rows, and the filter across: whatever the header says,
 * of which a side has at most 65536 pixels. */
enum { MOST_SIDE = 1 << 16, FILE_BUFFER = 1 << 14 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char name[] = "program";
    char path[64];
    snprintf(path, sizeof path, "%s", harness_file(data, size));
    char *arguments[] = {name, path, NULL};
    harness_measure();
    int status = model_main(2, arguments);
    EXPECT(status == 0 || status == 1);
    int64_t taps = 4 * (MOST_SIDE / MODEL_SIDE + 1) + 3;
    EXPECT(harness_peak() <= taps * 3 * MOST_SIDE + 6 * MOST_SIDE + taps * 8 * MODEL_SIDE +
                                 FILE_BUFFER + 64 * MODEL_SIDE);
    return 0;
}
