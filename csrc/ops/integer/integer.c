/* integer.c: the tables of 8-bit integers, one for each integer instruction set: packing, frames
 * and workers, which belong to no set. They are our kernels whatever the backend: integer sums have
 * the same bits in any order, so there is nothing to choose but speed. */
#include "integer.h"
#include "../../base/memory.h"
#include "winograd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How a convolution is done. */
typedef enum {
    IN_PLACE, /* 1x1 of bytes */
    FRAMED,   /* of a source with zeros around, or in wider terms */
    PATCHES,  /* of the picture's: the few channels of a row of the kernel would not fill words */
    WINOGRAD  /* winograd.c */
} conv_way;

/* A convolution's state. Packed: bias[out_channels] and multipliers[out_channels], then the words
 * of kernels/integer.h; all are 4 bytes wide. */
typedef struct {
    const sqz_integer_set *set;
    conv_way way;
    sqz_integer_frame frame; /* of the whole source */
    int rows, inner;         /* of words: rows of the kernel and what is in one, or all in one */
} integer_conv;

struct sqz_worker {
    unsigned char *frame;
};

/* -- Convolutions ------------------------------------------------------------------------------ */

static size_t term_bytes(const sqz_integer_set *set) {
    return sizeof(int32_t) / (size_t)set->step;
}

/* What stays in the nearest cache while all output channels of it are computed. */
enum { PATCHES_AT_ONCE = 56 };

/* What a worker lays out of a source at a time. */
static size_t frame_bytes(const sqz_conv *conv) {
    const integer_conv *integer = conv->state;
    const sqz_integer_frame *frame = &integer->frame;
    size_t terms = 0;
    if (integer->way == WINOGRAD)
        return sqz_integer_winograd_bytes(&conv->shape, integer->set);
    if (integer->way == PATCHES)
        terms = PATCHES_AT_ONCE * SQZ_INTEGER_PATCH;
    else if (integer->way == FRAMED)
        terms = sqz_size_multiply(sqz_size_multiply((size_t)frame->h, (size_t)frame->w),
                                  (size_t)frame->blocks * (size_t)frame->lanes);
    return sqz_size_multiply(terms, term_bytes(integer->set));
}

static size_t word_count(const sqz_conv *conv) {
    const integer_conv *integer = conv->state;
    if (integer->way == WINOGRAD)
        return sqz_integer_winograd_words(&conv->shape);
    size_t rows = sqz_size_multiply((size_t)integer->frame.blocks, (size_t)integer->rows);
    return sqz_size_multiply(sqz_size_multiply(rows, (size_t)integer->inner),
                             (size_t)conv->shape.out_channels);
}

static void conv_destroy(sqz_conv *conv) {
    if (conv)
        free(conv->state);
    free(conv);
}

static bool is_pointwise(const sqz_conv_shape *shape) {
    return shape->kernel_h == 1 && shape->kernel_w == 1 && shape->pad_h == 0 && shape->pad_w == 0;
}

/* The kernels are for SqueezeNet's convolutions. */
static sqz_status check(const sqz_conv_shape *shape, sqz_conv_use use, bool rgb, sqz_error *error) {
    if (use != SQZ_CONV_FORWARD)
        return sqz_fail(error, SQZ_INVALID,
                        "8-bit integers are for inference: nothing is trained in them");
    int row = 3 * shape->kernel_w;
    bool patched = shape->pad_h == 0 && shape->pad_w == 0 && row <= SQZ_INTEGER_PATCH_ROW &&
                   (shape->kernel_h - 1) * row + SQZ_INTEGER_PATCH_ROW <= SQZ_INTEGER_PATCH;
    if (rgb ? patched
            : shape->stride_h == 1 && shape->stride_w == 1 &&
                  shape->kernel_h * shape->kernel_w <= SQZ_INTEGER_PATCH)
        return SQZ_OK;
    return sqz_fail(error, SQZ_UNSUPPORTED,
                    "8-bit integers have no convolution of %d x %d, stride %d x %d, padding %d x "
                    "%d of %s",
                    shape->kernel_h, shape->kernel_w, shape->stride_h, shape->stride_w,
                    shape->pad_h, shape->pad_w, rgb ? "a picture" : "activations");
}

