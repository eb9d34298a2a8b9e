/* sqz.h: the public interface of the squeezenet_c library, the whole of it with sqz_files.h.
 *
 * The library trains and runs SqueezeNet (Iandola et al. 2016, arXiv:1602.07360) on a CPU. It knows
 * nothing of Python. Every function that can fail returns a sqz_status and, if `error` is not NULL,
 * leaves one sentence there; it never prints, exits or aborts. Handles are opaque: what *_create
 * gives, *_destroy takes back (NULL is allowed). Unless a function says otherwise it may be called
 * from several threads at once on different handles.
 *
 * Arrays are C-contiguous float32. n pictures, c channels, h rows, w columns.
 */
#ifndef SQZ_H
#define SQZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "squeezenet_c needs a little-endian machine: the numbers in its files are read as they are"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* All else is compiled with -fvisibility=hidden. Not so in Python's module, where this is too. */
#ifdef SQZ_SHARED
#pragma GCC visibility push(default)
#endif

/* -- Errors ------------------------------------------------------------------------------------ */

typedef enum {
    SQZ_OK = 0,
    SQZ_INVALID,     /* an argument is outside what the function accepts */
    SQZ_NO_MEMORY,   /* an allocation failed */
    SQZ_IO,          /* the system refused a file; error->system_errno says why */
    SQZ_BAD_FILE,    /* a file was read and its contents are not what they should be */
    SQZ_UNSUPPORTED, /* this build or this CPU cannot do it */
    SQZ_BUSY,        /* the handle is in use by another thread */
    SQZ_INTERRUPTED, /* the function given to sqz_set_interrupt ended a wait */
    SQZ_INTERNAL     /* a primitive library failed; never the caller's fault */
} sqz_status;

typedef struct {
    int system_errno; /* for SQZ_IO, else 0 */
    char message[1024];
} sqz_error;

/* A call that waits for other threads asks this function about 20 times a second, from the thread
 * that waits; true ends the call with SQZ_INTERRUPTED. NULL, as at first: waits are not ended. */
void sqz_set_interrupt(bool (*interrupted)(void));

/* -- Threads, backends, build ------------------------------------------------------------------ */

/* Threads that one call may use. The default is what the process may use when it is first asked
 * for: OMP_NUM_THREADS if that is set, else the CPUs of its affinity mask, but no more than its
 * control groups' CPU quota, rounded up. 1 without OpenMP. Results do not depend on it.
 * `threads` is 1 to SQZ_MAX_THREADS, and the default is no more either. A call that needs more than
 * the system starts (its limits on memory and processes) fails with SQZ_NO_MEMORY. */
enum { SQZ_MAX_THREADS = 1024 };
sqz_status sqz_set_num_threads(int threads, sqz_error *error);
int sqz_get_num_threads(void);

/* Where the file of oneDNN's library is, for a build with oneDNN; else the system's loader looks
 * for libdnnl.so.3. To be called before all else, for the library is loaded when a backend is first
 * asked for; where there is none, oneDNN is not offered. SQZ_INVALID afterwards. */
sqz_status sqz_set_onednn_library(const char *path, sqz_error *error);

/* The backend that plans made from now on will use: "mixed" (the faster of the others for each part
 * of each kind of convolution, by a table that was measured), "onednn" or "openmp". The default is
 * the environment's SQZ_BACKEND, else mixed where it is offered (where onednn is), else openmp. */
sqz_status sqz_set_backend(const char *name, sqz_error *error);
sqz_status sqz_get_backend(const char **name, sqz_error *error);

typedef struct {
    const char *backend; /* the one in use */
    const char *isa;     /* of its kernels: "avx512", "avx2" or "baseline" */
    const char *cpu_isa; /* the best this CPU and SQZ_ISA allow */
    int block;           /* channels a block in its layout */
    bool onednn_built, onednn_offered, openmp_built;
    char onednn_version[32]; /* "" where there is none */
    char onednn_reason[256]; /* why onednn is not offered, "" when it is */
    bool bfloat16_offered;   /* by the backend in use, without emulation */
    char bfloat16_reason[256];
    bool vnni; /* whether int8's kernels use the instruction that sums four products of bytes */
} sqz_build_info;
sqz_status sqz_get_build_info(sqz_build_info *info, sqz_error *error);

/* Which backend computes a part ("forward", "backward_data", "backward_weights") of a kind of
 * convolution ("3x3 stride 1", ...) with the backend in use. choices may be NULL to ask for the
 * count. */
