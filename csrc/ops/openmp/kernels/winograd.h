/* winograd.h: 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): 36 multiplications for the 16
 * outputs of a tile where the direct sum has 144. Source: Lavin and Gray 2016, "Fast Algorithms for
 * Convolutional Neural Networks", arXiv:1509.09308, section 4.3, whose matrices B, G and A these
 * are. With the kernel g, the 6x6 patch d of the source and the tile y of the output,
 *
 *     y = A' [(G g G') . (B' d B)] A        (' transposes, . multiplies point by point)
 *
 * and, since that is linear in g, the gradient of g for the gradient d_y of y is
 *
 *     d_g = G' [(B' d B) . (A d_y A')] G.
 *
 * Over all channels the products at one of the 36 points are a matrix product, and the sums over
 * channels (or, for d_g, over tiles) are made before the last transform. The gradient of the source
 * is itself such a convolution, with the kernel turned.
 *
 * The lines below transform one row or column at a time; each lane of a vector is a channel. What
 * is transformed is float32: elements become that as they are loaded, and are rounded as a tile is
 * stored. */
#ifndef SQZ_OPS_OPENMP_KERNELS_WINOGRAD_H
#define SQZ_OPS_OPENMP_KERNELS_WINOGRAD_H

#include "kernels.h"

enum { SIDE = 4, PATCH = 6, POINTS = PATCH * PATCH }; /* of a tile, of its source */

/* Output blocks that a matrix product keeps in registers: the packed weights are in this order. And
 * a cache line between points, so that the 36 streams of a transform do not fall into the same sets
 * of the cache. */
enum { CHUNK = 2, GAP = 16 };

/* Of B' d. */
ALWAYS_INLINE void source_line(vec to[PATCH], const vec d[PATCH]) {
    vec even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
    vec outer = d[4] - d[2], inner = d[3] - d[1];
    to[0] = 4 * d[0] - 5 * d[2] + d[4];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = outer + 2 * inner;
    to[4] = outer - 2 * inner;
    to[5] = 4 * d[1] - 5 * d[3] + d[5];
}

/* Of A' m. */
ALWAYS_INLINE void tile_line(vec to[SIDE], const vec m[PATCH]) {
    vec near_sum = m[1] + m[2], near_difference = m[1] - m[2];
    vec far_sum = m[3] + m[4], far_difference = m[3] - m[4];
    to[0] = m[0] + near_sum + far_sum;
    to[1] = near_difference + 2 * far_difference;
    to[2] = near_sum + 4 * far_sum;
    to[3] = near_difference + 8 * far_difference + m[5];
}

/* Of A d_y. */
ALWAYS_INLINE void gradient_line(vec to[PATCH], const vec d_y[SIDE]) {
    vec even = d_y[0] + d_y[2], odd = d_y[1] + d_y[3];
    vec far_even = d_y[0] + 4 * d_y[2], far_odd = d_y[1] + 4 * d_y[3];
    to[0] = d_y[0];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = far_even + 2 * far_odd;
    to[4] = far_even - 2 * far_odd;
    to[5] = d_y[3];
}

/* Of G' u. */
ALWAYS_INLINE void kernel_gradient_line(vec to[3], const vec u[PATCH]) {
    vec near_sum = u[1] + u[2], near_difference = u[2] - u[1];
    vec far_sum = u[3] + u[4], far_difference = u[3] - u[4];
    to[0] = u[0] * (1.0f / 4) - near_sum * (1.0f / 6) + far_sum * (1.0f / 24);
    to[1] = near_difference * (1.0f / 6) + far_difference * (1.0f / 12);
    to[2] = (far_sum - near_sum) * (1.0f / 6) + u[5];
}

/* Rows and columns of a tile that exist: at the right and lower edge it may hang over. */
typedef struct {
    int y, x, h, w;
} tile_place;

ALWAYS_INLINE tile_place tile_at(int index, int out_h, int out_w) {
    int across = (out_w + SIDE - 1) / SIDE;
    int y = index / across * SIDE, x = index % across * SIDE;
    return (tile_place){y, x, out_h - y < SIDE ? out_h - y : SIDE,
                        out_w - x < SIDE ? out_w - x : SIDE};
}

static inline int tile_count(int out_h, int out_w) {
    return ((out_h + SIDE - 1) / SIDE) * ((out_w + SIDE - 1) / SIDE);
}

/* One block of channels of the source: where its picture lies, with zeros around it. */
typedef struct {
    const element *block; /* [h][w][BLOCK] */
    int h, w, top, left;
} patch_source;

/* v[point * v_point] = B' d B of the patch under the tile at `place`. */
ALWAYS_INLINE void transform_patch(float *v, size_t v_point, const patch_source *source,
                                   tile_place place) {
    vec_signed framed[POINTS];
    int y = place.y - source->top, x = place.x - source->left;
    const element *from = source->block + ((ptrdiff_t)y * source->w + x) * BLOCK;
    size_t row = (size_t)source->w * BLOCK;
    if (y < 0 || x < 0 || y + PATCH > source->h || x + PATCH > source->w) {
        for (int i = 0; i < PATCH; i++)
            for (int j = 0; j < PATCH; j++) {
                bool inside = y + i >= 0 && y + i < source->h && x + j >= 0 && x + j < source->w;
                ptrdiff_t offset = (ptrdiff_t)i * (ptrdiff_t)row + j * BLOCK;
                framed[i * PATCH + j] = inside ? bits_load(from + offset) : (vec_signed){0};
            }
        from = (const element *)framed;
        row = PATCH * BLOCK;
    }
    vec half[PATCH][PATCH];
#pragma GCC unroll 6
    for (int j = 0; j < PATCH; j++) {
        vec d[PATCH], line[PATCH];
#pragma GCC unroll 6
        for (int i = 0; i < PATCH; i++)
            d[i] = element_load(from + (size_t)i * row + (size_t)j * BLOCK);
        source_line(line, d);
#pragma GCC unroll 6
        for (int i = 0; i < PATCH; i++)
            half[i][j] = line[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < PATCH; i++) {
        vec line[PATCH];
        source_line(line, half[i]);
#pragma GCC unroll 6
        for (int j = 0; j < PATCH; j++)
            vec_store(v + (size_t)(i * PATCH + j) * v_point, line[j]);
    }
}

#endif