static sqz_status conv_create(sqz_conv **result, const sqz_conv_shape *shape, sqz_conv_use use,
                              int slot, const sqz_integer_set *set, sqz_error *error) {
    *result = NULL;
    bool rgb = shape->in_block != set->block;
    SQZ_TRY(check(shape, use, rgb, error));
    sqz_conv *conv = calloc(1, sizeof *conv);
    integer_conv *integer = calloc(1, sizeof *integer);
    if (!conv || !integer) {
        free(conv);
        free(integer);
        return sqz_fail_memory(error, "a convolution", sizeof *conv + sizeof *integer);
    }
    conv->shape = *shape;
    conv->use = use;
    conv->slot = slot;
    conv->state = integer;
    integer->set = set;
    integer->way = rgb                                      ? PATCHES
                   : is_pointwise(shape) && set->step == 4  ? IN_PLACE
                   : sqz_integer_winograd_suits(shape, set) ? WINOGRAD
                                                            : FRAMED;
    integer->rows = rgb ? 1 : shape->kernel_h;
    int terms = shape->kernel_h / integer->rows * shape->kernel_w * shape->in_block;
    integer->inner = (terms + set->step - 1) / set->step;
    integer->frame =
        (sqz_integer_frame){.blocks = shape->in_channels / shape->in_block,
                            .lanes = shape->in_block,
                            .in_h = shape->in_h,
                            .in_w = shape->in_w,
                            .h = (shape->out_h - 1) * shape->stride_h + shape->kernel_h,
                            .w = (shape->out_w - 1) * shape->stride_w + shape->kernel_w,
                            .top = shape->pad_h,
                            .left = shape->pad_w};
    conv->forward_bytes = (2 * (size_t)shape->out_channels + word_count(conv)) * sizeof(int32_t);
    snprintf(conv->forward_implementation, sizeof conv->forward_implementation,
             "integer %dx%d%s %s", shape->kernel_h, shape->kernel_w,
             rgb                        ? " rgb"
             : integer->way == WINOGRAD ? " winograd"
                                        : "",
             set->name);
    *result = conv;
    return SQZ_OK;
}

/* -- Packing ----------------------------------------------------------------------------------- */

/* Puts weights of an output channel for one input channel, [kernel_h][kernel_w]. */
static void put(const sqz_conv *conv, void *words, const int8_t *steps, int o, int c) {
    const sqz_conv_shape *shape = &conv->shape;
    const integer_conv *integer = conv->state;
    int block = integer->set->block, step = integer->set->step, lanes = shape->in_block;
    int taps = shape->kernel_h / integer->rows * shape->kernel_w; /* of a row of words */
    size_t first = ((size_t)(o / block) * (size_t)integer->frame.blocks + (size_t)(c / lanes)) *
                   (size_t)integer->rows;
    for (int tap = 0; tap < shape->kernel_h * shape->kernel_w; tap++) {
        int term = tap % taps * lanes + c % lanes;
        size_t row = first + (size_t)(tap / taps);
        size_t word = (row * (size_t)integer->inner + (size_t)(term / step)) * (size_t)block +
                      (size_t)(o % block);
        size_t at = word * (size_t)step + (size_t)(term % step);
        if (step == 4)
            ((int8_t *)words)[at] = steps[tap];
        else
            ((int16_t *)words)[at] = steps[tap];
    }
}

/* An output channel's weights, in whole steps; and the part of its bias, in doubles, that the
 * pictures' mean is. */
static double pack_channel(const sqz_conv *conv, void *words, const float *weights, int o,
                           const sqz_conv_scales *scales) {
    const sqz_conv_shape *shape = &conv->shape;
    const integer_conv *integer = conv->state;
    int8_t steps[SQZ_INTEGER_PATCH]; /* no kernel is larger than a patch */
    double mean = 0;
    for (int c = 0; c < shape->in_channels; c++) {
        for (int tap = 0; tap < shape->kernel_h * shape->kernel_w; tap++) {
            double value = *weights++;
            if (scales->std) {
                mean += value * scales->mean[c] / scales->std[c];
                value /= sqz_integer_folded(scales->std[c]);
            }
            steps[tap] = (int8_t)sqz_integer_weight(value, scales->weights[o]);
        }
        if (integer->way == WINOGRAD)
            sqz_integer_winograd_put(words, shape, integer->set, steps, o, c);
        else
            put(conv, words, steps, o, c);
    }
    return mean;
}

static int32_t bias_steps(double bias, double scale) {
    const double most = SQZ_INTEGER_MOST_SUM;
    double steps = rint(bias / scale);
    return (int32_t)(steps > most ? most : steps < -most ? -most : steps);
}

