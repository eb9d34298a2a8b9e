/* openmp.c: the "openmp" backend: the project's own kernels, one table for each instruction set and
 * precision. What belongs to no set is here: creating convolutions and workers, and the sizes of
 * things. */
#include "../../base/memory.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>

/* -- Frames ------------------------------------------------------------------------------------ */

sqz_frame sqz_frame_forward(const sqz_conv_shape *shape) {
    return (sqz_frame){.blocks = shape->in_channels / shape->in_block,
                       .lanes = shape->in_block,
                       .in_h = shape->in_h,
                       .in_w = shape->in_w,
                       .h = (shape->out_h - 1) * shape->stride_h + shape->kernel_h,
                       .w = (shape->out_w - 1) * shape->stride_w + shape->kernel_w,
                       .top = shape->pad_h,
                       .left = shape->pad_w,
                       .spacing_h = 1,
                       .spacing_w = 1};
}

sqz_frame sqz_frame_backward(const sqz_conv_shape *shape, int block) {
    return (sqz_frame){.blocks = shape->out_channels / block,
                       .lanes = block,
                       .in_h = shape->out_h,
                       .in_w = shape->out_w,
                       .h = shape->in_h + shape->kernel_h - 1,
                       .w = shape->in_w + shape->kernel_w - 1,
                       .top = shape->kernel_h - 1 - shape->pad_h,
                       .left = shape->kernel_w - 1 - shape->pad_w,
                       .spacing_h = shape->stride_h,
                       .spacing_w = shape->stride_w};
}

size_t sqz_frame_count(const sqz_frame *frame) {
    bool inside = frame->h <= frame->in_h && frame->w <= frame->in_w;
    if (inside && frame->top == 0 && frame->left == 0 && frame->spacing_h == 1 &&
        frame->spacing_w == 1)
        return 0;
    size_t pixels = sqz_size_multiply((size_t)frame->h, (size_t)frame->w);
    return sqz_size_multiply(pixels, (size_t)frame->blocks * (size_t)frame->lanes);
}

/* -- Winograd ---------------------------------------------------------------------------------- */

sqz_winograd sqz_winograd_forward(const sqz_conv_shape *shape, int block) {
    return (sqz_winograd){.dst_blocks = shape->out_channels / block,
                          .dst_h = shape->out_h,
                          .dst_w = shape->out_w,
                          .src_blocks = shape->in_channels / block,
                          .src_h = shape->in_h,
                          .src_w = shape->in_w,
                          .top = shape->pad_h,
                          .left = shape->pad_w,
                          .nonlinearity = shape->nonlinearity};
}

sqz_winograd sqz_winograd_backward(const sqz_conv_shape *shape, int block) {
    return (sqz_winograd){.dst_blocks = shape->in_channels / block,
                          .dst_h = shape->in_h,
                          .dst_w = shape->in_w,
                          .src_blocks = shape->out_channels / block,
                          .src_h = shape->out_h,
                          .src_w = shape->out_w,
                          .top = 2 - shape->pad_h,
                          .left = 2 - shape->pad_w};
}

/* -- Convolutions ------------------------------------------------------------------------------ */

/* A transformed kernel has 36 floats where the kernel has 9. */
enum { WINOGRAD_GROWTH = 4 };

