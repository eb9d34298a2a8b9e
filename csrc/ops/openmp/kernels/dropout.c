/* dropout.c: dropout over [blocks][pixels][BLOCK]. Which elements are kept is said in ops.h: 16-bit
 * draws from Philox blocks, one for 8 channels of a pixel whatever BLOCK is. */
#include "../../../base/rng.h"
#include "kernels.h"

/* A Philox block serves OCTET channels; LANES pixels are drawn side by side. */
enum { OCTET = 8, LANES = 16 };

/* The cipher of base/rng.h on LANES counters at once: loops over lanes become vectors. Pixels
 * first .. first + LANES - 1 of the octet. */
static void draw(uint32_t out[4][LANES], const sqz_dropout *dropout, uint32_t first) {
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    uint32_t k0 = (uint32_t)dropout->seed, k1 = (uint32_t)(dropout->seed >> 32);
    for (int i = 0; i < LANES; i++) {
        c0[i] = first + (uint32_t)i;
        c1[i] = dropout->picture;
        c2[i] = (uint32_t)dropout->step;
        c3[i] = SQZ_RNG_DROPOUT + ((uint32_t)(dropout->step >> 32) << 4);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t product0 = (uint64_t)0xD2511F53u * c0[i];
            uint64_t product1 = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(product1 >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(product0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)product1;
            c3[i] = (uint32_t)product0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < LANES; i++) {
        out[0][i] = c0[i];
        out[1][i] = c1[i];
        out[2][i] = c2[i];
        out[3][i] = c3[i];
    }
}

/* The mask of `channels` channels, from the octet's channel `from` on, of one pixel. */
ALWAYS_INLINE void mask_pixel(uint8_t *mask, uint32_t draws[4][LANES], int lane, int from,
                              int channels, uint32_t threshold) {
    for (int c = 0; c < channels; c++) {
        uint32_t word = draws[(from + c) / 2][lane];
        mask[c] = ((from + c) % 2 ? word >> 16 : word & 0xFFFF) >= threshold;
    }
}

static void mask_octet(uint8_t *mask, int octet, int blocks, int pixels,
                       const sqz_dropout *dropout) {
    uint32_t threshold = (uint32_t)(dropout->probability * 65536 + 0.5);
    uint32_t draws[4][LANES];
    int channels = BLOCK < OCTET ? BLOCK : OCTET;
    for (int first = 0; first < pixels; first += LANES) {
        draw(draws, dropout, (uint32_t)octet * (uint32_t)pixels + (uint32_t)first);
        int count = pixels - first < LANES ? pixels - first : LANES;
        for (int from = 0; from < OCTET; from += channels) {
            int block = (octet * OCTET + from) / BLOCK, lane_from = (octet * OCTET + from) % BLOCK;
            if (block >= blocks) /* half an octet: an odd number of blocks of 4 */
                continue;
            uint8_t *to = mask + ((size_t)block * (size_t)pixels + (size_t)first) * BLOCK;
            for (int i = 0; i < count; i++)
                mask_pixel(to + (size_t)i * BLOCK + lane_from, draws, i, from, channels, threshold);
        }
    }
}

static void apply(float *dst, const float *src, const uint8_t *mask, size_t count,
                  double probability) {
    float scale = (float)(1 / (1 - probability));
    for (size_t i = 0; i < count; i += BLOCK) {
        vec_int kept = -vec_load_bytes(mask + i);
        vec_store(dst + i, vec_or_zero(kept, vec_load(src + i) * scale));
    }
}

void SQZ_KERNEL(dropout_forward)(float *dst, uint8_t *mask, const float *src, int blocks,
                                 int pixels, const sqz_dropout *dropout) {
    for (int octet = 0; octet * OCTET < blocks * BLOCK; octet++)
        mask_octet(mask, octet, blocks, pixels, dropout);
    apply(dst, src, mask, (size_t)blocks * (size_t)pixels * BLOCK, dropout->probability);
}

void SQZ_KERNEL(dropout_backward)(float *d_src, const float *d_dst, const uint8_t *mask, int blocks,
                                  int pixels, const sqz_dropout *dropout) {
    apply(d_src, d_dst, mask, (size_t)blocks * (size_t)pixels * BLOCK, dropout->probability);
}