static sqz_status conv_pack_scaled(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                   const float *weights, const float *bias,
                                   const sqz_conv_scales *scales, sqz_error *error) {
    (void)worker;
    (void)error;
    const sqz_conv_shape *shape = &conv->shape;
    size_t channels = (size_t)shape->out_channels;
    size_t taps = (size_t)shape->in_channels * (size_t)shape->kernel_h * (size_t)shape->kernel_w;
    int32_t *steps = packed, *words = steps + 2 * channels;
    float *multipliers = (float *)packed + channels;
    memset(words, 0, word_count(conv) * sizeof *words);
    for (size_t o = 0; o < channels; o++) {
        double mean = pack_channel(conv, words, weights + o * taps, (int)o, scales);
        double scale = (double)scales->weights[o] * scales->in;
        steps[o] = bias_steps(bias[o] - mean, scale);
        multipliers[o] = (float)(scale / scales->out);
    }
    return SQZ_OK;
}

/* -- Workers ----------------------------------------------------------------------------------- */

static void worker_destroy(sqz_worker *worker) {
    if (!worker)
        return;
    sqz_aligned_free(worker->frame);
    free(worker);
}

static sqz_status worker_create(sqz_worker **result, const sqz_conv *const *convs, int count,
                                sqz_error *error) {
    *result = NULL;
    size_t largest = 0;
    for (int i = 0; i < count; i++) {
        size_t needed = convs[i] ? frame_bytes(convs[i]) : 0;
        largest = needed > largest ? needed : largest;
    }
    sqz_worker *worker = calloc(1, sizeof *worker);
    unsigned char *frame = sqz_aligned_calloc(largest, 1);
    if (!worker || !frame) {
        free(worker);
        sqz_aligned_free(frame);
        return sqz_fail_memory(error, "a convolution's frame", largest);
    }
    worker->frame = frame;
    *result = worker;
    return SQZ_OK;
}

/* -- Forward ----------------------------------------------------------------------------------- */

/* Rows of dst, with the source's rows that they need laid out in the worker's frame. */
static void convolve_rows(const sqz_conv *conv, sqz_integer_conv call, sqz_worker *worker,
                          const void *src, sqz_span rows) {
    const integer_conv *integer = conv->state;
    int first = (int)rows.begin, count = (int)(rows.end - rows.begin);
    sqz_integer_frame frame = integer->frame;
    frame.top -= first;
    frame.h = count - 1 + conv->shape.kernel_h;
    integer->set->frame(worker->frame, src, &frame);
    call.src = worker->frame;
    call.src_row = (size_t)frame.w * (size_t)frame.lanes * term_bytes(integer->set);
    call.src_block = (size_t)frame.h * call.src_row;
    call.src_down = call.src_row;
    call.dst_h = count;
    call.dst_w = conv->shape.out_w;
    integer->set->convolve(&call);
}

/* Rows of dst, by and by. */
static void convolve_patches(const sqz_conv *conv, sqz_integer_conv call, sqz_worker *worker,
                             const uint8_t *src, sqz_span rows) {
    const integer_conv *integer = conv->state;
    const sqz_conv_shape *shape = &conv->shape;
    size_t src_row = (size_t)shape->in_w * 3, across = (size_t)shape->stride_w * 3;
    sqz_integer_patches patches = {.kernel_h = shape->kernel_h,
                                   .row_terms = shape->kernel_w * 3,
                                   .src_row = src_row,
                                   .src_across = across,
                                   .end = src + (size_t)shape->in_h * src_row};
    call.src = worker->frame;
    call.patches = true;
    call.dst_h = 1;
    for (size_t y = rows.begin; y < rows.end; y++)
        for (int x = 0; x < shape->out_w; x += PATCHES_AT_ONCE) {
            int left = shape->out_w - x;
            patches.count = left < PATCHES_AT_ONCE ? left : PATCHES_AT_ONCE;
            integer->set->patches(worker->frame,
                                  src + y * (size_t)shape->stride_h * src_row + (size_t)x * across,
                                  &patches);
            call.dst_w = patches.count;
            integer->set->convolve(&call);
            call.dst = (uint8_t *)call.dst + (size_t)patches.count * (size_t)integer->set->block;
        }
}

/* Pixels of dst, and as many of the source, as one row. */
static void convolve_pixels(const sqz_conv *conv, sqz_integer_conv call, const uint8_t *src,
                            sqz_span pixels) {
    const sqz_conv_shape *shape = &conv->shape;
    size_t pixel = (size_t)shape->in_block;
    call.src = src + pixels.begin * pixel;
    call.src_block = (size_t)shape->in_h * (size_t)shape->in_w * pixel;
    call.dst_h = 1;
    call.dst_w = (int)(pixels.end - pixels.begin);
    ((const integer_conv *)conv->state)->set->convolve(&call);
}

