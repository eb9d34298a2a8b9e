/* winograd_pack.c: weights [out_channels][in_channels][3][3] transformed to G g G', in the order
 * that winograd_convolve.c reads them: [chunk][POINTS][channels summed over][blocks][BLOCK]. */
#include "winograd.h"

/* Of G g. */
ALWAYS_INLINE void kernel_line(vec to[PATCH], const vec g[3]) {
    vec outer = g[0] + g[2], far_outer = g[0] + 4 * g[2];
    to[0] = g[0] * (1.0f / 4);
    to[1] = (outer + g[1]) * (-1.0f / 6);
    to[2] = (outer - g[1]) * (-1.0f / 6);
    to[3] = (far_outer + 2 * g[1]) * (1.0f / 24);
    to[4] = (far_outer - 2 * g[1]) * (1.0f / 24);
    to[5] = g[2];
}

ALWAYS_INLINE void transform_kernel(float *u, size_t u_point, const vec g[3][3]) {
    vec half[3][PATCH];
    for (int j = 0; j < 3; j++) {
        vec column[3] = {g[0][j], g[1][j], g[2][j]};
        kernel_line(half[j], column);
    }
    for (int i = 0; i < PATCH; i++) {
        vec row[3] = {half[0][i], half[1][i], half[2][i]}, line[PATCH];
        kernel_line(line, row);
        for (int j = 0; j < PATCH; j++)
            vec_store(u + (size_t)(i * PATCH + j) * u_point, line[j]);
    }
}

/* Where the kernels are that go from one source channel to one destination block: `lane` floats
 * from lane to lane, `depth` from channel to channel, turned by 180 degrees or not. */
typedef struct {
    int dst_blocks, src_channels;
    size_t lane, depth;
    bool turned;
} kernels;

static void pack(float *packed, const float *weights, const kernels *kernels) {
    for (int block = 0; block < kernels->dst_blocks; block++) {
        int chunk = block / CHUNK * CHUNK, left = kernels->dst_blocks - chunk;
        size_t blocks = left < CHUNK ? (size_t)left : CHUNK;
        size_t depth = (size_t)kernels->src_channels;
        float *to = packed + ((size_t)chunk * POINTS * depth + (size_t)(block - chunk)) * BLOCK;
        for (size_t k = 0; k < depth; k++, to += blocks * BLOCK) {
            const float *from =
                weights + (size_t)block * BLOCK * kernels->lane + k * kernels->depth;
            vec g[3][3];
            for (int tap = 0; tap < 9; tap++) {
                int target = kernels->turned ? 8 - tap : tap;
                for (size_t lane = 0; lane < BLOCK; lane++)
                    g[target / 3][target % 3][lane] = from[lane * kernels->lane + (size_t)tap];
            }
            transform_kernel(to, depth * blocks * BLOCK, g);
        }
    }
}

void SQZ_KERNEL(winograd_pack_forward)(float *packed, const float *weights,
                                       const sqz_conv_shape *shape) {
    kernels kernels = {.dst_blocks = shape->out_channels / BLOCK,
                       .src_channels = shape->in_channels,
                       .lane = (size_t)shape->in_channels * 9,
                       .depth = 9};
    pack(packed, weights, &kernels);
}

void SQZ_KERNEL(winograd_pack_backward)(float *packed, const float *weights,
                                        const sqz_conv_shape *shape) {
    kernels kernels = {.dst_blocks = shape->in_channels / BLOCK,
                       .src_channels = shape->out_channels,
                       .lane = 9,
                       .depth = (size_t)shape->in_channels * 9,
                       .turned = true};
    pack(packed, weights, &kernels);
}
