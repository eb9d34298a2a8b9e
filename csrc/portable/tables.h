/* A convolution's numbers. A patch, what one output pixel is computed from, is `length` bytes: the
 * kernel's rows, of each the pixels, of each the channels; then what makes it a multiple of 16,
 * which meets weights of 0. */
typedef struct {
    const int8_t *weights;    /* [channels][length], or NULL: by the two that follow */
    const uint8_t *indices;   /* [channels][length / 2], two to a byte, the low half first */
    const int8_t *values;     /* [16]: what the indices stand for */
    const int32_t *biases;    /* [channels] */
    const float *multipliers; /* [channels]: from sums to bytes; of the last one, to logits */
    int channels, length;
} eyes_convolution;

enum { EYES_CONVOLUTION, EYES_POOL, EYES_FIRE, EYES_HEAD };

/* Rows are [columns][channels]; channels are rounded up to a multiple of 16, of which those that
 * are too many may hold anything. */
typedef struct {
    int kind;
    int kernel;      /* of EYES_CONVOLUTION and EYES_POOL, whose stride is 2 */
    int convolution; /* the number of its first one: a Fire has three, squeeze, 1x1 and 3x3 */
    int in_rows, in_columns, in_channels;
    int out_rows, out_columns, out_channels;
    int squeezed; /* of EYES_FIRE: channels between squeeze and expand */
    int window;   /* where in the state's windows its own begins */
    int kept;     /* of EYES_FIRE with a bypass: where it keeps its last two rows; else -1 */
} eyes_layer;
