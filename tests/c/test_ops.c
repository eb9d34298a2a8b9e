/* test_ops.c: the own kernels, op by op, against plain loops in double. The same is done with more
 * shapes, for every backend, in tests/test_ops*.py; this runs where there is no Python. */
#include "check.h"

#include "../../csrc/base/rng.h"
#include "../../csrc/ops/single.h"

#include <stdlib.h>

enum { N = 2, MOST = 20 * 23 * 23 * N };

static const sqz_ops *ops;

static void fill(float *values, size_t count, uint64_t seed) {
    sqz_rng rng;
    sqz_rng_start(&rng, seed, SQZ_RNG_INIT, 0);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(2 * sqz_rng_uniform(&rng) - 1);
}

/* To a share of the largest: what Winograd's arithmetic keeps within. */
static void check_close(const char *what, const float *found, const double *expected,
                        size_t count) {
    double largest = 0, distance = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
        distance = fmax(distance, fabs((double)found[i] - expected[i]));
    }
    if (!(largest > 0.1 && distance <= 2e-5 * largest)) {
        sqz_checks_failed++;
        fprintf(stderr, "%s: differs by %g, where the largest is %g\n", what, distance, largest);
    }
}

/* -- Convolution ------------------------------------------------------------------------------- */

typedef struct {
    sqz_single_conv conv;
    int out_h, out_w;
    float src[MOST], weights[20 * 20 * 49], bias[20], dst[MOST], d_dst[MOST];
    float d_src[MOST], d_weights[20 * 20 * 49], d_bias[20];
    double by_hand[MOST], d_src_by_hand[MOST], d_weights_by_hand[20 * 20 * 49];
    double d_bias_by_hand[20];
} convolution;

/* Forward, and with the gradient of the outputs, masked where a ReLU was below 0, back. */
static void convolve_by_hand(convolution *c) {
    const sqz_single_conv *s = &c->conv;
    memset(c->d_src_by_hand, 0, sizeof c->d_src_by_hand);
    memset(c->d_weights_by_hand, 0, sizeof c->d_weights_by_hand);
    memset(c->d_bias_by_hand, 0, sizeof c->d_bias_by_hand);
    for (int at = 0; at < N * s->out_channels * c->out_h * c->out_w; at++) {
        int x = at % c->out_w, y = at / c->out_w % c->out_h, pixels = c->out_h * c->out_w;
        int o = at / pixels % s->out_channels, n = at / pixels / s->out_channels;
        double sum = (double)c->bias[o];
        for (int pass = 0; pass < 2; pass++) {
            double gradient = s->nonlinearity.relu && sum <= 0 ? 0 : (double)c->d_dst[at];
            for (int i = 0; i < s->in_channels * s->kernel_h * s->kernel_w; i++) {
                int row = y * s->stride_h + i / s->kernel_w % s->kernel_h - s->pad_h;
                int column = x * s->stride_w + i % s->kernel_w - s->pad_w;
                if (row < 0 || row >= s->in_h || column < 0 || column >= s->in_w)
                    continue;
                int channel = i / s->kernel_w / s->kernel_h;
                int from = ((n * s->in_channels + channel) * s->in_h + row) * s->in_w + column;
                int weight = o * s->in_channels * s->kernel_h * s->kernel_w + i;
                if (pass == 0) {
                    sum += (double)c->src[from] * (double)c->weights[weight];
                } else {
                    c->d_src_by_hand[from] += gradient * (double)c->weights[weight];
                    c->d_weights_by_hand[weight] += gradient * (double)c->src[from];
                }
            }
            c->d_bias_by_hand[o] += pass == 1 ? gradient : 0;
        }
        c->by_hand[at] = s->nonlinearity.relu && sum < 0 ? 0 : sum;
    }
}

