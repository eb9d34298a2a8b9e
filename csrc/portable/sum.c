/* Four channels' sums of products of two patches, where the time goes, and the weights that it
 * takes: sums[2][4], lengths are multiples of 16. As plain C, of which compilers make vectors of
 * products of 16-bit integers that are added in pairs; and by that instruction where they do not
 * find it. */

/* Channels and pixels that are computed at a time. */
enum { EYES_TOGETHER = 4, EYES_TILE = 16, EYES_SUMS = EYES_TOGETHER * EYES_TILE };

#if defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN)

/* Two products an instruction, of the halves of two words. Four bytes become even and odd ones in
 * an instruction each, so the weights lie as [length / 4][channel][even, odd]. */
typedef uint32_t eyes_word __attribute__((may_alias, aligned(4)));
typedef uint32_t eyes_bytes __attribute__((may_alias, aligned(1)));

static void eyes_load_weights(eyes_state *state, const eyes_convolution *conv, int channel,
                              int count) {
    int quarters = conv->length / 4;
    const eyes_pair *pairs = state->pairs;
    for (int c = 0; c < count; c++) {
        size_t first = (size_t)(channel + c) * (size_t)conv->length;
        eyes_pair *to = state->weights.pairs + 2 * c;
        for (int i = 0; i < quarters; i++, to += 2 * EYES_TOGETHER) {
            eyes_pair low, high;
            if (conv->weights) {
                const int8_t *from = conv->weights + first + 4 * i;
                low = (eyes_pair){from[0], from[1]};
                high = (eyes_pair){from[2], from[3]};
            } else {
                const uint8_t *from = conv->indices + first / 2 + 2 * i;
                low = pairs[from[0]];
                high = pairs[from[1]];
            }
            to[0] = (eyes_pair){low.first, high.first};
            to[1] = (eyes_pair){low.second, high.second};
        }
    }
}

static inline int32_t eyes_add_two(int32_t sum, uint32_t bytes, uint32_t weights) {
    return __builtin_arm_smlad((int32_t)bytes, (int32_t)weights, sum);
}

static void eyes_sum(int32_t *restrict sums, const uint8_t *a, const uint8_t *b,
                     const int16_t *restrict weights, const int32_t *restrict biases,
                     int sixteens) {
    const eyes_word *w = (const eyes_word *)(const void *)weights;
    int32_t a0 = biases[0], a1 = biases[1], a2 = biases[2], a3 = biases[3];
    int32_t b0 = a0, b1 = a1, b2 = a2, b3 = a3;
    for (const uint8_t *end = a + 16 * sixteens; a != end; a += 16, b += 16)
        for (int i = 0; i < 16; i += 4, w += 2 * EYES_TOGETHER) {
            uint32_t four_a = *(const eyes_bytes *)(const void *)(a + i);
            uint32_t four_b = *(const eyes_bytes *)(const void *)(b + i);
            uint32_t x = four_a & 0xff00ff;
            uint32_t y = four_b & 0xff00ff;
            a0 = eyes_add_two(a0, x, w[0]);
            b0 = eyes_add_two(b0, y, w[0]);
            a1 = eyes_add_two(a1, x, w[2]);
            b1 = eyes_add_two(b1, y, w[2]);
            a2 = eyes_add_two(a2, x, w[4]);
            b2 = eyes_add_two(b2, y, w[4]);
            a3 = eyes_add_two(a3, x, w[6]);
            b3 = eyes_add_two(b3, y, w[6]);
            x = four_a >> 8 & 0xff00ff;
            y = four_b >> 8 & 0xff00ff;
            a0 = eyes_add_two(a0, x, w[1]);
            b0 = eyes_add_two(b0, y, w[1]);
            a1 = eyes_add_two(a1, x, w[3]);
            b1 = eyes_add_two(b1, y, w[3]);
            a2 = eyes_add_two(a2, x, w[5]);
            b2 = eyes_add_two(b2, y, w[5]);
            a3 = eyes_add_two(a3, x, w[7]);
            b3 = eyes_add_two(b3, y, w[7]);
        }
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
    sums[4] = b0;
    sums[5] = b1;
    sums[6] = b2;
    sums[7] = b3;
}

#else

/* The weights lie as [channel][length]. */
static void eyes_load_weights(eyes_state *state, const eyes_convolution *conv, int channel,
                              int count) {
    size_t half = (size_t)conv->length / 2, first = (size_t)channel * half;
    size_t pairs = (size_t)count * half;
    if (conv->weights) {
        const int8_t *restrict from = conv->weights + 2 * first;
        int16_t *restrict flat = state->weights.flat;
        for (size_t i = 0; i < 2 * pairs; i++)
            flat[i] = from[i];
    } else {
        eyes_pair *restrict to = state->weights.pairs;
        const eyes_pair *restrict table = state->pairs;
        const uint8_t *restrict from = conv->indices + first;
        for (size_t i = 0; i < pairs; i++)
            to[i] = table[from[i]];
    }
}

#if defined(__clang__) && (defined(__wasm_simd128__) || defined(__SSE2__))

#ifdef __SSE2__
#define EYES_DOT(a, b) __builtin_ia32_pmaddwd128(a, b)
#else
#define EYES_DOT(a, b) __builtin_wasm_dot_s_i32x4_i16x8(a, b)
#endif

typedef uint8_t eyes_eight __attribute__((vector_size(8), aligned(1)));
typedef int16_t eyes_shorts __attribute__((vector_size(16), aligned(2)));
typedef int32_t eyes_sums __attribute__((vector_size(16)));

static void eyes_sum(int32_t *restrict sums, const uint8_t *restrict a, const uint8_t *restrict b,
                     const int16_t *restrict weights, const int32_t *restrict biases,
                     int sixteens) {
    int length = 16 * sixteens;
    eyes_sums s[8] = {{0}};
    for (int i = 0; i < length; i += 8) {
        eyes_shorts x = __builtin_convertvector(*(const eyes_eight *)(a + i), eyes_shorts);
        eyes_shorts y = __builtin_convertvector(*(const eyes_eight *)(b + i), eyes_shorts);
        for (int c = 0; c < 4; c++) {
            eyes_shorts w = *(const eyes_shorts *)(weights + c * length + i);
            s[c] += EYES_DOT(x, w);
            s[4 + c] += EYES_DOT(y, w);
        }
    }
    for (int c = 0; c < 8; c++)
        sums[c] = biases[c & 3] + (s[c][0] + s[c][1]) + (s[c][2] + s[c][3]);
}

#else

static void eyes_sum(int32_t *sums, const uint8_t *restrict a, const uint8_t *restrict b,
                     const int16_t *restrict weights, const int32_t *restrict biases,
                     int sixteens) {
    int length = 16 * sixteens;
    const int16_t *restrict w0 = weights, *restrict w1 = w0 + length;
    const int16_t *restrict w2 = w1 + length, *restrict w3 = w2 + length;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
    for (int i = 0; i < length; i++) {
        a0 += a[i] * w0[i];
        a1 += a[i] * w1[i];
        a2 += a[i] * w2[i];
        a3 += a[i] * w3[i];
        b0 += b[i] * w0[i];
        b1 += b[i] * w1[i];
        b2 += b[i] * w2[i];
        b3 += b[i] * w3[i];
    }
    sums[0] = biases[0] + a0;
    sums[1] = biases[1] + a1;
    sums[2] = biases[2] + a2;
    sums[3] = biases[3] + a3;
    sums[4] = biases[0] + b0;
    sums[5] = biases[1] + b1;
    sums[6] = biases[2] + b2;
    sums[7] = biases[3] + b3;
}

#endif
#endif
