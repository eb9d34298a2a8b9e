/* layout.c: see layout.h; and the output size of pooling, which all backends share. */
#include "layout.h"

#include "ops.h"

void sqz_layout_block(float *blocked, const float *planar, int channels, size_t pixels, int block) {
    for (int c = 0; c < sqz_layout_stored(channels, block); c++)
        for (size_t p = 0; p < pixels; p++)
            blocked[sqz_layout_offset(c, p, pixels, block)] =
                c < channels ? planar[(size_t)c * pixels + p] : 0;
}

void sqz_layout_unblock(float *planar, const float *blocked, int channels, size_t pixels,
                        int block) {
    for (int c = 0; c < channels; c++)
        for (size_t p = 0; p < pixels; p++)
            planar[(size_t)c * pixels + p] = blocked[sqz_layout_offset(c, p, pixels, block)];
}

int sqz_pool_out_size(int in, int kernel, int stride) {
    if (in < 1)
        return 0;
    if (in <= kernel) /* one window that is cut, unless even its place would be before the input */
        return (kernel - in) / stride > 0 ? 0 : 1;
    int out = (in - kernel + stride - 1) / stride + 1;
    return (out - 1) * stride >= in ? out - 1 : out;
}