static sqz_status conv_forward(const sqz_conv *conv, sqz_worker *worker, void *dst, const void *src,
                               const void *packed, const float *bias, sqz_part part,
                               sqz_error *error) {
    (void)bias; /* it is among what is packed */
    (void)error;
    const sqz_conv_shape *shape = &conv->shape;
    const integer_conv *integer = conv->state;
    size_t channels = (size_t)shape->out_channels, block = (size_t)integer->set->block;
    size_t rows = (size_t)shape->out_h, row = (size_t)shape->out_w;
    sqz_integer_conv call = {.dst_block = rows * row * block,
                             .bias = packed,
                             .multipliers = (const float *)packed + channels,
                             .packed = (const int32_t *)packed + 2 * channels,
                             .dst_blocks = shape->out_channels / (int)block,
                             .src_blocks = integer->frame.blocks,
                             .kernel_h = integer->rows,
                             .inner = integer->inner,
                             .sums = shape->sums,
                             .relu = shape->nonlinearity.relu};
    if (shape->sums) { /* the average pool takes blocks: whoever made one has it at hand */
        sqz_span blocks = sqz_part_span(part, channels / block);
        size_t first = blocks.begin * block;
        dst = (int32_t *)dst + blocks.begin * call.dst_block;
        call.bias += first;
        call.packed += word_count(conv) / channels * first;
        call.dst_blocks = (int)(blocks.end - blocks.begin);
        part = sqz_part_whole;
    }
    if (integer->way == WINOGRAD) {
        sqz_integer_winograd_forward(&call, dst, src, shape, integer->set, worker->frame, part);
        return SQZ_OK;
    }
    bool pixels = integer->way == IN_PLACE;
    sqz_span span = sqz_part_span(part, pixels ? rows * row : rows);
    if (span.begin == span.end)
        return SQZ_OK;
    size_t first = span.begin * (pixels ? 1 : row) * block;
    call.dst = (unsigned char *)dst + first * (shape->sums ? sizeof(int32_t) : 1);
    if (pixels)
        convolve_pixels(conv, call, src, span);
    else if (integer->way == PATCHES)
        convolve_patches(conv, call, worker, src, span);
    else
        convolve_rows(conv, call, worker, src, span);
    return SQZ_OK;
}

/* -- Tables ------------------------------------------------------------------------------------ */

#define TABLE(set, SET, BLOCK, STEP)                                                               \
    static const sqz_integer_set set_##set = {#set,                                                \
                                              BLOCK,                                               \
                                              STEP,                                                \
                                              sqz_integer_frame_##set,                             \
                                              sqz_integer_patches_##set,                           \
                                              sqz_integer_convolve_##set,                          \
                                              sqz_integer_winograd_source_##set,                   \
                                              sqz_integer_winograd_result_##set};                  \
    static sqz_status conv_create_##set(sqz_conv **conv, const sqz_conv_shape *shape,              \
                                        sqz_conv_use use, int slot, sqz_error *error) {            \
        return conv_create(conv, shape, use, slot, &set_##set, error);                             \
    }                                                                                              \
    static const sqz_ops table_##set = {                                                           \
        .name = "integer",                                                                         \
        .isa = SET,                                                                                \
        .block = BLOCK,                                                                            \
        .input_block = 3,                                                                          \
        .precision = SQZ_INT8,                                                                     \
        .element = SQZ_ELEMENT_UINT8,                                                              \
        .conv_create = conv_create_##set,                                                          \
        .conv_destroy = conv_destroy,                                                              \
        .worker_create = worker_create,                                                            \
        .worker_destroy = worker_destroy,                                                          \
        .conv_pack_scaled = conv_pack_scaled,                                                      \
        .conv_forward = conv_forward,                                                              \
        .max_pool_forward = sqz_integer_max_pool_##set,                                            \
        .average_pool_scaled = sqz_integer_average_pool_##set,                                     \
        .sum = sqz_integer_sum_##set,                                                              \
    };

TABLE(baseline, SQZ_ISA_BASELINE, 4, 2)
#if SQZ_INTEGER_X86
TABLE(avx2, SQZ_ISA_AVX2, 8, 2)
TABLE(avx2vnni, SQZ_ISA_AVX2, 8, 4)
TABLE(avx512, SQZ_ISA_AVX512, 16, 2)
TABLE(avx512vnni, SQZ_ISA_AVX512, 16, 4)
#endif

const sqz_ops *sqz_ops_integer(sqz_isa isa) {
#if SQZ_INTEGER_X86
    if (isa == SQZ_ISA_AVX512)
        return sqz_cpu_vnni(isa) ? &table_avx512vnni : &table_avx512;
    if (isa == SQZ_ISA_AVX2)
        return sqz_cpu_vnni(isa) ? &table_avx2vnni : &table_avx2;
#endif
    return isa == SQZ_ISA_BASELINE ? &table_baseline : NULL;
}
