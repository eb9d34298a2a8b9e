/* ops.h: the op table. A backend is one table of functions; every backend has the same signatures,
 * works on the same buffers and passes the same tests.
 *
 * All ops work on ONE picture and ONE thread; in inference several threads may do parts of one op
 * side by side. Activations are blocked by channels, [C / block][H][W][block], where C is the
 * stored channel count, a multiple of block; a range of whole blocks is contiguous memory, so an op
 * may write to a slice of a wider tensor by being given a pointer into it. Stored channels that
 * stand for no logical channel (holes) are zero in every activation, weight and bias, and ops keep
 * them zero. The network's input alone has blocks of the table's input_block: of 1, so that it is
 * planar, [C][H][W]; or of 3 in the tables of integers, [H][W][3], a picture as it is decoded.
 *
 * Activations and their gradients are `void *` here: arrays of the table's element (see
 * base/element.h). All else that is a number is `float *` and float32 in both: what
 * average pooling gives, biases, the gradients of weights and biases. Sums are float32 and are
 * rounded once, when they are stored.
 *
 * All buffers are aligned to SQZ_ALIGNMENT (a slice, to its block; a planar source may be aligned
 * to a float only) and do not overlap unless a function says "in place". "Overwrites" and "adds to"
 * are said for each output.
 */
#ifndef SQZ_OPS_OPS_H
#define SQZ_OPS_OPS_H

#include "../base/cpu.h"
#include "../base/element.h"
#include "../base/nonlinearity.h"
#include "../base/part.h"
#include "../base/status.h"

/* -- Convolution ------------------------------------------------------------------------------- */

typedef struct {
    int in_channels, in_h, in_w; /* stored channels; the logical ones if in_block is 1 */
    int in_block;                /* the table's block, or its input_block */
    int out_channels, out_h, out_w;
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
    sqz_nonlinearity nonlinearity; /* forward ends in it */
    bool sums; /* an integer table's: dst is int32, the sums as they are, not requantised */
} sqz_conv_shape;

/* out = (in + 2 pad - kernel) / stride + 1, rounded down. */
static inline int sqz_conv_out_size(int in, int kernel, int stride, int pad) {
    return (in + 2 * pad - kernel) / stride + 1;
}

typedef enum {
    SQZ_CONV_FORWARD,          /* inference */
    SQZ_CONV_BACKWARD_WEIGHTS, /* forward and the weights' gradient: the first layer */
    SQZ_CONV_BACKWARD          /* and the source's gradient too */
} sqz_conv_use;

/* A convolution prepared for a shape; shared by all threads and never written after creation.
 * Weights come in three forms: packed for forward and packed for backward-data, of which the
 * backend alone knows what is in them, and the float array in which gradients accumulate. */
typedef struct {
    sqz_conv_shape shape;
    sqz_conv_use use;
    int slot;              /* its index among the convolutions of its plan */
    size_t forward_bytes;  /* of the weights packed for forward */
    size_t backward_bytes; /* packed for backward-data; 0 if never called */
    size_t gradient_count; /* floats of a weight gradient; 0 if never called */
    char forward_implementation[96];
    char backward_data_implementation[96];    /* "" if never called */
    char backward_weights_implementation[96]; /* "" if never called */
    void *state;                              /* the backend's own */
} sqz_conv;

/* What the numbers of an integer convolution stand for (csrc/README.md): a byte of the source for
 * `in` times itself, of the destination for `out`, and a whole step of an output channel's weights
 * for weights[channel]. mean and std are the pictures', [in_channels], where the convolution reads
 * these, and are folded in; else NULL. */
typedef struct {
    float in, out;
    const float *weights;
    const float *mean, *std;
} sqz_conv_scales;

/* A convolution's sums stay within this, whatever it reads, and so does its bias: together they fit
 * into an int32. */
#define SQZ_INTEGER_MOST_SUM (1 << 30)

/* What one thread needs to run the convolutions of one plan: scratch memory and the like. Not
 * shared: at most one thread uses a worker at a time. */
typedef struct sqz_worker sqz_worker;

/* -- Pooling ----------------------------------------------------------------------------------- */

/* Max pooling, torch.nn.MaxPool2d(kernel, stride, ceil_mode=True), no padding. Windows are cut at
 * the right and bottom edge. */