typedef struct {
    const char *layer, *part, *backend;
} sqz_choice;
sqz_status sqz_get_choices(sqz_choice *choices, size_t capacity, size_t *count, sqz_error *error);

/* What activations, their gradients and the weights that meet them are stored and multiplied in.
 * Parameters, gradients of parameters, sums, logits, losses and Adam are float32 in the first two.
 * bfloat16 is offered by onednn on a CPU with AVX-512. int8, 8-bit integers, is offered everywhere,
 * for inference of a quantised model, and reads pictures as bytes. */
typedef enum { SQZ_FLOAT32 = 0, SQZ_BFLOAT16 = 1, SQZ_INT8 = 2 } sqz_precision;

/* -- Files ------------------------------------------------------------------------------------- */

/* A regular file, open for reading. */
typedef struct {
    const char *path; /* as given, for errors; the caller's */
    int descriptor;   /* -1: closed */
    int64_t size_bytes;
} sqz_file;

/* Opens a file without ever waiting for it. SQZ_IO: it cannot be opened, or is a folder;
 * SQZ_BAD_FILE: a pipe, a socket or a device, or more than limit_bytes (below 0: no limit). Closed
 * after an error. */
sqz_status sqz_file_open(sqz_file *file, const char *path, int64_t limit_bytes, sqz_error *error);
/* Exactly size_bytes from `offset` on. SQZ_BAD_FILE: it has become shorter. */
sqz_status sqz_file_read(const sqz_file *file, void *bytes, size_t size_bytes, int64_t offset,
                         sqz_error *error);
void sqz_file_close(sqz_file *file);

/* Writes a whole file, atomically: a temporary file in the same folder, fsync, rename. An existing
 * file's permissions are kept, symbolic links followed. After an error, which is SQZ_IO or
 * SQZ_NO_MEMORY, what was at `path` is untouched. */
sqz_status sqz_file_write(const char *path, const void *bytes, size_t size_bytes, sqz_error *error);

/* -- Pictures ---------------------------------------------------------------------------------- */

/* An RGB picture, [h][w][3] uint8. The library allocates pixels; sqz_image_free releases them. */
typedef struct {
    int h, w;
    uint8_t *pixels;
} sqz_image;

/* The pixels that a picture may have, in every thread from now on; a larger one is SQZ_BAD_FILE
 * before anything is allocated for it. Decoding takes 4 to 20 bytes a pixel for a while. The
 * default is the number past which Pillow warns (of a quarter of a gigabyte of RGB); Pillow's error
 * begins past twice it. 1 <= pixels <= SQZ_IMAGE_MOST_PIXELS. */
#define SQZ_IMAGE_DEFAULT_MAX_PIXELS ((int64_t)89478485)
#define SQZ_IMAGE_MOST_PIXELS ((int64_t)250000000) /* of 8 bytes, fewer than an int counts */
sqz_status sqz_image_set_max_pixels(int64_t pixels, sqz_error *error);
int64_t sqz_image_get_max_pixels(void);

/* Decode JPEG, PNG or BMP bytes to RGB. Greyscale is repeated in the three channels, alpha is
 * dropped, 16-bit samples keep their high byte, CMYK is converted, and a JPEG's EXIF orientation is
 * applied. `name` is what errors call the picture. SQZ_BAD_FILE: empty, not a picture, cut short,
 * damaged, too large. Time and memory are bounded by a multiple of bytes and pixels. image->pixels
 * is NULL after an error. */
sqz_status sqz_image_decode(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                            const char *name, sqz_error *error);
/* Of a regular file (see sqz_file_open), whose first bytes are looked at before the rest is read.
 */
sqz_status sqz_image_read(sqz_image *image, const char *path, sqz_error *error);
void sqz_image_free(sqz_image *image);

/* What decodes TIFF and WebP, which the library does not, from now on: a function with the
 * arguments and duties of sqz_image_decode, called from any thread, with no lock of the library
 * held; its pixels are of malloc. NULL, the default: they are refused. */
typedef sqz_status (*sqz_image_decoder)(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                                        const char *name, sqz_error *error);
void sqz_image_set_decoder(sqz_image_decoder decoder);

