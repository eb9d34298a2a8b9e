/* dropout.c: dropout over [blocks][pixels][BLOCK]. Which elements are kept is said in ops.h: 16-bit
 * draws from Philox blocks, one for 8 channels of a pixel whatever BLOCK is. */
#include "../../../base/rng.h"
#include "kernels.h"

/* A Philox block serves OCTET channels; LANES pixels are drawn side by side. */
enum { OCTET = 8, LANES = 16 };

/* What of an octet's channels is kept in LANES pixels, from pixel `counter` of all octets' on. The
 * cipher is that of base/rng.h: loops over lanes become vectors. */
static void draw(uint8_t kept[OCTET][LANES], const sqz_dropout *dropout, uint32_t counter) {
    uint32_t threshold = (uint32_t)(dropout->probability * 65536 + 0.5);
    uint32_t words[4][LANES];
    uint32_t k0 = (uint32_t)dropout->seed, k1 = (uint32_t)(dropout->seed >> 32);
    for (int i = 0; i < LANES; i++) {
        words[0][i] = counter + (uint32_t)i;
        words[1][i] = dropout->picture;
        words[2][i] = (uint32_t)dropout->step;
        words[3][i] = SQZ_RNG_DROPOUT + ((uint32_t)(dropout->step >> 32) << 4);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t product0 = (uint64_t)0xD2511F53u * words[0][i];
            uint64_t product1 = (uint64_t)0xCD9E8D57u * words[2][i];
            words[0][i] = (uint32_t)(product1 >> 32) ^ words[1][i] ^ k0;
            words[2][i] = (uint32_t)(product0 >> 32) ^ words[3][i] ^ k1;
            words[1][i] = (uint32_t)product1;
            words[3][i] = (uint32_t)product0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int word = 0; word < 4; word++)
        for (int i = 0; i < LANES; i++) {
            kept[2 * word][i] = (words[word][i] & 0xFFFF) >= threshold;
            kept[2 * word + 1][i] = words[word][i] >> 16 >= threshold;
        }
}

static void mask_octet(uint8_t *mask, int octet, int blocks, int pixels,
                       const sqz_dropout *dropout) {
    enum { CHANNELS = BLOCK < OCTET ? BLOCK : OCTET }; /* of a block that an octet has */
    uint8_t kept[OCTET][LANES];
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
                for (int c = 0; c < CHANNELS; c++)
                    to[c] = kept[from + c][i];
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
