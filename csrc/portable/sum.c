/* Four channels' sums of products of two patches, where the time goes, and the weights that it
 * takes: sums[2][4], lengths are multiples of 16. Three ways, which one the compiler's own macros
 * tell: by the instructions of Arm's processors without vectors, by vectors of x86 and WebAssembly,
 * and in plain C. */

/* Channels and pixels that are computed at a time. */
enum { EYES_TOGETHER = 4, EYES_TILE = 16, EYES_SUMS = EYES_TOGETHER * EYES_TILE };

#if defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_UNALIGNED) && !defined(__ARM_NEON) &&   \
    !defined(__ARM_BIG_ENDIAN)

/* Two products an instruction, of the halves of two words. Four bytes become even and odd ones in
 * an instruction each, so the weights lie as [length / 4][channel][even, odd]. */
typedef uint32_t eyes_word __attribute__((may_alias, aligned(4)));
typedef uint32_t eyes_bytes __attribute__((may_alias, aligned(1)));

static void eyes_load_weights(eyes_state *state, const eyes_convolution *conv, int channel,
                              int count) {
    int quarters = conv->length / 4;
    const eyes_word *pairs = (const eyes_word *)(const void *)state->pairs;
    for (int c = 0; c < count; c++) {
        size_t first = (size_t)(channel + c) * (size_t)conv->length;
        const int8_t *weights = conv->weights ? conv->weights + first : NULL;
        const uint8_t *indices = conv->weights ? NULL : conv->indices + first / 2;
        eyes_word *to = state->weights.words + 2 * c;
        for (int i = 0; i < quarters; i++, to += 2 * EYES_TOGETHER) {
            uint32_t low, high;
            if (weights) {
                low = (uint32_t)(weights[4 * i] & 0xffff) | (uint32_t)weights[4 * i + 1] << 16;
                high = (uint32_t)(weights[4 * i + 2] & 0xffff) | (uint32_t)weights[4 * i + 3] << 16;
            } else {
                low = pairs[indices[2 * i]];
                high = pairs[indices[2 * i + 1]];
            }
            to[0] = (low & 0xffff) | high << 16;
            to[1] = low >> 16 | (high & 0xffff0000);
        }
    }
}

/* Of four bytes numbers 0 and 2, or 1 and 3, as halves of a word. */
#define EYES_HALVES(to, four, shift)                                                               \
    __asm__ volatile("ldr %0, %1\n\tuxtb16 %0, %0" shift : "=r"(to) : "m"(four))

/* Two pixels' halves times a channel's, into its sums. All of these are `volatile`, so that they
 * stay in this order: they take every register there is, and a compiler that loads ahead spills. */
#define EYES_ADD(sum_a, sum_b, a, b, word)                                                         \
    do {                                                                                           \
        uint32_t halves;                                                                           \
        __asm__ volatile("ldr %2, %5\n\tsmlad %0, %3, %2, %0\n\tsmlad %1, %4, %2, %1"              \
                         : "+r"(sum_a), "+r"(sum_b), "=&r"(halves)                                 \
                         : "r"(a), "r"(b), "m"(word));                                             \
    } while (0)

