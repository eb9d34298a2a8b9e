/* layout.c: the output size of pooling, which all backends share. */
#include "ops.h"

int sqz_pool_out_size(int in, int kernel, int stride) {
    if (in < 1)
        return 0;
    if (in <= kernel) /* one window that is cut, unless even its place would be before the input */
        return (kernel - in) / stride > 0 ? 0 : 1;
    int out = (in - kernel + stride - 1) / stride + 1;
    return (out - 1) * stride >= in ? out - 1 : out;
}
