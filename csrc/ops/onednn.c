/* onednn.c: the "onednn" backend, but that it divides no convolution (onednn_slices.c does):
 * convolutions as oneDNN primitives, all other ops the project's own kernels for the same
 * instruction set (pooling and the like move memory: there is nothing for a primitive to win, see
 * csrc/README.md). Only the files named onednn* include oneDNN's header, by onednn_library.h.
 *
 * A primitive is created once for a shape and shared by all threads: scratch memory is the caller's
 * (scratchpad_mode_user) and primitives are created while oneDNN's OpenMP is told to use one
 * thread, because oneDNN plans its work for the number of threads it sees at creation. Memory
 * objects carry the pointers of a call, so each worker has its own.
 *
 * The table for bfloat16, which is there with AVX-512 only, differs in the data type of source,
 * destination and packed weights; bias and the weights' gradient are float32 in both. */
#include "../base/memory.h"
#include "../base/parallel.h"
#include "onednn.h"
#include "onednn_isa.h"
#include "onednn_library.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONEDNN_TRY(error, call)                                                                    \
    do {                                                                                           \
        dnnl_status_t onednn_status = (call);                                                      \
        if (onednn_status != dnnl_success)                                                         \
            return fail(error, &#call[sizeof "sqz_dnnl"], onednn_status); /* after the dot */      \
    } while (0)

/* The arrays of a convolution, by what they hold. */
enum { SRC, DST, BIAS, PLAIN_WEIGHTS, FORWARD_WEIGHTS, BACKWARD_WEIGHTS, GRADIENT, ROLES };

/* What can be executed. */
enum { FORWARD, BACKWARD_DATA, BACKWARD_GRADIENT, PACK_FORWARD, PACK_BACKWARD, UNPACK, PRIMITIVES };

typedef struct {
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t scratch; /* NULL: needs none */
} onednn_primitive;

typedef struct {
    const sqz_ops *ops;               /* whose convolution it is */
    dnnl_memory_desc_t arrays[ROLES]; /* NULL: not used */
    onednn_primitive primitives[PRIMITIVES];
} onednn_conv;

/* One convolution's memory objects in one worker. */
typedef struct {
    dnnl_memory_t arrays[ROLES];
    dnnl_memory_t scratch[PRIMITIVES];
} onednn_call;

struct sqz_worker {
    dnnl_stream_t stream;
    onednn_call *calls; /* by slot */
    int count;
    void *scratch;
    float *addend; /* a result on its way to being added, of either type: oneDNN overwrites */
};

static dnnl_engine_t engine;
static sqz_ops tables[2]; /* by precision */
static char unavailable_reason[256], loaded_version[32];
static bool available;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static sqz_status fail(sqz_error *error, const char *call, dnnl_status_t status) {
    return sqz_fail(error, status == dnnl_out_of_memory ? SQZ_NO_MEMORY : SQZ_INTERNAL,
                    "oneDNN refused %.*s with status %d", (int)strcspn(call, "("), call,
                    (int)status);
}

/* -- Creating ---------------------------------------------------------------------------------- */

static void conv_destroy(sqz_conv *conv) {
    if (!conv)
        return;
    onednn_conv *state = conv->state;
    if (state) {
        for (int i = 0; i < PRIMITIVES; i++) {
            if (state->primitives[i].primitive)
                sqz_dnnl.primitive_destroy(state->primitives[i].primitive);
            if (state->primitives[i].scratch)
                sqz_dnnl.memory_desc_destroy(state->primitives[i].scratch);
        }
        for (int i = 0; i < ROLES; i++)
            if (state->arrays[i])
                sqz_dnnl.memory_desc_destroy(state->arrays[i]);
    }
    free(state);
    free(conv);
}

/* Takes over pd: makes the primitive, keeps the description of its scratch memory, and destroys pd
 * whatever happens. The implementation's name goes to `implementation` unless that is NULL. */
static sqz_status primitive_create(onednn_primitive *primitive, char implementation[96],
                                   dnnl_primitive_desc_t pd, sqz_error *error) {
    const char *name = "";
    sqz_dnnl.primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    if (implementation)
        snprintf(implementation, 96, "%s", name);
    dnnl_status_t status = sqz_dnnl.primitive_create(&primitive->primitive, pd);
    const_dnnl_memory_desc_t scratch =
        sqz_dnnl.primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (status == dnnl_success && scratch && sqz_dnnl.memory_desc_get_size(scratch) > 0)
        status = sqz_dnnl.memory_desc_clone(&primitive->scratch, scratch);
    sqz_dnnl.primitive_desc_destroy(pd);
    return status == dnnl_success ? SQZ_OK : fail(error, "primitive_create", status);
}

/* Keeps a copy of what a primitive descriptor chose for one of its arrays. */
static sqz_status keep_desc(dnnl_memory_desc_t *desc, const_dnnl_primitive_desc_t pd,
                            dnnl_query_t what, sqz_error *error) {
    ONEDNN_TRY(error,
               sqz_dnnl.memory_desc_clone(desc, sqz_dnnl.primitive_desc_query_md(pd, what, 0)));
    return SQZ_OK;
}

static sqz_status reorder_create(onednn_primitive *primitive, const_dnnl_memory_desc_t from,
                                 const_dnnl_memory_desc_t to, const_dnnl_primitive_attr_t attr,
                                 sqz_error *error) {
    dnnl_primitive_desc_t pd;
    ONEDNN_TRY(error, sqz_dnnl.reorder_primitive_desc_create(&pd, from, engine, to, engine, attr));
    return primitive_create(primitive, NULL, pd, error);
}

/* Everything a convolution's three descriptors are made of. */
typedef struct {
    dnnl_dims_t strides, dilates, pad;
    dnnl_memory_desc_t any_weights;     /* OIHW in whatever format a primitive prefers, */
    dnnl_memory_desc_t any_gradient;    /* and in float32 */
    dnnl_primitive_attr_t plain, fused; /* user scratch; and with ReLU after the convolution */
} conv_recipe;

static sqz_status forward_create(sqz_conv *conv, const conv_recipe *recipe, sqz_error *error) {
    onednn_conv *state = conv->state;
    dnnl_primitive_desc_t pd;
    ONEDNN_TRY(error, sqz_dnnl.convolution_forward_primitive_desc_create(
                          &pd, engine, dnnl_forward, dnnl_convolution_direct, state->arrays[SRC],
                          recipe->any_weights, state->arrays[BIAS], state->arrays[DST],
                          recipe->strides, recipe->dilates, recipe->pad, recipe->pad,
                          conv->shape.nonlinearity.relu ? recipe->fused : recipe->plain));
    sqz_status status =
        keep_desc(&state->arrays[FORWARD_WEIGHTS], pd, dnnl_query_weights_md, error);
    if (status != SQZ_OK) {
        sqz_dnnl.primitive_desc_destroy(pd);
        return status;
    }
    SQZ_TRY(primitive_create(&state->primitives[FORWARD], conv->forward_implementation, pd, error));
    return reorder_create(&state->primitives[PACK_FORWARD], state->arrays[PLAIN_WEIGHTS],
                          state->arrays[FORWARD_WEIGHTS], recipe->plain, error);
}

/* oneDNN's backward descriptors want the forward one as a hint. */
static sqz_status hint_create(dnnl_primitive_desc_t *hint, const sqz_conv *conv,
                              const conv_recipe *recipe, sqz_error *error) {
    const onednn_conv *state = conv->state;
    ONEDNN_TRY(error,
               sqz_dnnl.convolution_forward_primitive_desc_create(
                   hint, engine, dnnl_forward, dnnl_convolution_direct, state->arrays[SRC],
                   recipe->any_weights, state->arrays[BIAS], state->arrays[DST], recipe->strides,
                   recipe->dilates, recipe->pad, recipe->pad, recipe->plain));
    return SQZ_OK;
}

static sqz_status backward_data_create(sqz_conv *conv, const conv_recipe *recipe,
                                       const_dnnl_primitive_desc_t hint, sqz_error *error) {
    onednn_conv *state = conv->state;
    dnnl_primitive_desc_t pd;
    ONEDNN_TRY(error, sqz_dnnl.convolution_backward_data_primitive_desc_create(
                          &pd, engine, dnnl_convolution_direct, state->arrays[SRC],
                          recipe->any_weights, state->arrays[DST], recipe->strides, recipe->dilates,
                          recipe->pad, recipe->pad, hint, recipe->plain));
    sqz_status status =
        keep_desc(&state->arrays[BACKWARD_WEIGHTS], pd, dnnl_query_weights_md, error);
    if (status != SQZ_OK) {
        sqz_dnnl.primitive_desc_destroy(pd);
        return status;
    }
    SQZ_TRY(primitive_create(&state->primitives[BACKWARD_DATA], conv->backward_data_implementation,
                             pd, error));
    return reorder_create(&state->primitives[PACK_BACKWARD], state->arrays[PLAIN_WEIGHTS],
                          state->arrays[BACKWARD_WEIGHTS], recipe->plain, error);
}

static sqz_status backward_weights_create(sqz_conv *conv, const conv_recipe *recipe,
                                          const_dnnl_primitive_desc_t hint, sqz_error *error) {
    onednn_conv *state = conv->state;
    dnnl_primitive_desc_t pd;
    ONEDNN_TRY(error, sqz_dnnl.convolution_backward_weights_primitive_desc_create(
                          &pd, engine, dnnl_convolution_direct, state->arrays[SRC],
                          recipe->any_gradient, NULL, state->arrays[DST], recipe->strides,
                          recipe->dilates, recipe->pad, recipe->pad, hint, recipe->plain));
    sqz_status status = keep_desc(&state->arrays[GRADIENT], pd, dnnl_query_diff_weights_md, error);
    if (status != SQZ_OK) {
        sqz_dnnl.primitive_desc_destroy(pd);
        return status;
    }
    SQZ_TRY(primitive_create(&state->primitives[BACKWARD_GRADIENT],
                             conv->backward_weights_implementation, pd, error));
    return reorder_create(&state->primitives[UNPACK], state->arrays[GRADIENT],
                          state->arrays[PLAIN_WEIGHTS], recipe->plain, error);
}

static sqz_status primitives_create(sqz_conv *conv, const conv_recipe *recipe, sqz_error *error) {
    SQZ_TRY(forward_create(conv, recipe, error));
    if (conv->use == SQZ_CONV_FORWARD)
        return SQZ_OK;
    dnnl_primitive_desc_t hint;
    SQZ_TRY(hint_create(&hint, conv, recipe, error));
    sqz_status status = backward_weights_create(conv, recipe, hint, error);
    if (status == SQZ_OK && conv->use == SQZ_CONV_BACKWARD)
        status = backward_data_create(conv, recipe, hint, error);
    sqz_dnnl.primitive_desc_destroy(hint);
    return status;
}

static sqz_status recipe_create(conv_recipe *recipe, const sqz_conv *conv, sqz_error *error) {
    const sqz_conv_shape *shape = &conv->shape;
    onednn_conv *state = conv->state;
    dnnl_format_tag_t blocked = state->ops->block == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    dnnl_data_type_t type = state->ops->precision == SQZ_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
    dnnl_dims_t src = {1, shape->in_channels, shape->in_h, shape->in_w};
    dnnl_dims_t dst = {1, shape->out_channels, shape->out_h, shape->out_w};
    dnnl_dims_t weights = {shape->out_channels, shape->in_channels, shape->kernel_h,
                           shape->kernel_w};
    dnnl_dims_t bias = {shape->out_channels};
    recipe->strides[0] = shape->stride_h;
    recipe->strides[1] = shape->stride_w;
    recipe->pad[0] = shape->pad_h;
    recipe->pad[1] = shape->pad_w;
    ONEDNN_TRY(error,
               sqz_dnnl.memory_desc_create_with_tag(&state->arrays[SRC], 4, src, type,
                                                    shape->in_block == 1 ? dnnl_nchw : blocked));
    ONEDNN_TRY(error,
               sqz_dnnl.memory_desc_create_with_tag(&state->arrays[DST], 4, dst, type, blocked));
    ONEDNN_TRY(error, sqz_dnnl.memory_desc_create_with_tag(&state->arrays[BIAS], 1, bias, dnnl_f32,
                                                           dnnl_x));
    ONEDNN_TRY(error, sqz_dnnl.memory_desc_create_with_tag(&state->arrays[PLAIN_WEIGHTS], 4,
                                                           weights, dnnl_f32, dnnl_oihw));
    ONEDNN_TRY(error, sqz_dnnl.memory_desc_create_with_tag(&recipe->any_weights, 4, weights, type,
                                                           dnnl_format_tag_any));
    ONEDNN_TRY(error, sqz_dnnl.memory_desc_create_with_tag(&recipe->any_gradient, 4, weights,
                                                           dnnl_f32, dnnl_format_tag_any));
    ONEDNN_TRY(error, sqz_dnnl.primitive_attr_create(&recipe->plain));
    ONEDNN_TRY(error, sqz_dnnl.primitive_attr_set_scratchpad_mode(recipe->plain,
                                                                  dnnl_scratchpad_mode_user));
    ONEDNN_TRY(error, sqz_dnnl.primitive_attr_create(&recipe->fused));
    ONEDNN_TRY(error, sqz_dnnl.primitive_attr_set_scratchpad_mode(recipe->fused,
                                                                  dnnl_scratchpad_mode_user));
    dnnl_post_ops_t relu;
    ONEDNN_TRY(error, sqz_dnnl.post_ops_create(&relu));
    dnnl_status_t status = sqz_dnnl.post_ops_append_eltwise(relu, dnnl_eltwise_relu, 0, 0);
    if (status == dnnl_success)
        status = sqz_dnnl.primitive_attr_set_post_ops(recipe->fused, relu);
    sqz_dnnl.post_ops_destroy(relu);
    return status == dnnl_success ? SQZ_OK : fail(error, "primitive_attr_set_post_ops", status);
}

static void recipe_destroy(conv_recipe *recipe) {
    if (recipe->any_weights)
        sqz_dnnl.memory_desc_destroy(recipe->any_weights);
    if (recipe->any_gradient)
        sqz_dnnl.memory_desc_destroy(recipe->any_gradient);
    if (recipe->plain)
        sqz_dnnl.primitive_attr_destroy(recipe->plain);
    if (recipe->fused)
        sqz_dnnl.primitive_attr_destroy(recipe->fused);
}

static size_t byte_count(const_dnnl_memory_desc_t desc) {
    return desc ? sqz_dnnl.memory_desc_get_size(desc) : 0;
}

/* Says, after a primitive was refused, for which convolution. */
static sqz_status explain_refusal(sqz_error *error, const sqz_conv_shape *shape,
                                  const sqz_ops *ops) {
    char refusal[256];
    snprintf(refusal, sizeof refusal, "%.255s", error ? error->message : "");
    return sqz_fail(error, SQZ_INTERNAL,
                    "%s, for a %s convolution, %dx%d, of %d x %dx%d to %d x %dx%d", refusal,
                    ops->precision == SQZ_BFLOAT16 ? "bfloat16" : "float32", shape->kernel_h,
                    shape->kernel_w, shape->in_channels, shape->in_h, shape->in_w,
                    shape->out_channels, shape->out_h, shape->out_w);
}

static sqz_status conv_create(sqz_conv **result, const sqz_conv_shape *shape, sqz_conv_use use,
                              int slot, const sqz_ops *ops, sqz_error *error) {
    *result = NULL;
    sqz_conv *conv = calloc(1, sizeof *conv);
    onednn_conv *state = calloc(1, sizeof *state);
    if (!conv || !state) {
        free(conv);
        free(state);
        return sqz_fail_memory(error, "a convolution", sizeof *conv + sizeof *state);
    }
    conv->shape = *shape;
    conv->use = use;
    conv->slot = slot;
    conv->state = state;
    state->ops = ops;
    conv_recipe recipe = {0};
    sqz_status status = recipe_create(&recipe, conv, error);
    if (status == SQZ_OK) {
        int threads = sqz_dnnl.omp_get_max_threads ? sqz_dnnl.omp_get_max_threads() : 0;
        if (threads)
            sqz_dnnl.omp_set_num_threads(1);
        status = primitives_create(conv, &recipe, error);
        if (threads)
            sqz_dnnl.omp_set_num_threads(threads);
    }
    recipe_destroy(&recipe);
    if (status != SQZ_OK) {
        conv_destroy(conv);
        return status == SQZ_INTERNAL ? explain_refusal(error, shape, ops) : status;
    }
    conv->forward_bytes = byte_count(state->arrays[FORWARD_WEIGHTS]);
    conv->backward_bytes = byte_count(state->arrays[BACKWARD_WEIGHTS]);
    conv->gradient_count = byte_count(state->arrays[GRADIENT]) / sizeof(float);
    *result = conv;
    return SQZ_OK;
}

static sqz_status conv_create_float32(sqz_conv **conv, const sqz_conv_shape *shape,
                                      sqz_conv_use use, int slot, sqz_error *error) {
    return conv_create(conv, shape, use, slot, &tables[SQZ_FLOAT32], error);
}

static sqz_status conv_create_bfloat16(sqz_conv **conv, const sqz_conv_shape *shape,
                                       sqz_conv_use use, int slot, sqz_error *error) {
    return conv_create(conv, shape, use, slot, &tables[SQZ_BFLOAT16], error);
}

/* -- Workers ----------------------------------------------------------------------------------- */

static void worker_destroy(sqz_worker *worker) {
    if (!worker)
        return;
    for (int i = 0; i < worker->count; i++) {
        for (int j = 0; j < ROLES; j++)
            if (worker->calls[i].arrays[j])
                sqz_dnnl.memory_destroy(worker->calls[i].arrays[j]);
        for (int j = 0; j < PRIMITIVES; j++)
            if (worker->calls[i].scratch[j])
                sqz_dnnl.memory_destroy(worker->calls[i].scratch[j]);
    }
    if (worker->stream)
        sqz_dnnl.stream_destroy(worker->stream);
    free(worker->calls);
    sqz_aligned_free(worker->scratch);
    sqz_aligned_free(worker->addend);
    free(worker);
}

static sqz_status worker_allocate(sqz_worker *worker, const sqz_conv *const *convs,
                                  sqz_error *error) {
    size_t scratch_bytes = 0, addend_bytes = 0;
    for (int i = 0; i < worker->count; i++) {
        const sqz_conv *conv = convs[i];
        if (!conv)
            continue;
        const onednn_conv *state = conv->state;
        for (int j = 0; j < PRIMITIVES; j++)
            if (state->primitives[j].scratch) {
                size_t needed = sqz_dnnl.memory_desc_get_size(state->primitives[j].scratch);
                scratch_bytes = needed > scratch_bytes ? needed : scratch_bytes;
            }
        if (conv->use == SQZ_CONV_FORWARD)
            continue;
        size_t src_bytes = conv->backward_bytes ? byte_count(state->arrays[SRC]) : 0;
        size_t needed = byte_count(state->arrays[GRADIENT]);
        needed = needed > src_bytes ? needed : src_bytes;
        addend_bytes = needed > addend_bytes ? needed : addend_bytes;
    }
    worker->scratch = sqz_aligned_calloc(scratch_bytes, 1);
    worker->addend = sqz_aligned_calloc(addend_bytes, 1);
    if (!worker->scratch || !worker->addend)
        return sqz_fail_memory(error, "oneDNN's scratch memory", scratch_bytes + addend_bytes);
    return SQZ_OK;
}

static sqz_status worker_fill(sqz_worker *worker, const sqz_conv *const *convs, sqz_error *error) {
    ONEDNN_TRY(error, sqz_dnnl.stream_create(&worker->stream, engine, dnnl_stream_default_flags));
    SQZ_TRY(worker_allocate(worker, convs, error));
    for (int i = 0; i < worker->count; i++) {
        if (!convs[i])
            continue;
        const onednn_conv *state = convs[i]->state;
        for (int j = 0; j < ROLES; j++)
            if (state->arrays[j])
                ONEDNN_TRY(error,
                           sqz_dnnl.memory_create(&worker->calls[i].arrays[j], state->arrays[j],
                                                  engine, DNNL_MEMORY_NONE));
        for (int j = 0; j < PRIMITIVES; j++)
            if (state->primitives[j].scratch)
                ONEDNN_TRY(error, sqz_dnnl.memory_create(&worker->calls[i].scratch[j],
                                                         state->primitives[j].scratch, engine,
                                                         worker->scratch));
    }
    return SQZ_OK;
}

static sqz_status worker_create(sqz_worker **result, const sqz_conv *const *convs, int count,
                                sqz_error *error) {
    *result = NULL;
    sqz_worker *worker = calloc(1, sizeof *worker);
    onednn_call *calls = calloc((size_t)count + 1, sizeof *calls);
    if (!worker || !calls) {
        free(worker);
        free(calls);
        return sqz_fail_memory(error, "a worker", ((size_t)count + 1) * sizeof *calls);
    }
    worker->calls = calls;
    worker->count = count;
    sqz_status status = worker_fill(worker, convs, error);
    if (status != SQZ_OK) {
        worker_destroy(worker);
        return status;
    }
    *result = worker;
    return SQZ_OK;
}

/* -- Executing --------------------------------------------------------------------------------- */

typedef struct {
    int argument; /* oneDNN's name for the array in this primitive */
    int role;
    const void *values; /* written to if it is an output */
} binding;

static sqz_status execute(const sqz_conv *conv, sqz_worker *worker, int which,
                          const binding *bindings, int count, sqz_error *error) {
    const onednn_conv *state = conv->state;
    onednn_call *call = &worker->calls[conv->slot];
    dnnl_exec_arg_t arguments[5];
    for (int i = 0; i < count; i++) {
        dnnl_memory_t memory = call->arrays[bindings[i].role];
        ONEDNN_TRY(error, sqz_dnnl.memory_set_data_handle(memory, (void *)bindings[i].values));
        arguments[i] = (dnnl_exec_arg_t){bindings[i].argument, memory};
    }
    if (call->scratch[which])
        arguments[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, call->scratch[which]};
    ONEDNN_TRY(error, sqz_dnnl.primitive_execute(state->primitives[which].primitive, worker->stream,
                                                 count, arguments));
    return SQZ_OK;
}

static sqz_status conv_pack_forward(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                    const float *weights, sqz_error *error) {
    binding bindings[] = {{DNNL_ARG_FROM, PLAIN_WEIGHTS, weights},
                          {DNNL_ARG_TO, FORWARD_WEIGHTS, packed}};
    return execute(conv, worker, PACK_FORWARD, bindings, 2, error);
}

static sqz_status conv_pack_backward(const sqz_conv *conv, sqz_worker *worker, void *packed,
                                     const float *weights, sqz_error *error) {
    binding bindings[] = {{DNNL_ARG_FROM, PLAIN_WEIGHTS, weights},
                          {DNNL_ARG_TO, BACKWARD_WEIGHTS, packed}};
    return execute(conv, worker, PACK_BACKWARD, bindings, 2, error);
}

static sqz_status conv_unpack_gradient(const sqz_conv *conv, sqz_worker *worker, float *d_weights,
                                       const float *gradient, sqz_error *error) {
    binding bindings[] = {{DNNL_ARG_FROM, GRADIENT, gradient},
                          {DNNL_ARG_TO, PLAIN_WEIGHTS, d_weights}};
    return execute(conv, worker, UNPACK, bindings, 2, error);
}

static sqz_status conv_forward(const sqz_conv *conv, sqz_worker *worker, void *dst, const void *src,
                               const void *packed, const float *bias, sqz_part part,
                               sqz_error *error) {
    if (part.index)
        return SQZ_OK;
    binding bindings[] = {{DNNL_ARG_SRC, SRC, src},
                          {DNNL_ARG_WEIGHTS, FORWARD_WEIGHTS, packed},
                          {DNNL_ARG_BIAS, BIAS, bias},
                          {DNNL_ARG_DST, DST, dst}};
    return execute(conv, worker, FORWARD, bindings, 4, error);
}

static size_t src_count(const sqz_conv *conv) {
    const sqz_conv_shape *shape = &conv->shape;
    return (size_t)shape->in_channels * (size_t)shape->in_h * (size_t)shape->in_w;
}

static sqz_status conv_backward_data(const sqz_conv *conv, sqz_worker *worker, void *d_src,
                                     const void *d_dst, const void *packed, bool accumulate,
                                     sqz_error *error) {
    void *target = accumulate ? worker->addend : d_src;
    binding bindings[] = {{DNNL_ARG_DIFF_DST, DST, d_dst},
                          {DNNL_ARG_WEIGHTS, BACKWARD_WEIGHTS, packed},
                          {DNNL_ARG_DIFF_SRC, SRC, target}};
    SQZ_TRY(execute(conv, worker, BACKWARD_DATA, bindings, 3, error));
    const onednn_conv *state = conv->state;
    if (accumulate)
        state->ops->sum(d_src, d_src, target, src_count(conv));
    return SQZ_OK;
}

static sqz_status conv_backward_weights(const sqz_conv *conv, sqz_worker *worker, float *gradient,
                                        const void *src, const void *d_dst, bool accumulate,
                                        sqz_error *error) {
    float *target = accumulate ? worker->addend : gradient;
    binding bindings[] = {{DNNL_ARG_SRC, SRC, src},
                          {DNNL_ARG_DIFF_DST, DST, d_dst},
                          {DNNL_ARG_DIFF_WEIGHTS, GRADIENT, target}};
    SQZ_TRY(execute(conv, worker, BACKWARD_GRADIENT, bindings, 3, error));
    if (accumulate)
        tables[SQZ_FLOAT32].sum(gradient, gradient, target, conv->gradient_count);
    return SQZ_OK;
}

/* -- The table --------------------------------------------------------------------------------- */

/* Our own kernels, with oneDNN's convolutions. */
static void fill_table(sqz_precision precision, sqz_isa isa,
                       sqz_status (*create)(sqz_conv **conv, const sqz_conv_shape *shape,
                                            sqz_conv_use use, int slot, sqz_error *error)) {
    sqz_ops *ops = &tables[precision];
    *ops = *sqz_ops_openmp(isa, precision);
    ops->name = "onednn";
    ops->conv_create = create;
    ops->conv_destroy = conv_destroy;
    ops->worker_create = worker_create;
    ops->worker_destroy = worker_destroy;
    ops->conv_pack_forward = conv_pack_forward;
    ops->conv_pack_backward = conv_pack_backward;
    ops->conv_unpack_gradient = conv_unpack_gradient;
    ops->conv_forward = conv_forward;
    ops->conv_backward_data = conv_backward_data;
    ops->conv_backward_weights = conv_backward_weights;
}

static void initialise(void) {
    sqz_isa isa;
    if (!sqz_onednn_load(unavailable_reason))
        return;
    const dnnl_version_t *found = sqz_dnnl.version();
    snprintf(loaded_version, sizeof loaded_version, "%d.%d.%d", found->major, found->minor,
             found->patch);
    if (!sqz_onednn_isa(&isa, unavailable_reason))
        return;
    dnnl_status_t status = sqz_dnnl.engine_create(&engine, dnnl_cpu, 0);
    if (!sqz_ops_openmp(isa, SQZ_FLOAT32) || status != dnnl_success) {
        snprintf(unavailable_reason, sizeof unavailable_reason,
                 "oneDNN's CPU engine could not be created (status %d)", (int)status);
        return;
    }
    fill_table(SQZ_FLOAT32, isa, conv_create_float32);
    fill_table(SQZ_BFLOAT16, isa, conv_create_bfloat16);
    available = true;
}

const sqz_ops *sqz_ops_onednn_whole(sqz_precision precision) {
    pthread_once(&once, initialise);
    const sqz_ops *ops = &tables[precision];
    bool offered = precision == SQZ_FLOAT32 || ops->isa == SQZ_ISA_AVX512;
    return available && offered ? ops : NULL;
}

void sqz_onednn_explain(char reason[256], char version[32]) {
    pthread_once(&once, initialise);
    snprintf(version, 32, "%s", loaded_version);
    snprintf(reason, 256, "%s", unavailable_reason);
}