typedef struct {
    int channels; /* stored */
    int in_h, in_w, out_h, out_w;
    int kernel, stride;
} sqz_pool_shape;

/* ceil((in - kernel) / stride) + 1, less one if the last window would start past the input. */
int sqz_pool_out_size(int in, int kernel, int stride);

/* -- Dropout ----------------------------------------------------------------------------------- */

/* Whether the element at (stored channel c, pixel p) is kept is a function of (seed, step, picture,
 * c, p) alone, the same for every block size. Philox block with key = seed's two halves and counter
 * {(c / 8) * pixels + p, picture, low half of step, SQZ_RNG_DROPOUT + (high half of step << 4)}
 * gives eight 16-bit draws for channels 8 (c / 8) .. + 7 at p: the low half of out[0], its high
 * half, the low half of out[1], ...; an element is kept if its draw is at least
 * (uint32_t)(probability * 65536 + 0.5). */
typedef struct {
    uint64_t seed, step;
    uint32_t picture;   /* its index in the whole batch */
    double probability; /* 0 <= probability < 1 */
} sqz_dropout;

/* -- The table --------------------------------------------------------------------------------- */

typedef struct {
    const char *name; /* "mixed", "onednn", "openmp", "integer" */
    sqz_isa isa;
    int block, input_block;
    sqz_precision precision; /* of activations and packed weights */
    sqz_element element;     /* of activations */

    /* slot: this convolution's index in the array that worker_create will get. */
    sqz_status (*conv_create)(sqz_conv **conv, const sqz_conv_shape *shape, sqz_conv_use use,
                              int slot, sqz_error *error);
    void (*conv_destroy)(sqz_conv *conv);
    /* Makes it worth while to do a convolution of inference in up to `threads` parts; before any
     * worker is created. (Without it parts are as right, but one of them may have to do all.)
     * NULL: there is nothing to make. */
    sqz_status (*conv_share)(sqz_conv *conv, int threads, sqz_error *error);
    /* By slot; a slot may be empty: NULL. */
    sqz_status (*worker_create)(sqz_worker **worker, const sqz_conv *const *convs, int count,
                                sqz_error *error);
    void (*worker_destroy)(sqz_worker *worker);

    /* Overwrite `packed` from weights[out_channels][in_channels][kernel_h][kernel_w], stored
     * channels on both sides. */
    sqz_status (*conv_pack_forward)(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                    const float *weights, sqz_error *error);
    sqz_status (*conv_pack_backward)(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                     const float *weights, sqz_error *error);
    /* Overwrites d_weights[out_channels][in_channels][kernel_h][kernel_w] from an accumulated
     * gradient. */
    sqz_status (*conv_unpack_gradient)(const sqz_conv *conv, sqz_worker *worker, float *d_weights,
                                       const float *gradient, sqz_error *error);

    /* Overwrites dst. packed: from conv_pack_forward; bias[out_channels]. Does one part of it: the
     * parts, each with a worker of its own, write disjoint ranges of dst and together all of it,
     * and its bits do not depend on how many there are. A part may have nothing to do. (The other
     * forward ops but max_pool_forward are divided by channel blocks by whoever calls them.) */
    sqz_status (*conv_forward)(const sqz_conv *conv, sqz_worker *worker, void *dst, const void *src,
                               const void *packed, const float *bias, sqz_part part,
                               sqz_error *error);
    /* d_dst has been through nonlinearity_backward already. Overwrites d_src, or adds to it if
     * `accumulate`. */
    sqz_status (*conv_backward_data)(const sqz_conv *conv, sqz_worker *worker, void *d_src,
                                     const void *d_dst, const void *packed, bool accumulate,
                                     sqz_error *error);
    /* Overwrites gradient[gradient_count], or adds to it if `accumulate`. The bias's gradient is
     * not part of it: nonlinearity_backward gives that. */
    sqz_status (*conv_backward_weights)(const sqz_conv *conv, sqz_worker *worker, float *gradient,
                                        const void *src, const void *d_dst, bool accumulate,
                                        sqz_error *error);

    /* pixels = h * w, blocks = stored channels / block. */

    /* In place, with a ReLU: d_dst = dst > 0 ? d_dst : 0; without one d_dst and dst are left alone,
     * and dst may be NULL. And d_bias[channels] becomes, or is added, the sum of the result over
     * pixels. */
    void (*nonlinearity_backward)(void *d_dst, float *d_bias, const void *dst, int blocks,
                                  int pixels, sqz_nonlinearity nonlinearity, bool accumulate);

    /* dst and argmax (uint8, the winner's row * kernel + column within its window; the first of
     * equals; NULL in inference) are overwritten. kernel <= 15. A window with a NaN gives NaN, and
     * one of its NaNs has won. Does one part of it, as conv_forward does. */
    void (*max_pool_forward)(void *dst, uint8_t *argmax, const void *src,
                             const sqz_pool_shape *shape, sqz_part part);
    /* Overwrites d_src, or adds to it if `accumulate`. */
    void (*max_pool_backward)(void *d_src, const void *d_dst, const uint8_t *argmax,
                              const sqz_pool_shape *shape, bool accumulate);

    /* dst[channels] = mean over pixels; overwritten. */
    void (*average_pool_forward)(float *dst, const void *src, int blocks, int pixels);
    /* d_src, overwritten, = d_dst[channel] / pixels. */
    void (*average_pool_backward)(void *d_src, const float *d_dst, int blocks, int pixels);

    /* dst = src * mask / (1 - probability), mask one byte 0 or 1 an element; both overwritten. */
    void (*dropout_forward)(void *dst, uint8_t *mask, const void *src, int blocks, int pixels,
                            const sqz_dropout *dropout);
    /* d_src, overwritten, = d_dst * mask / (1 - probability). */
    void (*dropout_backward)(void *d_src, const void *d_dst, const uint8_t *mask, int blocks,
                             int pixels, const sqz_dropout *dropout);

    /* dst = a + b, count elements, a multiple of block; dst may be a. */
    void (*sum)(void *dst, const void *a, const void *b, size_t count);

    /* An integer table has these in place of conv_pack_forward and average_pool_forward, and
     * nothing that trains: those are NULL. `packed` holds the bias too, and conv_forward gets none.
     */
    sqz_status (*conv_pack_scaled)(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                   const float *weights, const float *bias,
                                   const sqz_conv_scales *scales, sqz_error *error);
    /* dst[channels] = the exact sum over pixels of int32, rounded to float32, times
     * scales[channel]; overwritten. */
    void (*average_pool_scaled)(float *dst, const void *src, int blocks, int pixels,
                                const float *scales);

    /* dst, any number of elements, becomes src, which may have any alignment of a float: the way of
     * the network's input into a bfloat16 plan. */
    void (*round)(void *dst, const float *src, size_t count);
} sqz_ops;