static void check_convolution(convolution *c, sqz_single_conv conv) {
    sqz_error error;
    c->conv = conv;
    CHECK_OK(sqz_single_conv_size(&c->out_h, &c->out_w, &conv, &error), error);
    size_t in = (size_t)(N * conv.in_channels * conv.in_h * conv.in_w);
    size_t out = (size_t)(N * conv.out_channels * c->out_h * c->out_w);
    size_t taps = (size_t)(conv.out_channels * conv.in_channels * conv.kernel_h * conv.kernel_w);
    fill(c->src, in, 1);
    fill(c->weights, taps, 2);
    fill(c->bias, (size_t)conv.out_channels, 3);
    fill(c->d_dst, out, 4);
    convolve_by_hand(c);
    CHECK_OK(sqz_single_conv_forward(ops, c->dst, c->src, c->weights, c->bias, N, &conv, &error),
             error);
    check_close("convolution", c->dst, c->by_hand, out);
    CHECK_OK(sqz_single_conv_backward(ops, conv.planar ? NULL : c->d_src, c->d_weights, c->d_bias,
                                      c->src, c->weights, c->dst, c->d_dst, N, &conv, false,
                                      &error),
             error);
    if (!conv.planar)
        check_close("gradient of the source", c->d_src, c->d_src_by_hand, in);
    check_close("gradient of the weights", c->d_weights, c->d_weights_by_hand, taps);
    check_close("gradient of the bias", c->d_bias, c->d_bias_by_hand, (size_t)conv.out_channels);
}

static void test_convolutions(void) {
    static const sqz_single_conv convs[] = {
        /* SqueezeNet's kinds: the first layers, 1x1, 3x3 (Winograd's), and something odd */
        {3, 23, 23, 20, 7, 7, 2, 2, 0, 0, {true}, true, 0, 0},
        {3, 23, 21, 5, 3, 3, 2, 2, 0, 0, {true}, true, 0, 0},
        {20, 9, 11, 18, 1, 1, 1, 1, 0, 0, {true}, false, 1, 1},
        {17, 13, 14, 20, 3, 3, 1, 1, 1, 1, {false}, false, 0, 1},
        {5, 8, 7, 6, 3, 2, 2, 1, 1, 0, {false}, false, 0, 0},
    };
    convolution *c = malloc(sizeof *c);
    CHECK(c);
    for (size_t i = 0; c && i < sizeof convs / sizeof *convs; i++)
        check_convolution(c, convs[i]);
    free(c);
}

/* -- Pools ------------------------------------------------------------------------------------- */

static void test_max_pool(void) {
    enum { CHANNELS = 5, SIDE = 12, PIXELS = SIDE * SIDE };
    static float src[CHANNELS * PIXELS], dst[CHANNELS * PIXELS], d_dst[CHANNELS * PIXELS];
    static float d_src[CHANNELS * PIXELS];
    static double by_hand[CHANNELS * PIXELS], d_by_hand[CHANNELS * PIXELS];
    static uint8_t argmax[CHANNELS * PIXELS];
    sqz_pool_shape shape = {
        .channels = CHANNELS, .in_h = SIDE, .in_w = SIDE, .kernel = 3, .stride = 2};
    sqz_error error;
    CHECK_OK(sqz_single_pool_size(&shape, &error), error);
    CHECK(shape.out_h == 6 && shape.out_w == 6); /* the last windows are cut */
    fill(src, CHANNELS * PIXELS, 1);
    fill(d_dst, CHANNELS * PIXELS, 2);
    for (int at = 0; at < CHANNELS * 36; at++) {
        int channel = at / 36, best = -1;
        for (int i = 0; i < 9; i++) {
            int row = at / 6 % 6 * 2 + i / 3, column = at % 6 * 2 + i % 3;
            int from = channel * PIXELS + row * SIDE + column;
            if (row < SIDE && column < SIDE && (best < 0 || src[from] > src[best]))
                best = from;
        }
        by_hand[at] = (double)src[best];
        d_by_hand[best] += (double)d_dst[at];
    }
    CHECK_OK(sqz_single_max_pool_forward(ops, dst, argmax, src, &shape, &error), error);
    check_close("max-pool", dst, by_hand, CHANNELS * 36);
    CHECK_OK(sqz_single_max_pool_backward(ops, d_src, d_dst, argmax, &shape, false, &error), error);
    check_close("max-pool, backward", d_src, d_by_hand, CHANNELS * PIXELS);
}