enum { SQZ_IMAGE_MAX_SIDE = 1 << 29 }; /* three channels of it are an int */
/* Resize [in_h][in_w][3] to [out_h][out_w][3], bicubic (a = -0.5), equal in every byte to Pillow's
 * Image.resize from version 13 on (before it, where the height loses more than twice as many
 * samples as the width, Pillow took the rows first: single levels differ). Sides are 1 to
 * SQZ_IMAGE_MAX_SIDE; out and in do not overlap. */
sqz_status sqz_image_resize(uint8_t *out, int out_h, int out_w, const uint8_t *in, int in_h,
                            int in_w, sqz_error *error);

/* How a picture becomes a square of `size`:
 * PAD, the tutorial's: the longer side scaled to `size` in doubles (scale = size / longer;
 *      max(1, (int)(side * scale))), pasted on black at ((size - w) / 2, (size - h) / 2).
 * CROP, ImageNet's: the shorter side scaled to size * 256 / 224 (256 for 224), the longer to
 *      (int)(that * longer / shorter), and of this the middle `size` x `size`: torchvision's Resize
 *      and CenterCrop (https://pytorch.org/vision/stable/models.html), with this resize. */
typedef enum { SQZ_FIT_PAD = 0, SQZ_FIT_CROP = 1 } sqz_fit;
/* out: [size][size][3]. A picture of that size already is copied as it stands, whatever the fit. */
sqz_status sqz_image_fit(uint8_t *out, int size, sqz_fit fit, const uint8_t *in, int in_h, int in_w,
                         sqz_error *error);

/* The flips of picture `index` in `epoch`: bit 0 left-right, bit 1 upside down, each with
 * probability 1/2, a function of its arguments alone. */
enum { SQZ_FLIP_HORIZONTAL = 1, SQZ_FLIP_VERTICAL = 2 };
unsigned sqz_augment_flips(uint64_t seed, uint64_t epoch, uint64_t index);

/* How far training pictures are changed at random. What is 0 is not done. */
typedef struct {
    double rotation;           /* by -rotation to rotation degrees; at most 180 */
    double scale, translation; /* 1 - scale to 1 + scale times its size; in each direction by up to
                                  this share of the side; both at most 0.5 */
    double brightness, contrast, saturation; /* times 1 - it to 1 + it; at most 1 */
    double hue;     /* by up to this share of a full turn of the colours, either way; at most 0.5 */
    double erasing; /* probability that a rectangle is erased */
    bool horizontal_flip, vertical_flip; /* of half the pictures */
    bool quarter_turns;                  /* 0 to 3 of them */
} sqz_augmentation;
/* What becomes of one picture, in numbers that image/augment.h explains. */
enum { SQZ_CHANGE_NUMBERS = 25, SQZ_CHANGE_MAX_SIDE = 8192 };
typedef struct {
    int32_t numbers[SQZ_CHANGE_NUMBERS];
} sqz_change;
/* The change of picture `index`, below 2^58, in `epoch`: a function of the arguments. SQZ_INVALID
 * names what is out of its range, as a side above SQZ_CHANGE_MAX_SIDE. */
sqz_status sqz_change_draw(sqz_change *change, const sqz_augmentation *augmentation, int h, int w,
                           uint64_t seed, uint64_t epoch, uint64_t index, sqz_error *error);
/* out[h][w][3] = what becomes of in[h][w][3], whatever the numbers. They do not overlap. */
void sqz_image_change(uint8_t *out, const uint8_t *in, int h, int w, const sqz_change *change);

/* out[3][h][w] = (in[h][w][3] / 255 - mean) / std, flipped as `flips` says. */
void sqz_image_normalise(float *out, const uint8_t *in, int h, int w, unsigned flips,
                         const float mean[3], const float std[3]);

/* order[0..count) becomes the permutation of 0..count-1 that belongs to (seed, epoch).
 * count < 2^32. */
void sqz_shuffle(int64_t *order, size_t count, uint64_t seed, uint64_t epoch);

/* -- Data sets --------------------------------------------------------------------------------- */

/* Files (UTF-8 paths, copied) that become [image_size][image_size][3] pictures by sqz_image_fit.
 * Pictures stay in memory once decoded while they fit into cache_bytes in all, and are decoded
 * again past it. All functions may be called from several threads on one data set. */
typedef struct sqz_dataset sqz_dataset;
sqz_status sqz_dataset_create(sqz_dataset **dataset, const char *const *paths, size_t count,
                              int image_size, sqz_fit fit, size_t cache_bytes, sqz_error *error);
