/* dropout.c: dropout over [blocks][pixels][BLOCK]. Which elements are kept is said in ops.h: 16-bit
 * draws from Philox blocks, one for 8 channels of a pixel whatever BLOCK is. */
#include "../../../base/rng.h"
#include "kernels.h"

#include <string.h>

/* A Philox block serves OCTET channels; LANES pixels are drawn side by side. */
enum { OCTET = 8, LANES = 16 };

/* Words of 32 bits in lanes of 64, whose upper halves may hold anything. */
typedef uint64_t vec_words __attribute__((vector_size(4 * BLOCK)));
enum { WORDS = BLOCK / 2 };

/* Each word times a constant, all 64 bits. GCC multiplies whole lanes, for which AVX-512 alone has
 * an instruction, unless it is told; Clang sees it. */
ALWAYS_INLINE vec_words multiply(vec_words words, uint32_t factor) {
    vec_words factors = (vec_words){0} + factor;
#if defined(__clang__) || defined(__AVX512DQ__) || !defined(__SSE2__)
    return (words & 0xFFFFFFFFu) * factors;
#elif defined(__AVX2__)
    return (vec_words)__builtin_ia32_pmuludq256((vec_int)words, (vec_int)factors);
#else
    return (vec_words)__builtin_ia32_pmuludq128((vec_int)words, (vec_int)factors);
#endif
}

/* Of a word's two draws: 1 in the lowest byte if its lower half is kept, in the next one if its
 * upper half is. `least`: what carries a draw that is kept beyond its 16 bits. */
ALWAYS_INLINE vec_words kept_pair(vec_words words, uint32_t least) {
    vec_words lower = (words & 0xFFFF) + least, upper = (words >> 16 & 0xFFFF) + least;
    return lower >> 16 | (upper >> 16) << 8;
}

/* What of an octet's channels is kept in LANES pixels, from pixel `counter` of all octets' on: 1 or
 * 0. The cipher is that of base/rng.h. */
static void draw(uint8_t kept[LANES][OCTET], const sqz_dropout *dropout, uint32_t counter) {
    uint32_t least = 0x10000 - (uint32_t)(dropout->probability * 65536 + 0.5);
    for (int first = 0; first < LANES; first += WORDS) {
        uint32_t k0 = (uint32_t)dropout->seed, k1 = (uint32_t)(dropout->seed >> 32);
        vec_words none = {0}, w0 = none, w1 = none + dropout->picture;
        vec_words w2 = none + (uint32_t)dropout->step;
        vec_words w3 = none + (SQZ_RNG_DROPOUT + ((uint32_t)(dropout->step >> 32) << 4));
        for (int i = 0; i < WORDS; i++)
            w0[i] = counter + (uint32_t)(first + i);
        for (int round = 0; round < 10; round++) {
            vec_words product0 = multiply(w0, 0xD2511F53u), product1 = multiply(w2, 0xCD9E8D57u);
            w0 = product1 >> 32 ^ w1 ^ k0;
            w2 = product0 >> 32 ^ w3 ^ k1;
            w1 = product1;
            w3 = product0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        vec_words bytes = kept_pair(w0, least) | kept_pair(w1, least) << 16 |
                          kept_pair(w2, least) << 32 | kept_pair(w3, least) << 48;
        memcpy(kept[first], &bytes, sizeof bytes);
    }
}

static void mask_octet(uint8_t *mask, int octet, int blocks, int pixels,
                       const sqz_dropout *dropout) {
    enum { CHANNELS = BLOCK < OCTET ? BLOCK : OCTET }; /* of a block that an octet has */
    uint8_t kept[LANES][OCTET];
    for (int first = 0; first < pixels; first += LANES) {
        draw(kept, dropout, (uint32_t)octet * (uint32_t)pixels + (uint32_t)first);
        int count = pixels - first < LANES ? pixels - first : LANES;
        for (int from = 0; from < OCTET; from += CHANNELS) {
            int block = (octet * OCTET + from) / BLOCK;
            if (block >= blocks) /* half an octet: an odd number of blocks of 4 */
                continue;
            uint8_t *to = mask + ((size_t)block * (size_t)pixels + (size_t)first) * BLOCK +
                          (octet * OCTET + from) % BLOCK;
            for (int i = 0; i < count; i++, to += BLOCK)
                memcpy(to, kept[i] + from, CHANNELS);
        }
    }
}

static void apply(element *dst, const element *src, const uint8_t *mask, size_t count,
                  double probability) {
    float scale = (float)(1 / (1 - probability));
    for (size_t i = 0; i < count; i += BLOCK) {
        vec_int kept = -vec_load_bytes(mask + i);
        element_store(dst + i, vec_or_zero(kept, element_load(src + i) * scale));
    }
}

void SQZ_KERNEL(dropout_forward)(void *dst, uint8_t *mask, const void *src, int blocks, int pixels,
                                 const sqz_dropout *dropout) {
    for (int octet = 0; octet * OCTET < blocks * BLOCK; octet++)
        mask_octet(mask, octet, blocks, pixels, dropout);
    apply(dst, src, mask, (size_t)blocks * (size_t)pixels * BLOCK, dropout->probability);
}

void SQZ_KERNEL(dropout_backward)(void *d_src, const void *d_dst, const uint8_t *mask, int blocks,
                                  int pixels, const sqz_dropout *dropout) {
    apply(d_src, d_dst, mask, (size_t)blocks * (size_t)pixels * BLOCK, dropout->probability);
}