/* The kernels trust a shape: this is where it is looked at. */
static sqz_status shape_check(const sqz_conv_shape *shape, sqz_conv_use use, int block,
                              sqz_error *error) {
    if (shape->in_h < 1 || shape->in_w < 1 || shape->kernel_h < 1 || shape->kernel_w < 1 ||
        shape->stride_h < 1 || shape->stride_w < 1 || shape->pad_h < 0 || shape->pad_w < 0)
        return sqz_fail(error, SQZ_INVALID,
                        "a convolution of %dx%d by %dx%d, stride %dx%d, pad %dx%d: sizes and "
                        "strides are at least 1, pads at least 0",
                        shape->in_h, shape->in_w, shape->kernel_h, shape->kernel_w, shape->stride_h,
                        shape->stride_w, shape->pad_h, shape->pad_w);
    int out_h = sqz_conv_out_size(shape->in_h, shape->kernel_h, shape->stride_h, shape->pad_h);
    int out_w = sqz_conv_out_size(shape->in_w, shape->kernel_w, shape->stride_w, shape->pad_w);
    if (shape->kernel_h > shape->in_h + 2 * shape->pad_h ||
        shape->kernel_w > shape->in_w + 2 * shape->pad_w || shape->out_h != out_h ||
        shape->out_w != out_w)
        return sqz_fail(error, SQZ_INVALID,
                        "a convolution's output is %dx%d, expected %dx%d, at least 1x1",
                        shape->out_h, shape->out_w, out_h, out_w);
    if ((shape->in_block != 1 && shape->in_block != block) || shape->in_channels < 1 ||
        shape->in_channels % shape->in_block || shape->out_channels < 1 ||
        shape->out_channels % block)
        return sqz_fail(error, SQZ_INVALID,
                        "a convolution of %d channels in blocks of %d to %d channels, expected "
                        "blocks of 1 or %d and whole blocks",
                        shape->in_channels, shape->in_block, shape->out_channels, block);
    if (use == SQZ_CONV_BACKWARD && shape->in_block == 1)
        return sqz_fail(error, SQZ_UNSUPPORTED,
                        "backward_data of a planar source is not supported: nothing reads the "
                        "gradient of the network's input");
    return SQZ_OK;
}

static void conv_name(char name[96], const sqz_conv_shape *shape, sqz_algorithm algorithm,
                      sqz_isa isa, sqz_precision precision) {
    snprintf(name, 96, "%s %dx%d%s %s%s", algorithm == SQZ_WINOGRAD ? "winograd" : "direct",
             shape->kernel_h, shape->kernel_w, shape->in_block == 1 ? " planar" : "",
             sqz_isa_name(isa), precision == SQZ_BFLOAT16 ? " in float32" : "");
}

/* Winograd's algorithm for 3x3 and stride 1: it was the faster one, in all three directions, for
 * every such layer of both networks (csrc/README.md has the figures). Its multiplications, 36 a
 * tile of 4x4, are to be fewer than the 9 a pixel of the direct sum by a half at least: not so
 * where most of a tile hangs over the edge. */
static sqz_algorithm algorithm_for(const sqz_conv_shape *shape) {
    bool possible = shape->kernel_h == 3 && shape->kernel_w == 3 && shape->stride_h == 1 &&
                    shape->stride_w == 1 && shape->in_block != 1;
    int64_t tiles = (int64_t)((shape->out_h + 3) / 4) * ((shape->out_w + 3) / 4);
    bool worth = 6 * tiles <= (int64_t)shape->out_h * shape->out_w;
    return possible && worth ? SQZ_WINOGRAD : SQZ_DIRECT;
}

static sqz_status conv_create(sqz_conv **result, const sqz_conv_shape *shape, sqz_conv_use use,
                              int slot, sqz_isa isa, sqz_precision precision, sqz_error *error) {
    *result = NULL;
    SQZ_TRY(shape_check(shape, use, sqz_isa_block(isa), error));
    size_t taps = sqz_size_multiply((size_t)shape->kernel_h, (size_t)shape->kernel_w);
    size_t count = sqz_size_multiply(
        sqz_size_multiply((size_t)shape->out_channels, (size_t)shape->in_channels), taps);
    bool fits = count <= SIZE_MAX / (WINOGRAD_GROWTH * sizeof(float));
    sqz_conv *conv = fits ? calloc(1, sizeof *conv) : NULL;
    sqz_own_conv *own = calloc(1, sizeof *own);
    if (!conv || !own) {
        free(conv);
        free(own);
        return sqz_fail_memory(error, "a convolution", sqz_size_multiply(count, sizeof(float)));
    }
    own->forward = own->backward_data = own->backward_weights = algorithm_for(shape);
    size_t packed_count = own->forward == SQZ_WINOGRAD ? WINOGRAD_GROWTH * count : count;
    conv->shape = *shape;
    conv->use = use;
    conv->slot = slot;
    conv->state = own;
    conv->forward_bytes = packed_count * sizeof(float);
    conv_name(conv->forward_implementation, shape, own->forward, isa, precision);
    if (use != SQZ_CONV_FORWARD) {
        conv->gradient_count = count;
        conv_name(conv->backward_weights_implementation, shape, own->backward_weights, isa,
                  precision);
    }
    if (use == SQZ_CONV_BACKWARD) {
        conv->backward_bytes = packed_count * sizeof(float);
        conv_name(conv->backward_data_implementation, shape, own->backward_data, isa, precision);
    }
    *result = conv;
    return SQZ_OK;
}