/* The same of pictures in memory. Their pixels, [h][w][3], are not copied: they stay the caller's,
 * unchanged, and outlive the data set. One that is image_size square already is not kept a second
 * time. */
sqz_status sqz_dataset_create_in_memory(sqz_dataset **dataset, const sqz_image *images,
                                        size_t count, int image_size, sqz_fit fit,
                                        size_t cache_bytes, sqz_error *error);
/* The two keep pictures within the bound of `other` together, whichever lives longer. `fresh` was
 * just created, and no other thread knows it. */
void sqz_dataset_share_cache(sqz_dataset *fresh, sqz_dataset *other);
void sqz_dataset_destroy(sqz_dataset *dataset);
size_t sqz_dataset_count(const sqz_dataset *dataset);
size_t sqz_dataset_cached_bytes(const sqz_dataset *dataset);
/* picture: [image_size][image_size][3], written. Errors name the file. */
sqz_status sqz_dataset_picture(sqz_dataset *dataset, size_t index, uint8_t *picture,
                               sqz_error *error);

/* Reads a data set in a given order, decoding up to `ahead` pictures before they are asked for on
 * `threads` threads of its own (both >= 1). The data set must outlive it. One thread may call next.
 * A loader does not survive a fork. */
typedef struct sqz_loader sqz_loader;
sqz_status sqz_loader_create(sqz_loader **loader, sqz_dataset *dataset, const int64_t *order,
                             size_t count, size_t ahead, int threads, sqz_error *error);
void sqz_loader_destroy(sqz_loader *loader);
/* The next n pictures of the order, [n][image_size][image_size][3]; waits for them. The first
 * picture that failed is reported when its turn comes; the loader can then only be destroyed,
 * as after SQZ_INTERRUPTED. SQZ_INVALID: fewer than n are left. */
sqz_status sqz_loader_next(sqz_loader *loader, uint8_t *pictures, size_t n, sqz_error *error);

/* -- Networks ---------------------------------------------------------------------------------- */

typedef enum { SQZ_VERSION_1_0 = 10, SQZ_VERSION_1_1 = 11 } sqz_version;
typedef enum { SQZ_BYPASS_NONE = 0, SQZ_BYPASS_SIMPLE = 1, SQZ_BYPASS_COMPLEX = 2 } sqz_bypass;

/* What a network is. Fire module i (0 for fire 2) expands to e = base_e + incr_e * (i / freq)
 * channels: round(pct_3x3 * e) of them 3x3, the others 1x1; it squeezes to round(squeeze_ratio * e)
 * (the paper's section 5.1). Counts are rounded half up and are at least 1. */
typedef struct {
    sqz_version version;
    int num_classes;
    sqz_bypass bypass;
    double squeeze_ratio, pct_3x3;
    int base_e, incr_e, freq;
    bool final_relu; /* ReLU after the last convolution, as in the tutorial and in torchvision */
    double dropout;  /* probability, before the last convolution; 0 <= dropout < 1 */
} sqz_spec;
/* The defaults of sqz_spec_fields, but for version and classes. */
void sqz_spec_default(sqz_spec *spec, sqz_version version, int num_classes);
/* SQZ_INVALID names the first field that is out of its range. */
sqz_status sqz_spec_check(const sqz_spec *spec, sqz_error *error);

/* The members of a spec as a table: whatever sets, shows or checks one goes by it. Every value is a
 * double here, which holds each kind's exactly: a word's is its enum constant, a flag's 0 or 1. */
typedef enum { SQZ_FIELD_WORD, SQZ_FIELD_WHOLE, SQZ_FIELD_FLAG, SQZ_FIELD_NUMBER } sqz_field_kind;
typedef struct {
    const char *name; /* NULL stands for "none" */
    int value;
} sqz_field_word;
typedef struct {
    const char *name; /* the member's */
    sqz_field_kind kind;
    size_t offset; /* of the member */
    double initial;
    double smallest, largest;    /* WHOLE, NUMBER */
    bool above, below;           /* NUMBER: smallest, or largest, is itself outside the range */
    const sqz_field_word *words; /* WORD: of its values */
    size_t word_count;
} sqz_spec_field;
const sqz_spec_field *sqz_spec_fields(size_t *count);
double sqz_spec_get(const sqz_spec *spec, const sqz_spec_field *field);
/* A value of the field's kind; its range is for sqz_spec_check. */
void sqz_spec_set(sqz_spec *spec, const sqz_spec_field *field, double value);
/* What a WHOLE or NUMBER may be, for messages: "a whole number from 1 to 65536". */
void sqz_spec_field_range(char text[80], const sqz_spec_field *field);

