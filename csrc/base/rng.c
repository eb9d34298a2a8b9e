/* rng.c: see rng.h. Constants of Philox4x32 from table 2 and section 3.3 of Salmon et al. 2011. */
#include "rng.h"

#include <math.h>

void sqz_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c0;
        uint64_t product1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t next0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        uint32_t next2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)product1;
        c3 = (uint32_t)product0;
        c0 = next0;
        c2 = next2;
        k0 += 0x9E3779B9u; /* the golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void sqz_rng_block(uint32_t out[4], uint64_t seed, sqz_rng_purpose purpose, uint64_t a,
                   uint64_t b) {
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t counter[4] = {(uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b,
                           (uint32_t)purpose + (uint32_t)(b >> 32 << 4)};
    sqz_philox(out, counter, key);
}

void sqz_rng_start(sqz_rng *rng, uint64_t seed, sqz_rng_purpose purpose, uint64_t a) {
    *rng = (sqz_rng){.seed = seed, .a = a, .b = 0, .purpose = purpose, .used = 4};
}

uint32_t sqz_rng_next(sqz_rng *rng) {
    if (rng->used == 4) {
        sqz_rng_block(rng->block, rng->seed, rng->purpose, rng->a, rng->b++);
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

uint32_t sqz_rng_below(sqz_rng *rng, uint32_t bound) {
    /* Lemire 2019, "Fast random integer generation in an interval", algorithm 5. */
    uint64_t product = (uint64_t)sqz_rng_next(rng) * bound;
    if ((uint32_t)product < bound) {
        uint32_t threshold = -bound % bound;
        while ((uint32_t)product < threshold)
            product = (uint64_t)sqz_rng_next(rng) * bound;
    }
    return (uint32_t)(product >> 32);
}

double sqz_rng_uniform(sqz_rng *rng) {
    uint32_t high = sqz_rng_next(rng) >> 5, low = sqz_rng_next(rng) >> 6;
    return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
}

double sqz_rng_normal(sqz_rng *rng) {
    /* Box & Muller 1958; one of the pair is enough for the few numbers drawn here. */
    double radius = sqrt(-2.0 * log(1.0 - sqz_rng_uniform(rng)));
    return radius * cos(6.283185307179586 * sqz_rng_uniform(rng));
}
