/* program.c: what an exported file is with -DMODEL_MAIN: a program that reads a PPM. */
#include "harness.h"

#define main model_main /* libFuzzer has the other one */
#define MODEL_MAIN
#include "model.c"
#undef main

/* Filters: of a wide picture four weights of four bytes a column; and stdio's buffer. */
enum { BYTES_OF_BYTE = 8, BYTES_BESIDE = 1 << 17 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char name[] = "program";
    char path[64];
    snprintf(path, sizeof path, "%s", harness_file(data, size));
    char *arguments[] = {name, path, NULL};
    harness_measure();
    int status = model_main(2, arguments);
    EXPECT(status == 0 || status == 1);
    EXPECT(harness_peak() <= BYTES_OF_BYTE * (int64_t)size + BYTES_BESIDE);
    return 0;
}