/* A parameter tensor within the flat array: torchvision's name and shape (OIHW, or O). */
typedef struct {
    char name[64];
    int rank;
    int shape[4];
    size_t offset, count; /* floats */
} sqz_parameter;
/* The parameters of a spec's network, without making it: small whatever their sizes. rows may be
 * NULL to ask for the count. SQZ_INVALID: see sqz_spec_check. */
sqz_status sqz_spec_parameters(const sqz_spec *spec, sqz_parameter *rows, size_t capacity,
                               size_t *count, sqz_error *error);

typedef struct sqz_model sqz_model;
/* A model with fresh weights: kaiming-uniform (a = 0, fan in) for convolutions, normal(0, 0.01) for
 * the last one, biases 0; a function of (spec, seed). */
sqz_status sqz_model_create(sqz_model **model, const sqz_spec *spec, uint64_t seed,
                            sqz_error *error);
void sqz_model_destroy(sqz_model *model);
const sqz_spec *sqz_model_spec(const sqz_model *model);
size_t sqz_model_tensor_count(const sqz_model *model);
const sqz_parameter *sqz_model_tensor(const sqz_model *model, size_t index);
size_t sqz_model_parameter_count(const sqz_model *model); /* floats */
/* The precision of passes that begin from now on; a new model's is SQZ_FLOAT32. SQZ_UNSUPPORTED:
 * the backend in use does not offer it (nothing changes then, and the message says why), unless the
 * environment's SQZ_BF16 is "emulate": then our own kernels do it on any CPU, no faster than
 * float32. If a backend chosen later does not offer it, the passes fail with SQZ_UNSUPPORTED. */
sqz_status sqz_model_set_precision(sqz_model *model, sqz_precision precision, sqz_error *error);
sqz_precision sqz_model_precision(sqz_model *model);
/* SQZ_UNSUPPORTED: the backend in use does not offer the model's precision, as a pass would find.
 */
sqz_status sqz_model_check_precision(sqz_model *model, sqz_error *error);
/* The flat arrays, owned by the model. Parameters are read between sqz_model_begin_read and
 * sqz_model_end_read, and written between sqz_model_begin_write and sqz_model_end_write. Readers
 * wait while a call writes or computes gradients, and a writer until nobody reads or predicts: a
 * thread that is in must not wait for itself. SQZ_BUSY: two write, or compute gradients, at once,
 * for which there is no right order; or this thread is writing. SQZ_INTERRUPTED. In a fork's
 * child nobody is in; parameters that a thread was just writing are as far as it had come. */
float *sqz_model_parameters(sqz_model *model);
float *sqz_model_gradients(sqz_model *model);
sqz_status sqz_model_begin_read(sqz_model *model, sqz_error *error);
void sqz_model_end_read(sqz_model *model);
sqz_status sqz_model_begin_write(sqz_model *model, sqz_error *error);
void sqz_model_end_write(sqz_model *model);

/* logits[n][num_classes] of x[n][3][h][w], without dropout. A picture goes to one thread; where
 * fewer are left than threads, several threads share one, which changes no bit. May be called from
 * several threads at once; waits while the same model computes gradients. SQZ_INVALID: x has NaN
 * or infinity, h or w too small for the network. */
sqz_status sqz_model_forward(sqz_model *model, float *logits, const float *x, int n, int h, int w,
                             sqz_error *error);
/* The same of pictures[n][h][w][3], bytes of RGB, with which a model of precision SQZ_INT8 begins
 * (and no other does: SQZ_INVALID, as it is for sqz_model_forward with such a model). The same bits
 * on every machine. */
sqz_status sqz_model_forward_pictures(sqz_model *model, float *logits, const uint8_t *pictures,
                                      int n, int h, int w, sqz_error *error);
sqz_status sqz_model_maps_pictures(sqz_model *model, float *maps, const uint8_t *pictures, int n,
                                   int h, int w, sqz_error *error);
/* The same pass, for what its average pool reads: maps[n][num_classes][map h][map w], the last
 * convolution's output (after its ReLU if final_relu), whose mean over a map is the logit. They are
 * float32, in a bfloat16 model the widened values, and the same bits on any number of threads. Map
 * h and w are those of the last layer's input in sqz_model_layers. */
