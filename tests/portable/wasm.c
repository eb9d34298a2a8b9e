/* wasm.c: what the host calls and where it writes pictures and reads logits. */
#define EYES_DECLARATIONS
#include "eyes.c"

static eyes_state state;
static uint8_t picture[EYES_SIDE][3 * EYES_SIDE];
static float logits[EYES_CLASSES];

uint8_t *picture_place(void);
float *logits_place(void);
int answer(void);

__attribute__((export_name("picture"))) uint8_t *picture_place(void) {
    return picture[0];
}

__attribute__((export_name("logits"))) float *logits_place(void) {
    return logits;
}

__attribute__((export_name("answer"))) int answer(void) {
    eyes_init(&state);
    for (int y = 0; y < EYES_SIDE; y++)
        eyes_row(&state, picture[y]);
    return eyes_finish(&state, logits);
}