static void test_average_pool(void) {
    enum { CHANNELS = 6, PIXELS = 35 };
    static float src[CHANNELS * PIXELS], d_src[CHANNELS * PIXELS];
    float dst[CHANNELS], d_dst[CHANNELS];
    double by_hand[CHANNELS] = {0}, d_by_hand[CHANNELS * PIXELS];
    sqz_error error;
    fill(src, CHANNELS * PIXELS, 1);
    fill(d_dst, CHANNELS, 2);
    for (int i = 0; i < CHANNELS * PIXELS; i++) {
        by_hand[i / PIXELS] += (double)src[i] / PIXELS;
        d_by_hand[i] = 10 * (double)d_dst[i / PIXELS]; /* so that the largest is no small number */
    }
    CHECK_OK(sqz_single_average_pool_forward(ops, dst, src, CHANNELS, PIXELS, &error), error);
    check_close("average pool", dst, by_hand, CHANNELS);
    CHECK_OK(sqz_single_average_pool_backward(ops, d_src, d_dst, CHANNELS, PIXELS, &error), error);
    for (int i = 0; i < CHANNELS * PIXELS; i++)
        d_src[i] *= 10 * PIXELS;
    check_close("average pool, backward", d_src, d_by_hand, CHANNELS * PIXELS);
}

/* -- Element by element ------------------------------------------------------------------------ */

static void test_elements(void) {
    enum { CHANNELS = 11, PIXELS = 17, COUNT = CHANNELS * PIXELS };
    static float a[COUNT], b[COUNT], found[COUNT], d_bias[CHANNELS];
    static double by_hand[COUNT], d_bias_by_hand[CHANNELS];
    static uint8_t mask[COUNT];
    sqz_error error;
    fill(a, COUNT, 1);
    fill(b, COUNT, 2);
    for (int i = 0; i < COUNT; i++)
        by_hand[i] = (double)a[i] + (double)b[i];
    CHECK_OK(sqz_single_sum(ops, found, a, b, CHANNELS, PIXELS, true, &error), error);
    check_close("sum", found, by_hand, COUNT);
    for (int i = 0; i < COUNT; i++) {
        by_hand[i] = b[i] > 0 ? (double)a[i] : 0;
        d_bias_by_hand[i / PIXELS] += by_hand[i];
    }
    CHECK_OK(sqz_single_nonlinearity_backward(ops, found, d_bias, a, b, CHANNELS, PIXELS,
                                              (sqz_nonlinearity){true}, false, &error),
             error);
    check_close("ReLU, backward", found, by_hand, COUNT);
    check_close("gradient of a bias", d_bias, d_bias_by_hand, CHANNELS);

    sqz_dropout dropout = {.seed = 3, .step = 9, .picture = 4, .probability = 0.25};
    uint32_t key[2] = {3, 0};
    for (int i = 0; i < COUNT; i++) {
        uint32_t channel = (uint32_t)(i / PIXELS), pixel = (uint32_t)(i % PIXELS), drawn[4];
        uint32_t counter[4] = {channel / 8 * PIXELS + pixel, 4, 9, SQZ_RNG_DROPOUT};
        sqz_philox(drawn, counter, key);
        uint32_t draw = drawn[channel % 8 / 2] >> 16 * (channel % 2) & 0xFFFF;
        by_hand[i] = draw >= 16384 ? (double)a[i] / 0.75 : 0;
    }
    CHECK_OK(sqz_single_dropout_forward(ops, found, mask, a, CHANNELS, PIXELS, &dropout, &error),
             error);
    check_close("dropout", found, by_hand, COUNT);
    CHECK_OK(sqz_single_dropout_backward(ops, found, a, mask, CHANNELS, PIXELS, &dropout, &error),
             error);
    check_close("dropout, backward", found, by_hand, COUNT);
}

void test_ops(void) {
    sqz_error error;
    CHECK_OK(sqz_single_ops(&ops, "openmp", &error), error);
    if (!ops)
        return;
    test_convolutions();
    test_max_pool();
    test_average_pool();
    test_elements();
}
