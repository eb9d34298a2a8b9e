/* run.c: an exported file's user: all pictures of the input through it. */
#include "run.h"

#include <stdint.h>

#define EYES_DECLARATIONS
#include "eyes.c"

static eyes_state state;
static uint8_t rgb[3 * EYES_SIDE];
static float logits[EYES_CLASSES];

/* Eight hexadecimal digits of a float's bits. */
static void print(float value) {
    union {
        float value;
        uint32_t bits;
    } word = {value};
    char text[] = "00000000 ";
    for (int i = 0; i < 8; i++)
        text[7 - i] = "0123456789abcdef"[word.bits >> 4 * i & 15];
    output(text);
}

int run(void) {
    while (input(rgb, sizeof rgb) == sizeof rgb) {
        eyes_init(&state);
        if (eyes_finish(&state, logits) != -1)
            return 1;
        for (int y = 0; y < EYES_SIDE; y++) {
            if (y > 0 && input(rgb, sizeof rgb) != sizeof rgb)
                return 1;
            eyes_row(&state, rgb);
        }
        eyes_row(&state, rgb); /* one too many */
        if (eyes_finish(&state, logits) != 0)
            return 1;
        for (int c = 0; c < EYES_CLASSES; c++)
            print(logits[c]);
#ifdef EYES_MAPS
        for (int c = 0; c < EYES_CLASSES; c++)
            for (int y = 0; y < EYES_MAP_SIDE; y++)
                for (int x = 0; x < EYES_MAP_SIDE; x++)
                    print(state.maps[c][y][x]);
#endif
        output("\n");
    }
    return 0;
}
