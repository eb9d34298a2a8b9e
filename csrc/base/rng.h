/* rng.h: counted random numbers. A number is a function of a key (the seed), a purpose and a
 * counter, so that nothing depends on who asks first, on threads or on restarts.
 * Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef SQZ_BASE_RNG_H
#define SQZ_BASE_RNG_H

#include "status.h"

/* What a stream is for: streams of different purposes are independent. */
typedef enum {
    SQZ_RNG_INIT = 1,
    SQZ_RNG_SHUFFLE = 2,
    SQZ_RNG_FLIP = 3,
    SQZ_RNG_DROPOUT = 4,
    SQZ_RNG_CHANGE = 5
} sqz_rng_purpose;

/* The block cipher itself: out[4] of counter[4] under key[2]. */
void sqz_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* Four 32-bit numbers: the key is the seed, the counter is (a's 64 bits, b's low 32 bits,
 * purpose + b's bits 32..59 shifted left by 4). b < 2^60. */
void sqz_rng_block(uint32_t out[4], uint64_t seed, sqz_rng_purpose purpose, uint64_t a, uint64_t b);

/* A stream of draws, block after block, for loops that need an unknown number of them. */
typedef struct {
    uint64_t seed, a, b;
    sqz_rng_purpose purpose;
    uint32_t block[4];
    int used;
} sqz_rng;
void sqz_rng_start(sqz_rng *rng, uint64_t seed, sqz_rng_purpose purpose, uint64_t a);
uint32_t sqz_rng_next(sqz_rng *rng);
uint32_t sqz_rng_below(sqz_rng *rng, uint32_t bound); /* 0..bound-1, unbiased */
double sqz_rng_uniform(sqz_rng *rng);                 /* [0, 1), 53 bits */
double sqz_rng_normal(sqz_rng *rng);                  /* mean 0, variance 1 */

#endif