sqz_status sqz_model_maps(sqz_model *model, float *maps, const float *x, int n, int h, int w,
                          sqz_error *error);
/* The same pass, for what a picture is known by before it is classified: features[n][channels], the
 * mean over pixels of what the last convolution reads (Fire 9's output; its channels are shape[1]
 * of the last weight tensor, 512 by default). float32; of a model in int8, steps times their scale.
 * The same bits on any number of threads. */
sqz_status sqz_model_features(sqz_model *model, float *features, const float *x, int n, int h,
                              int w, sqz_error *error);
sqz_status sqz_model_features_pictures(sqz_model *model, float *features, const uint8_t *pictures,
                                       int n, int h, int w, sqz_error *error);

/* A batch's gradients are summed in this many lanes: picture i of the global batch is of lane
 * i mod SQZ_LANES, a lane adds its pictures in order, and lanes are added as a binary tree,
 * ((0 + 1) + (2 + 3)) + ... A constant, so that the sum does not depend on the number of threads. A
 * power of two. */
enum { SQZ_LANES = 16 };

/* One pass forward and back. gradients (overwritten) = d mean loss / d parameters where the mean is
 * over `global_batch` pictures of which these n are those at `indices`; `loss` is these pictures'
 * part of that mean, losses[n] are the pictures' own, of which it is the sum divided, and
 * logits[n][num_classes] (may be NULL) theirs, all of the dropped-out network. Dropout is a
 * function of (seed, step, index in the global batch). The result is the same, bit for bit, for
 * every number of threads. And it is a subtree of the sum above: processes that share a batch by
 * lanes, each with the pictures of a subtree, and go on adding by the tree have the bits of one
 * process. (A process with no picture adds nothing, not zero.) After an error the gradients are
 * undefined and the parameters untouched.
 *
 * Probabilities in place of labels, label smoothing and class weights are those of
 * torch.nn.functional.cross_entropy (net/loss.h has the formula); with class weights and labels the
 * mean divides by the sum of the labels' weights. */
typedef struct {
    const float *x;          /* [n][3][h][w] */
    const uint8_t *pictures; /* in place of x: [n][h][w][3], changed by changes[n] (NULL: none) and
                                normalised, std above 0, each in the thread that works on it */
    const sqz_change *changes;
    float mean[3], std[3];
    const int64_t *labels;       /* [n], each 0..num_classes-1 */
    const double *probabilities; /* [n][num_classes], in place of labels: each at least 0, and of a
                                    picture 1 in all, within 1e-4. NULL: there are labels */
    int n, h, w;
    int global_batch;
    const int64_t *indices; /* [n], ascending: the pictures' places in the global batch. NULL: 0, 1,
                               ..., n - 1 */
    double dropout;         /* probability, usually the spec's */
    uint64_t seed, step;
    double temperature; /* above 0, usually 1: the loss is of the logits divided by it, times its
                           square */
    double label_smoothing;      /* 0..1 */
    const double *class_weights; /* [num_classes], each above 0; NULL: all 1 */
    double total_weight;         /* of the global batch's labels. 0: it is summed here, which needs
                                    the whole of it. Used with class_weights and labels only */
    const bool *frozen;          /* [tensor count], as sqz_model_tensor numbers them: what needs no
                                    gradient, whose gradient becomes 0. The way back ends where
                                    nothing before it learns. NULL: all learn */
} sqz_batch;
sqz_status sqz_model_compute_gradients(sqz_model *model, double *loss, double *losses,
                                       float *logits, const sqz_batch *batch, sqz_error *error);

/* -- Quantised models --------------------------------------------------------------------------

 * A model whose weights are whole steps, -127 to 127, of a scale of their output channel, and whose
 * activations are bytes, each standing for so many times the activation's scale. csrc/README.md has
 * the arithmetic, to the bit. Its parameters are float32 still, the steps times their scales, so
 * that the other precisions run it too. */
typedef struct {
    float mean[3], std[3];    /* of the pictures: folded into the first convolution */
    float *activation_scales; /* by the numbers of sqz_layer; those of pictures, maps and logits are
                                 1 and mean nothing */
    size_t activation_count;
    float *weight_scales; /* of all convolutions' output channels, in the order of the tensors */
    size_t weight_scale_count;
} sqz_quantization;

/* Activations that share a scale have the same group: the two sides of a max-pool and of dropout,
 * the three of a sum. -1: has none (pictures, maps, logits). groups may be NULL to ask for the
 * count. */