static void conv_destroy(sqz_conv *conv) {
    if (conv)
        free(conv->state);
    free(conv);
}

/* -- Workers ----------------------------------------------------------------------------------- */

static void worker_destroy(sqz_worker *worker) {
    if (!worker)
        return;
    sqz_aligned_free(worker->scratch);
    sqz_aligned_free(worker->wide_src);
    sqz_aligned_free(worker->wide_dst);
    sqz_aligned_free(worker->wide_weights);
    free(worker);
}

/* Floats of a worker's arrays: as many as the largest convolution needs. */
typedef struct {
    size_t scratch, src, dst, weights;
} worker_counts;

static void enlarge(size_t *count, size_t needed) {
    *count = needed > *count ? needed : *count;
}

static size_t volume(size_t channels, int h, int w) {
    return sqz_size_multiply(sqz_size_multiply(channels, (size_t)h), (size_t)w);
}

static void enlarge_wide(worker_counts *counts, const sqz_conv *conv) {
    const sqz_conv_shape *shape = &conv->shape;
    const sqz_own_conv *own = conv->state;
    size_t in_channels = (size_t)shape->in_channels, out_channels = (size_t)shape->out_channels;
    enlarge(&counts->weights, volume(out_channels * in_channels, shape->kernel_h, shape->kernel_w));
    if (own->forward == SQZ_WINOGRAD && own->backward_data == SQZ_WINOGRAD &&
        own->backward_weights == SQZ_WINOGRAD)
        return;
    enlarge(&counts->src, volume(in_channels, shape->in_h, shape->in_w));
    enlarge(&counts->dst, volume(out_channels, shape->out_h, shape->out_w));
}

static sqz_status worker_create(sqz_worker **result, const sqz_conv *const *convs, int count,
                                size_t (*conv_scratch)(const sqz_conv *conv),
                                sqz_precision precision, sqz_error *error) {
    *result = NULL;
    worker_counts counts = {0};
    for (int i = 0; i < count; i++) {
        if (!convs[i])
            continue;
        enlarge(&counts.scratch, conv_scratch(convs[i]));
        if (precision == SQZ_BFLOAT16)
            enlarge_wide(&counts, convs[i]);
    }
    sqz_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return sqz_fail_memory(error, "a worker", sizeof *worker);
    worker->scratch = sqz_aligned_calloc(counts.scratch, sizeof(float));
    worker->wide_src = sqz_aligned_calloc(counts.src, sizeof(float));
    worker->wide_dst = sqz_aligned_calloc(counts.dst, sizeof(float));
    worker->wide_weights = sqz_aligned_calloc(counts.weights, sizeof(float));
    if (!worker->scratch || !worker->wide_src || !worker->wide_dst || !worker->wide_weights) {
        worker_destroy(worker);
        size_t all = counts.scratch + counts.src + counts.dst + counts.weights;
        return sqz_fail_memory(error, "a convolution's scratch memory",
                               sqz_size_multiply(all, sizeof(float)));
    }
    *result = worker;
    return SQZ_OK;
}

/* -- Tables ------------------------------------------------------------------------------------ */

