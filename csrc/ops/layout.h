/* layout.h: offsets in the blocked activation layout, [channels / block][h][w][block], where
 * `channels` are stored ones. */
#ifndef SQZ_OPS_LAYOUT_H
#define SQZ_OPS_LAYOUT_H

#include <stddef.h>

/* Channels in whole blocks. */
static inline int sqz_layout_stored(int channels, int block) {
    return (channels + block - 1) / block * block;
}

/* Where channel c of pixel p (row * w + column) is, in elements; pixels = h * w. */
static inline size_t sqz_layout_offset(int c, size_t p, size_t pixels, int block) {
    return ((size_t)(c / block) * pixels + p) * (size_t)block + (size_t)(c % block);
}

#endif