sqz_status sqz_model_activation_groups(const sqz_model *model, int *groups, size_t capacity,
                                       size_t *count, sqz_error *error);
/* Rounds the parameters to whole steps of the scales and keeps a copy of these. Whatever writes
 * parameters later drops it. SQZ_INVALID, and nothing changed: a count or a scale that does not
 * fit, a model whose sums could overflow, or one with complex bypass, whose bypass has values below
 * 0. */
sqz_status sqz_model_quantize(sqz_model *model, const sqz_quantization *quantization,
                              sqz_error *error);
/* NULL: it has none. The model's, read as parameters are: between sqz_model_begin_read and
 * sqz_model_end_read. */
const sqz_quantization *sqz_model_quantization(const sqz_model *model);

/* What an activation's scale is chosen by: pictures x as for sqz_model_forward, in float32 whatever
 * the model's precision. maxima[activation count] is raised to the largest value of each
 * activation. counts[activation count][bins] (may be NULL) grows by how many of its values above 0
 * are in each bin, limits[activation] / bins wide; the last one has all beyond. Not of pictures,
 * whose row stays as it is. */
sqz_status sqz_model_observe(sqz_model *model, float *maxima, uint64_t *counts, const float *limits,
                             int bins, const float *x, int n, int h, int w, sqz_error *error);

/* -- What a model is made of, for tables ------------------------------------------------------- */

/* A layer reads activations and writes one, or the channels of one from first_channel on: a Fire
 * module's expand1x1 and expand3x3 write two parts of one activation, which is their concatenation.
 * Activations are numbered; 0 is the picture. */
typedef struct {
    char name[64]; /* "features.3.squeeze", "features.2" */
    char kind[16]; /* "conv", "max_pool", "dropout", "sum", "average_pool" */
    int input, output;
    int addend;        /* sum: the second input; else -1 */
    int first_channel; /* of the output, that it writes */
    int in_c, in_h, in_w, out_c, out_h, out_w;
    int kernel, stride, padding; /* conv, max_pool: on both sides alike; else 0 */
    bool relu;
    size_t parameter_count; /* conv: of name.weight and name.bias; else 0 */
} sqz_layer;
/* The layers for an h x w input, in an order that they can run in. rows may be NULL to ask for the
 * count. */
sqz_status sqz_model_layers(const sqz_model *model, int h, int w, sqz_layer *rows, size_t capacity,
                            size_t *count, sqz_error *error);

typedef struct {
    char layer[64];          /* the layer's name */
    char op[32];             /* "forward", "backward_data", "backward_weights", ... */
    char implementation[96]; /* as the backend names it */
    char layout[64];         /* "3x224x224 -> 6x109x109x16": planar, or channel blocks last;
                                "bfloat16 " stands before what is not float32 */
    double milliseconds;     /* median of one picture on one thread */
} sqz_plan_row;
/* Every op of the plan, timed over `repeats` passes (0: not timed). */
sqz_status sqz_model_plan(sqz_model *model, int h, int w, bool training, int repeats,
                          sqz_plan_row *rows, size_t capacity, size_t *count, sqz_error *error);

/* -- Optimizers -------------------------------------------------------------------------------- */

/* A stretch of the flat parameters, with its own share of the learning rate and its own decay. */
typedef struct {
    size_t count;        /* floats, at least 1 */
    double lr_scale;     /* its learning rate is lr * lr_scale, >= 0. 0 freezes it: no step touches
                            its parameters or its moments */
    double weight_decay; /* >= 0, see sqz_rule */
} sqz_optimizer_span;

/* SQZ_ADAM   Kingma & Ba 2015, algorithm 1, in the order of operations of torch.optim.Adam, and
 *            with weight decay in that of torch.optim.AdamW: decoupled from the gradient
 * (Loshchilov & Hutter 2019, algorithm 2; arXiv:1711.05101), a step first multiplies its parameters
 *            by 1 - lr * lr_scale * weight_decay
 * SQZ_SGD    with momentum, in the order of operations of torch.optim.SGD. Weight decay is part of
 *            the gradient, to which weight_decay times the parameter is added */
typedef enum { SQZ_ADAM, SQZ_SGD, SQZ_RULES } sqz_rule;

/* Of a rule, what it needs; the rest is not read. */
typedef struct {
    sqz_rule rule;
    double lr;
    double beta1, beta2, eps; /* SQZ_ADAM: each beta in [0, 1) */
    double momentum;          /* SQZ_SGD: in [0, 1) */
    bool nesterov;            /* SQZ_SGD: Nesterov's, which needs momentum */
} sqz_rule_options;

