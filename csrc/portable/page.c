/* What the page's worker calls, in WebAssembly: it gives a picture's rows as a browser decodes
 * them, and gets the square that the network sees, logits and maps. Compiled with EYES_MAPS, and
 * with 4 EYES_SAMPLES: alpha goes along, for that is less work than to take it out of each row. */

/* The worker's: writes the picture's next row of red, green, blue and alpha, from the top. */
__attribute__((import_module("page"), import_name("row"))) void page_next_row(uint8_t *rgba);

extern uint8_t __heap_base[]; /* the linker's: the end of all that is in use */

uint8_t *page_square(void);
float *page_logits(void);
float *page_maps(void);
int page_answer(int width, int height);

static eyes_state state;
static uint8_t square[EYES_SIDE][3 * EYES_SIDE];
static float logits[EYES_CLASSES];

typedef struct {
    int width;
    uint8_t least_alpha;
} eyes_picture;

__attribute__((export_name("square"))) uint8_t *page_square(void) {
    return square[0];
}

__attribute__((export_name("logits"))) float *page_logits(void) {
    return logits;
}

__attribute__((export_name("maps"))) float *page_maps(void) {
    return state.maps[0][0];
}

/* So many bytes, the same ones at each call; NULL: there are not so many. */
static uint8_t *eyes_memory(size_t bytes) {
    const size_t page_bytes = 1 << 16;
    size_t end = (size_t)__heap_base + bytes, has = __builtin_wasm_memory_size(0) * page_bytes;
    size_t missing = end <= has ? 0 : (end - has + page_bytes - 1) / page_bytes;
    return __builtin_wasm_memory_grow(0, missing) == (size_t)-1 ? NULL : __heap_base;
}

/* An eyes_reader. */
static int eyes_read_row(void *from, uint8_t *rgba) {
    eyes_picture *picture = from;
    uint8_t least = 255;
    page_next_row(rgba);
    for (int x = 0; x < picture->width; x++)
        least = rgba[4 * x + 3] < least ? rgba[4 * x + 3] : least;
    picture->least_alpha = least < picture->least_alpha ? least : picture->least_alpha;
    return 0;
}

/* Square, logits and maps of a picture, and 0; 1: these too, but some of it is transparent; -1: it
 * is too large. */
__attribute__((export_name("answer"))) int page_answer(int width, int height) {
    static uint8_t rgba[EYES_SAMPLES * EYES_SIDE];
    eyes_picture picture = {.width = width, .least_alpha = 255};
    eyes_scaler scaler;
    if (width < 1 || height < 1 || width > EYES_MOST_SIDE || height > EYES_MOST_SIDE)
        return -1;
    size_t bytes = eyes_scaler_init(&scaler, width, height, eyes_read_row, &picture);
    uint8_t *memory = eyes_memory(bytes);
    if (!memory)
        return -1;
    eyes_scaler_start(&scaler, memory);
    eyes_init(&state);
    for (int y = 0; y < EYES_SIDE; y++) {
        eyes_scaler_row(&scaler, y, rgba);
        for (int x = 0; x < EYES_SIDE; x++)
            for (int c = 0; c < 3; c++)
                square[y][3 * x + c] = rgba[EYES_SAMPLES * x + c];
        eyes_row(&state, square[y]);
    }
    eyes_finish(&state, logits);
    return picture.least_alpha == 255 ? 0 : 1;
}