/* The tables. NULL if this build or this CPU (or ONEDNN_MAX_CPU_ISA) cannot offer one. */
const sqz_ops *sqz_ops_openmp(sqz_isa isa, sqz_precision precision);
const sqz_ops *sqz_ops_onednn(sqz_precision precision); /* for oneDNN's set, capped by SQZ_ISA */
const sqz_ops *sqz_ops_mixed(sqz_precision precision);  /* where onednn is offered */
const sqz_ops *sqz_ops_integer(sqz_isa isa);            /* with VNNI where the CPU has it */

/* Who computes which part of which kind of convolution in a table: entry `index`, counted from 0.
 * False: there are no more. */
bool sqz_ops_choice(sqz_choice *choice, const sqz_ops *ops, int index);

/* Why sqz_ops_onednn gives NULL for float32 ("" if it does not), and the library's version ("" if
 * not built). */
void sqz_onednn_explain(char reason[256], char version[32]);

/* The table in use, by sqz_set_backend, SQZ_BACKEND or the default. bfloat16: the backend's own
 * table, or with `emulate` that of our kernels where it has none; else SQZ_UNSUPPORTED. */
sqz_status sqz_ops_current(const sqz_ops **ops, sqz_precision precision, bool emulate,
                           sqz_error *error);

/* Whether the environment's SQZ_BF16 is "emulate". SQZ_INVALID: it is another word. */
sqz_status sqz_ops_emulates(bool *emulate, sqz_error *error);

#endif