/* PyTorch's: lr 0.001, betas 0.9 and 0.999, eps 1e-8, no momentum. */
sqz_rule_options sqz_rule_defaults(sqz_rule rule);

enum { SQZ_MOST_MOMENTS = 2 };
/* What a rule keeps of former gradients, a float a parameter: the name of its first, second and so
 * on; NULL: it has fewer. */
const char *sqz_moment_name(sqz_rule rule, int moment);

/* A new one has one span, of lr_scale 1 without decay. */
typedef struct {
    sqz_rule_options options;
    uint64_t step;                    /* updates done */
    size_t count;                     /* floats */
    float *moments[SQZ_MOST_MOMENTS]; /* owned; those that have a name */
    sqz_optimizer_span *spans;        /* owned; one after the other they are the parameters */
    size_t span_count;
    uint8_t *mask; /* [count], owned: 0 where a parameter stays as it is; NULL: all are updated */
    double clip_norm; /* 0, as of a new one: gradients are taken as they are */
    float *average;   /* [count], owned: of the parameters; NULL, as of a new one: none is kept */
    double decay;     /* of the average */
} sqz_optimizer;
sqz_status sqz_optimizer_create(sqz_optimizer **optimizer, size_t count,
                                const sqz_rule_options *options, sqz_error *error);
void sqz_optimizer_destroy(sqz_optimizer *optimizer);
/* Replaces the spans by a copy of these. SQZ_INVALID, and nothing changed: their counts do not add
 * up to the optimizer's, or a value is out of its range. */
sqz_status sqz_optimizer_set_spans(sqz_optimizer *optimizer, const sqz_optimizer_span *spans,
                                   size_t span_count, sqz_error *error);
/* Replaces the mask by a copy of this one, [count], or by none. Where it is 0 no step touches the
 * parameter or its moments, whatever its gradient and its decay: a pruned weight stays 0. */
sqz_status sqz_optimizer_set_mask(sqz_optimizer *optimizer, const uint8_t *mask, sqz_error *error);
/* From now on gradients whose Euclidean norm is above `norm` are first scaled to it: those of all
 * spans that are not frozen and where the mask is not 0, by norm / (theirs + 1e-6), as
 * torch.nn.utils.clip_grad_norm_ does. SQZ_INVALID: not a number above 0. */
sqz_status sqz_optimizer_set_clip_norm(sqz_optimizer *optimizer, double norm, sqz_error *error);
/* From now on an exponential moving average of the parameters is kept, which begins with
 * parameters[count]: after step t, counted from 1, it moves to the new parameters by 1 - d of the
 * way, d being the smaller of `decay` and (1 + t) / (10 + t) (tf.train.ExponentialMovingAverage).
 * SQZ_INVALID: decay is not in [0, 1). */
sqz_status sqz_optimizer_keep_average(sqz_optimizer *optimizer, const float *parameters,
                                      double decay, sqz_error *error);
/* parameters[count] -= the update for gradients[count], which are scaled where they are clipped;
 * step grows by one. */
sqz_status sqz_optimizer_step(sqz_optimizer *optimizer, float *parameters, float *gradients,
                              sqz_error *error);

/* -- Shared values ----------------------------------------------------------------------------- */

/* A layer whose weights are few values: weights[row][column] = units[row] * values[code], code
 * being codes[row][column] (Han et al. 2016, arXiv:1510.00149, section 3). */
typedef struct {
    size_t rows, columns;
    const float *units;   /* [rows] */
    const uint8_t *codes; /* [rows][columns], each below value_count */
    size_t value_count;   /* 1 to 256 */
} sqz_codebook;
/* weights[rows][columns], written. SQZ_INVALID: a code is none of the values. */
sqz_status sqz_codebook_weights(float *weights, const sqz_codebook *codebook, const float *values,
                                sqz_error *error);
/* sums[value_count] = of each value the loss's gradient, which is the sum over its weights of their
 * unit times their gradient; in double, in the order of the weights, then rounded. SQZ_INVALID: as
 * above. */
sqz_status sqz_codebook_gradients(float *sums, const sqz_codebook *codebook, const float *gradients,
                                  sqz_error *error);

#include "sqz_files.h"

#ifdef SQZ_SHARED
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
