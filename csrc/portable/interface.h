typedef struct {
    int16_t first, second;
} eyes_pair;

/* A picture in progress. Its members are the engine's own, but for `maps`. */
typedef struct {
    int64_t totals[EYES_CLASSES]; /* sums over the pixels of the last convolution so far */
#ifdef EYES_MAPS
    float maps[EYES_CLASSES][EYES_MAP_SIDE][EYES_MAP_SIDE]; /* whose means the logits are */
#endif
    int taken[EYES_LAYERS], handed[EYES_LAYERS]; /* rows in and out of each layer so far */
    union {
        eyes_pair pairs[2 * EYES_LONGEST_PATCH];
        int16_t flat[4 * EYES_LONGEST_PATCH];
        uint32_t words[2 * EYES_LONGEST_PATCH]; /* so that they begin where words may */
    } weights;                                  /* of the four channels being computed */
    eyes_pair pairs[EYES_PAIRS];                /* what a byte of two indices stands for */
    uint8_t row[EYES_ROW_BYTES];                /* what one layer hands to the next */
    uint8_t patches[EYES_PATCH_BYTES];          /* what a row of outputs is computed from */
    uint8_t windows[EYES_WINDOW_BYTES];         /* the rows that layers keep */
} eyes_state;

enum { EYES_STATE_BYTES = sizeof(eyes_state) };

extern const char *const eyes_class_names[EYES_CLASSES]; /* in UTF-8 */

/* Begins a picture. */
void eyes_init(eyes_state *state);

/* Takes its next row, from the top: EYES_SIDE pixels of red, green and blue. Rows after the last
 * one are ignored. */
void eyes_row(eyes_state *state, const uint8_t *rgb);

/* The logits of a picture of which all EYES_SIDE rows were taken, and 0; else -1. */
int eyes_finish(const eyes_state *state, float *logits);