#define TABLE(set, SET, type, TYPE)                                                                \
    static sqz_status conv_create_##set##_##type(sqz_conv **conv, const sqz_conv_shape *shape,     \
                                                 sqz_conv_use use, int slot, sqz_error *error) {   \
        return conv_create(conv, shape, use, slot, SET, TYPE, error);                              \
    }                                                                                              \
    static sqz_status worker_create_##set##_##type(                                                \
        sqz_worker **worker, const sqz_conv *const *convs, int count, sqz_error *error) {          \
        return worker_create(worker, convs, count, sqz_conv_scratch_##set##_float32, TYPE, error); \
    }                                                                                              \
    static const sqz_ops table_##set##_##type = {                                                  \
        .name = "openmp",                                                                          \
        .isa = SET,                                                                                \
        .block = SET == SQZ_ISA_AVX512 ? 16                                                        \
                 : SET == SQZ_ISA_AVX2 ? 8                                                         \
                                       : 4,                                                        \
        .input_block = 1,                                                                          \
        .precision = TYPE,                                                                         \
        .element = TYPE == SQZ_BFLOAT16 ? SQZ_ELEMENT_BFLOAT16 : SQZ_ELEMENT_FLOAT32,              \
        .conv_create = conv_create_##set##_##type,                                                 \
        .conv_destroy = conv_destroy,                                                              \
        .worker_create = worker_create_##set##_##type,                                             \
        .worker_destroy = worker_destroy,                                                          \
        .conv_pack_forward = sqz_conv_pack_forward_##set##_##type,                                 \
        .conv_pack_backward = sqz_conv_pack_backward_##set##_##type,                               \
        .conv_unpack_gradient = sqz_conv_unpack_gradient_##set##_##type,                           \
        .conv_forward = sqz_conv_forward_##set##_##type,                                           \
        .conv_backward_data = sqz_conv_backward_data_##set##_##type,                               \
        .conv_backward_weights = sqz_conv_backward_weights_##set##_##type,                         \
        .nonlinearity_backward = sqz_nonlinearity_backward_##set##_##type,                         \
        .max_pool_forward = sqz_max_pool_forward_##set##_##type,                                   \
        .max_pool_backward = sqz_max_pool_backward_##set##_##type,                                 \
        .average_pool_forward = sqz_average_pool_forward_##set##_##type,                           \
        .average_pool_backward = sqz_average_pool_backward_##set##_##type,                         \
        .dropout_forward = sqz_dropout_forward_##set##_##type,                                     \
        .dropout_backward = sqz_dropout_backward_##set##_##type,                                   \
        .sum = sqz_sum_##set##_##type,                                                             \
        .round = sqz_round_##set##_##type,                                                         \
    };

#define TABLES(set, SET)                                                                           \
    TABLE(set, SET, float32, SQZ_FLOAT32)                                                          \
    TABLE(set, SET, bfloat16, SQZ_BFLOAT16)

TABLES(baseline, SQZ_ISA_BASELINE)
#if SQZ_KERNELS_X86
TABLES(avx2, SQZ_ISA_AVX2)
TABLES(avx512, SQZ_ISA_AVX512)
#endif

/* NULL, too, for a set above what the CPU and SQZ_ISA allow: its first instruction would be the
 * last. */
const sqz_ops *sqz_ops_openmp(sqz_isa isa, sqz_precision precision) {
    static const sqz_ops *const tables[][2] = {
        [SQZ_ISA_BASELINE] = {&table_baseline_float32, &table_baseline_bfloat16},
#if SQZ_KERNELS_X86
        [SQZ_ISA_AVX2] = {&table_avx2_float32, &table_avx2_bfloat16},
        [SQZ_ISA_AVX512] = {&table_avx512_float32, &table_avx512_bfloat16},
#endif
    };
    sqz_isa best;
    if (sqz_cpu_isa(&best, NULL) != SQZ_OK || isa > best || isa >= sizeof tables / sizeof *tables)
        return NULL;
    return tables[isa][precision];
}
