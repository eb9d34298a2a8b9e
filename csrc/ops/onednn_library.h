/* onednn_library.h: oneDNN's functions, of a library that is loaded when the backend is first asked
 * for, and need not be there. */
#ifndef SQZ_OPS_ONEDNN_LIBRARY_H
#define SQZ_OPS_ONEDNN_LIBRARY_H

#include <stdbool.h>

#include <oneapi/dnnl/dnnl.h>

/* All that we call, without dnnl_. */
#define SQZ_ONEDNN_FUNCTIONS(X)                                                                    \
    X(convolution_backward_data_primitive_desc_create)                                             \
    X(convolution_backward_weights_primitive_desc_create)                                          \
    X(convolution_forward_primitive_desc_create)                                                   \
    X(engine_create)                                                                               \
    X(get_effective_cpu_isa)                                                                       \
    X(memory_create)                                                                               \
    X(memory_desc_clone)                                                                           \
    X(memory_desc_create_with_tag)                                                                 \
    X(memory_desc_destroy)                                                                         \
    X(memory_desc_get_size)                                                                        \
    X(memory_destroy)                                                                              \
    X(memory_set_data_handle)                                                                      \
    X(post_ops_append_eltwise)                                                                     \
    X(post_ops_create)                                                                             \
    X(post_ops_destroy)                                                                            \
    X(primitive_attr_create)                                                                       \
    X(primitive_attr_destroy)                                                                      \
    X(primitive_attr_set_post_ops)                                                                 \
    X(primitive_attr_set_scratchpad_mode)                                                          \
    X(primitive_create)                                                                            \
    X(primitive_desc_destroy)                                                                      \
    X(primitive_desc_query)                                                                        \
    X(primitive_desc_query_md)                                                                     \
    X(primitive_destroy)                                                                           \
    X(primitive_execute)                                                                           \
    X(reorder_primitive_desc_create)                                                               \
    X(set_max_cpu_isa)                                                                             \
    X(stream_create)                                                                               \
    X(stream_destroy)                                                                              \
    X(version)

typedef struct {
#define X(name) __typeof__(dnnl_##name) *name;
    SQZ_ONEDNN_FUNCTIONS(X)
#undef X
    /* Of the OpenMP that oneDNN has, which need not be ours: a wheel brings its own. NULL where
     * oneDNN has none. */
    int (*omp_get_max_threads)(void);
    void (*omp_set_num_threads)(int threads);
} sqz_onednn_functions;

/* What sqz_onednn_load has found; to be used once that has answered true. */
extern sqz_onednn_functions sqz_dnnl;

/* Loads the library from where sqz_set_onednn_library says, else by its name; false where there is
 * none that fits the headers, and `reason` says why. To be called once. */
bool sqz_onednn_load(char reason[256]);

#endif