static void eyes_sum(int32_t *restrict sums, const uint8_t *a, const uint8_t *b,
                     const int16_t *restrict weights, const int32_t *restrict biases,
                     int sixteens) {
    const eyes_word *w = (const eyes_word *)(const void *)weights;
    int32_t a0 = biases[0], a1 = biases[1], a2 = biases[2], a3 = biases[3];
    int32_t b0 = a0, b1 = a1, b2 = a2, b3 = a3;
    for (const uint8_t *end = a + 16 * sixteens; a != end; a += 16, b += 16)
        for (int i = 0; i < 16; i += 4, w += 2 * EYES_TOGETHER) {
            const eyes_bytes *four_a = (const eyes_bytes *)(const void *)(a + i);
            const eyes_bytes *four_b = (const eyes_bytes *)(const void *)(b + i);
            uint32_t x, y;
            EYES_HALVES(x, *four_a, "");
            EYES_HALVES(y, *four_b, "");
            EYES_ADD(a0, b0, x, y, w[0]);
            EYES_ADD(a1, b1, x, y, w[2]);
            EYES_ADD(a2, b2, x, y, w[4]);
            EYES_ADD(a3, b3, x, y, w[6]);
            EYES_HALVES(x, *four_a, ", ror #8");
            EYES_HALVES(y, *four_b, ", ror #8");
            EYES_ADD(a0, b0, x, y, w[1]);
            EYES_ADD(a1, b1, x, y, w[3]);
            EYES_ADD(a2, b2, x, y, w[5]);
            EYES_ADD(a3, b3, x, y, w[7]);
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

/* Vectors of EYES_LANES sums, and of twice as many 16-bit integers and bytes, where the compiler
 * has what they take: bytes made wider, products added in pairs, and neighbours of two vectors
 * added, in each 16 bytes for themselves. EYES_CHOOSE takes what 16 numbers below 16 stand for.
 * Builtins are used where gcc 12 makes more than one instruction of the same written as vectors. */
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#if defined(__AVX2__)
#define EYES_LANES 8
#elif defined(__SSE2__) || defined(__wasm_simd128__)
#define EYES_LANES 4
#endif
#endif
#endif

#ifdef EYES_LANES

typedef int16_t eyes_shorts __attribute__((vector_size(4 * EYES_LANES), aligned(2), may_alias));
typedef int32_t eyes_sums __attribute__((vector_size(4 * EYES_LANES)));
typedef int32_t eyes_four __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint8_t eyes_sixteen __attribute__((vector_size(16), aligned(1), may_alias));
typedef char eyes_letters __attribute__((vector_size(16)));
typedef int8_t eyes_values __attribute__((vector_size(16)));
typedef uint8_t eyes_eight __attribute__((vector_size(8), aligned(1), may_alias));
typedef int16_t eyes_wide __attribute__((vector_size(32), aligned(2), may_alias));

#if EYES_LANES == 8
#define EYES_PRODUCTS(a, b) __builtin_ia32_pmaddwd256(a, b)
#define EYES_NEIGHBOURS(a, b) __builtin_ia32_phaddd256(a, b)
#define EYES_FOUR(a)                                                                               \
    (__builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7))
#else
#ifdef __SSE2__
#define EYES_PRODUCTS(a, b) __builtin_ia32_pmaddwd128(a, b)
#else
#define EYES_PRODUCTS(a, b) __builtin_wasm_dot_s_i32x4_i16x8(a, b)
#endif
#define EYES_NEIGHBOURS(a, b)                                                                      \
    (__builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7))
#define EYES_FOUR(a) (a)
#endif

/* The first and the last eight or, of eight lanes, all of 16 bytes. */
#if EYES_LANES == 4
#define EYES_FIRST(bytes)                                                                          \
    (eyes_shorts) __builtin_shufflevector(bytes, (eyes_sixteen){0}, 0, 16, 1, 17, 2, 18, 3, 19, 4, \
                                          20, 5, 21, 6, 22, 7, 23)
#define EYES_LAST(bytes)                                                                           \
    (eyes_shorts) __builtin_shufflevector(bytes, (eyes_sixteen){0}, 8, 24, 9, 25, 10, 26, 11, 27,  \
                                          12, 28, 13, 29, 14, 30, 15, 31)
#elif defined(__clang__)
#define EYES_FIRST(bytes) __builtin_convertvector(bytes, eyes_shorts)
#else
#define EYES_FIRST(bytes) (eyes_shorts) __builtin_ia32_pmovzxbw256((eyes_letters)(bytes))
#endif

#if defined(__SSSE3__)
#define EYES_CHOOSE(table, numbers)                                                                \
    (eyes_values) __builtin_ia32_pshufb128((eyes_letters)(table), (eyes_letters)(numbers))
#elif defined(__wasm_simd128__)
#define EYES_CHOOSE(table, numbers)                                                                \
    (eyes_values) __builtin_wasm_swizzle_i8x16((eyes_values)(table), (eyes_values)(numbers))
#endif

#endif

/* `count` times two weights. */
#ifdef EYES_CHOOSE

