/* engine.c: the streaming engine of an exported model, whose text is in model.c. Between the arrays
 * of its state stand guards, which AddressSanitizer watches (builder.py puts them there). The input
 * is what the engine's user does: rows of pictures, of which there may be too few or too many. */
#include "harness.h"

#include <sanitizer/asan_interface.h>

#define MODEL_MAPS /* all that there is */
#include "model.c"

static void guard(const model_state *state, bool watched) {
    const uint8_t *const guards[] = {MODEL_GUARDS};
    for (size_t i = 0; i < sizeof guards / sizeof *guards; i++)
        if (watched)
            ASAN_POISON_MEMORY_REGION(guards[i], MODEL_GUARD_BYTES);
        else
            ASAN_UNPOISON_MEMORY_REGION(guards[i], MODEL_GUARD_BYTES);
}

/* The state has its own kind of memory, for eyes_init clears all of it. */
static void begin(model_state *state) {
    guard(state, false);
    model_init(state);
    guard(state, true);
}

static int run(model_state *state, float *logits, const uint8_t *data, size_t size, int rows) {
    static uint8_t rgb[3 * MODEL_SIDE];
    size_t at = 0;
    begin(state);
    for (int y = 0; y < rows; y++) {
        for (size_t i = 0; i < sizeof rgb; i++) {
            rgb[i] = size ? data[at] : 0;
            at = at + 1 < size ? at + 1 : 0;
        }
        model_row(state, rgb);
    }
    return model_finish(state, logits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static model_state state;
    float logits[MODEL_CLASSES] = {0}, again[MODEL_CLASSES] = {0};
    int rows = MODEL_SIDE;
    if (size) {
        rows = data[0] < 2 * MODEL_SIDE ? data[0] : MODEL_SIDE;
        data++;
        size--;
    }
    int status = run(&state, logits, data, size, rows);
    EXPECT(status == (rows >= MODEL_SIDE ? 0 : -1));
    for (int c = 0; c < MODEL_CLASSES; c++)
        EXPECT(logits[c] - logits[c] == 0);
#ifdef MODEL_PRINT /* for specs.py */
    for (int c = 0; c < MODEL_CLASSES; c++) {
        uint32_t bits;
        memcpy(&bits, &logits[c], sizeof bits);
        printf("%08x ", (unsigned)bits);
    }
    printf("\n");
#endif
    if (data && size % 8 == 0) { /* nothing of a picture is left for the next one */
        EXPECT(run(&state, again, data, size, rows) == status);
        EXPECT(memcmp(logits, again, sizeof logits) == 0);
    }
    return 0;
}