static void eyes_look_up(int16_t *restrict to, const uint8_t *restrict indices, size_t count,
                         const eyes_convolution *conv, const eyes_state *state) {
    eyes_sixteen table = *(const eyes_sixteen *)(const void *)conv->values;
    for (size_t i = 0; i < count; i += 8) {
        eyes_eight half = *(const eyes_eight *)(const void *)(indices + i);
        eyes_sixteen two =
            __builtin_shufflevector(half, half, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        eyes_sixteen numbers = __builtin_shufflevector(two & 15, two >> 4, 0, 17, 2, 19, 4, 21, 6,
                                                       23, 8, 25, 10, 27, 12, 29, 14, 31);
        eyes_values values = EYES_CHOOSE(table, numbers);
        *(eyes_wide *)(void *)(to + 2 * i) = __builtin_convertvector(values, eyes_wide);
    }
    (void)state;
}

#else

static void eyes_look_up(int16_t *restrict to, const uint8_t *restrict indices, size_t count,
                         const eyes_convolution *conv, const eyes_state *state) {
    eyes_pair *restrict pairs = (eyes_pair *)(void *)to;
    for (size_t i = 0; i < count; i++)
        pairs[i] = state->pairs[indices[i]];
    (void)conv;
}

#endif

/* The weights lie as [channel][length]. */
static void eyes_load_weights(eyes_state *state, const eyes_convolution *conv, int channel,
                              int count) {
    size_t first = (size_t)channel * (size_t)conv->length;
    size_t weights = (size_t)count * (size_t)conv->length;
    int16_t *restrict flat = state->weights.flat;
    if (conv->weights) {
        const int8_t *restrict from = conv->weights + first;
        for (size_t i = 0; i < weights; i++)
            flat[i] = from[i];
    } else {
        eyes_look_up(flat, conv->indices + first / 2, weights / 2, conv, state);
    }
}

#ifdef EYES_LANES

/* Products of four channels and a part of two pixels, which is x and y. */
#define EYES_ADD(x, y, place)                                                                      \
    do {                                                                                           \
        eyes_shorts w = *(const eyes_shorts *)(const void *)(w0 + (place));                        \
        a0 += EYES_PRODUCTS(x, w);                                                                 \
        b0 += EYES_PRODUCTS(y, w);                                                                 \
        w = *(const eyes_shorts *)(const void *)(w1 + (place));                                    \
        a1 += EYES_PRODUCTS(x, w);                                                                 \
        b1 += EYES_PRODUCTS(y, w);                                                                 \
        w = *(const eyes_shorts *)(const void *)(w2 + (place));                                    \
        a2 += EYES_PRODUCTS(x, w);                                                                 \
        b2 += EYES_PRODUCTS(y, w);                                                                 \
        w = *(const eyes_shorts *)(const void *)(w3 + (place));                                    \
        a3 += EYES_PRODUCTS(x, w);                                                                 \
        b3 += EYES_PRODUCTS(y, w);                                                                 \
    } while (0)

static void eyes_sum(int32_t *restrict sums, const uint8_t *restrict a, const uint8_t *restrict b,
                     const int16_t *restrict weights, const int32_t *restrict biases,
                     int sixteens) {
    int length = 16 * sixteens;
    const int16_t *w0 = weights, *w1 = w0 + length, *w2 = w1 + length, *w3 = w2 + length;
    eyes_sums a0 = {0}, a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (int i = 0; i < length; i += 16) {
        eyes_sixteen from_a = *(const eyes_sixteen *)(const void *)(a + i);
        eyes_sixteen from_b = *(const eyes_sixteen *)(const void *)(b + i);
        eyes_shorts x = EYES_FIRST(from_a), y = EYES_FIRST(from_b);
        EYES_ADD(x, y, i);
#if EYES_LANES == 4
        x = EYES_LAST(from_a);
        y = EYES_LAST(from_b);
        EYES_ADD(x, y, i + 8);
#endif
    }
    eyes_four bias = *(const eyes_four *)(const void *)biases;
    a0 = EYES_NEIGHBOURS(EYES_NEIGHBOURS(a0, a1), EYES_NEIGHBOURS(a2, a3));
    b0 = EYES_NEIGHBOURS(EYES_NEIGHBOURS(b0, b1), EYES_NEIGHBOURS(b2, b3));
    *(eyes_four *)(void *)sums = bias + EYES_FOUR(a0);
    *(eyes_four *)(void *)(sums + EYES_TOGETHER) = bias + EYES_FOUR(b0);
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
