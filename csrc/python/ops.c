/* ops.c: single ops, for tests (see ../ops/single.h). Private functions of the module, named _op_*.
 * Convolutions take (N, C, H, W), all else takes one picture, (C, H, W). Optional arguments dx and
 * db are what the op is to add to; the arrays themselves are never written. */
#include "errors.h"
#include "parts.h"

#include "../base/rng.h"
#include "../net/loss.h"
#include "../ops/single.h"

#include <string.h>

enum { MAX_SIDE = 1 << 14 }; /* of any dimension: products of two fit into an int */

/* -- Arguments --------------------------------------------------------------------------------- */

/* ValueError: "y has shape (1, 2, 3), expected (C, H, W) as (4, any, any)". */
static void refuse_shape(PyObject *array, const char *name, int rank, const npy_intp *shape,
                         const char *form) {
    PyObject *found = PyObject_GetAttrString(array, "shape");
    PyObject *wanted = PyUnicode_FromString("");
    bool fixed = false;
    for (int i = 0; wanted && i < rank; i++) {
        const char *comma = i ? ", " : "";
        PyObject *longer =
            shape[i] < 0 ? PyUnicode_FromFormat("%U%sany", wanted, comma)
                         : PyUnicode_FromFormat("%U%s%zd", wanted, comma, (Py_ssize_t)shape[i]);
        fixed = fixed || shape[i] >= 0;
        Py_SETREF(wanted, longer);
    }
    if (found && wanted && fixed)
        PyErr_Format(PyExc_ValueError, "%s has shape %S, expected %s as (%U)", name, found, form,
                     wanted);
    else if (found && wanted)
        PyErr_Format(PyExc_ValueError, "%s has shape %S, expected %s with sides of 1 to %d", name,
                     found, form, MAX_SIDE);
    Py_XDECREF(found);
    Py_XDECREF(wanted);
}

/* A new reference to `object` as a C-contiguous array of exactly this type and shape; -1 in `shape`
 * allows any length. `form` is how errors call the shape. NULL with TypeError or ValueError set. */
static PyArrayObject *take(PyObject *object, const char *name, int type, int rank,
                           const npy_intp *shape, const char *form) {
    if (!PyArray_Check(object) || PyArray_TYPE((PyArrayObject *)object) != type) {
        PyObject *found = PyArray_Check(object) ? (PyObject *)PyArray_DESCR((PyArrayObject *)object)
                                                : (PyObject *)Py_TYPE(object);
        PyErr_Format(PyExc_TypeError, "%s is %S, expected a %s array", name, found,
                     type == NPY_FLOAT32 ? "float32" : "uint8");
        return NULL;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    bool fits = PyArray_NDIM(array) == rank;
    for (int i = 0; fits && i < rank; i++) {
        npy_intp length = PyArray_DIM(array, i);
        fits = length >= 1 && length <= MAX_SIDE && (shape[i] < 0 || length == shape[i]);
    }
    if (fits)
        return (PyArrayObject *)PyArray_FROM_OTF(object, type, NPY_ARRAY_IN_ARRAY);
    refuse_shape(object, name, rank, shape, form);
    return NULL;
}

static PyArrayObject *take_floats(PyObject *object, const char *name, int rank,
                                  const npy_intp *shape, const char *form) {
    return take(object, name, NPY_FLOAT32, rank, shape, form);
}

/* A new zeroed array; or, if `start` is neither NULL nor None, a copy of it, which must fit. */
static PyArrayObject *make(PyObject *start, const char *name, int rank, const npy_intp *shape,
                           const char *form) {
    if (!start || start == Py_None)
        return (PyArrayObject *)PyArray_ZEROS(rank, (npy_intp *)shape, NPY_FLOAT32, 0);
    PyArrayObject *checked = take_floats(start, name, rank, shape, form);
    if (!checked)
        return NULL;
    PyObject *copy = PyArray_NewCopy(checked, NPY_CORDER);
    Py_DECREF(checked);
    return (PyArrayObject *)copy;
}

static PyArrayObject *make_bytes(int rank, const npy_intp *shape) {
    return (PyArrayObject *)PyArray_ZEROS(rank, (npy_intp *)shape, NPY_UINT8, 0);
}

static float *floats(PyArrayObject *array) {
    return array ? PyArray_DATA(array) : NULL;
}

static int dim(PyArrayObject *array, int axis) {
    return (int)PyArray_DIM(array, axis);
}

static int pixels_of(PyArrayObject *picture) {
    return dim(picture, 1) * dim(picture, 2);
}

/* "O&": an int, or a pair of them (rows, columns). */
static int convert_pair(PyObject *object, void *result) {
    int *pair = result;
    if (PyTuple_Check(object))
        return PyArg_ParseTuple(object, "ii;expected an int or a pair of them", pair, pair + 1);
    long value = PyLong_AsLong(object);
    if (value == -1 && PyErr_Occurred())
        return 0;
    if (value < -MAX_SIDE || value > MAX_SIDE) {
        PyErr_Format(PyExc_ValueError, "%ld is outside -%d..%d", value, MAX_SIDE, MAX_SIDE);
        return 0;
    }
    pair[0] = pair[1] = (int)value;
    return 1;
}

/* The table named `backend` (NULL: the one in use). NULL with an exception set. */
static const sqz_ops *find_ops(PyObject *module, const char *backend) {
    const sqz_ops *ops = NULL;
    sqz_error error;
    sqz_status status = sqz_single_ops(&ops, backend, &error);
    if (status != SQZ_OK)
        sqz_py_raise(module, status, &error);
    return ops;
}

/* What a function gives back: `values` (stolen) alone or as a tuple, NULL becoming None; or, after
 * an error, an exception, values released. A status of SQZ_OK with a Python exception set is one
 * too. */
static PyObject *finish(PyObject *module, sqz_status status, const sqz_error *error, int count,
                        PyArrayObject **values) {
    if (status != SQZ_OK && !PyErr_Occurred())
        sqz_py_raise(module, status, error);
    if (PyErr_Occurred()) {
        for (int i = 0; i < count; i++)
            Py_XDECREF(values[i]);
        return NULL;
    }
    PyObject *objects[3];
    for (int i = 0; i < count; i++)
        objects[i] = values[i] ? (PyObject *)values[i] : Py_NewRef(Py_None);
    if (count == 1)
        return objects[0];
    return count == 2 ? Py_BuildValue("NN", objects[0], objects[1])
                      : Py_BuildValue("NNN", objects[0], objects[1], objects[2]);
}

static const npy_intp any[4] = {-1, -1, -1, -1};

/* -- Convolution ------------------------------------------------------------------------------- */

typedef struct {
    const char *backend;
    int stride[2], padding[2], relu, planar, blocks_before, blocks_after;
} conv_options;

static sqz_single_conv conv_of(PyArrayObject *x, PyArrayObject *weight,
                               const conv_options *options) {
    return (sqz_single_conv){
        .in_channels = dim(x, 1),
        .in_h = dim(x, 2),
        .in_w = dim(x, 3),
        .out_channels = dim(weight, 0),
        .kernel_h = dim(weight, 2),
        .kernel_w = dim(weight, 3),
        .stride_h = options->stride[0],
        .stride_w = options->stride[1],
        .pad_h = options->padding[0],
        .pad_w = options->padding[1],
        .nonlinearity.relu = options->relu,
        .planar = options->planar,
        .blocks_before = options->blocks_before,
        .blocks_after = options->blocks_after,
    };
}

/* x, weight and what follows from them: a convolution and the shape of its result. */
static bool conv_open(PyObject *module, PyArrayObject **x, PyArrayObject **weight,
                      sqz_single_conv *conv, npy_intp out[4], PyObject *x_object,
                      PyObject *weight_object, const conv_options *options) {
    *x = take_floats(x_object, "x", 4, any, "(N, C, H, W)");
    if (!*x)
        return false;
    npy_intp weight_shape[] = {-1, dim(*x, 1), -1, -1};
    *weight = take_floats(weight_object, "weight", 4, weight_shape, "(K, C, R, S)");
    if (!*weight)
        return false;
    *conv = conv_of(*x, *weight, options);
    int out_h, out_w;
    sqz_error error;
    sqz_status status = sqz_single_conv_size(&out_h, &out_w, conv, &error);
    if (status != SQZ_OK) {
        sqz_py_raise(module, status, &error);
        return false;
    }
    out[0] = dim(*x, 0);
    out[1] = conv->out_channels;
    out[2] = out_h;
    out[3] = out_w;
    return true;
}

static PyObject *op_conv2d(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"x",      "weight",        "bias",         "stride",  "padding", "relu",
                            "planar", "blocks_before", "blocks_after", "backend", NULL};
    PyObject *x_object, *weight_object, *bias_object;
    conv_options options = {.stride = {1, 1}};
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "OOO|O&O&ppiiz", names, &x_object, &weight_object, &bias_object,
            convert_pair, options.stride, convert_pair, options.padding, &options.relu,
            &options.planar, &options.blocks_before, &options.blocks_after, &options.backend))
        return NULL;
    PyArrayObject *x = NULL, *weight = NULL, *bias = NULL, *y = NULL;
    sqz_single_conv conv;
    npy_intp out[4];
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, options.backend);
    if (ops && conv_open(module, &x, &weight, &conv, out, x_object, weight_object, &options) &&
        (bias = take_floats(bias_object, "bias", 1, out + 1, "(K,)")) &&
        (y = make(NULL, "y", 4, out, "")))
        status = sqz_single_conv_forward(ops, floats(y), floats(x), floats(weight), floats(bias),
                                         dim(x, 0), &conv, &error);
    Py_XDECREF(x);
    Py_XDECREF(weight);
    Py_XDECREF(bias);
    return finish(module, status, &error, 1, &y);
}

static PyObject *op_conv2d_backward(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {
        "x",  "weight",        "dy",           "y",       "stride", "padding", "planar",
        "dx", "blocks_before", "blocks_after", "backend", NULL};
    PyObject *x_object, *weight_object, *dy_object, *y_object = Py_None, *dx_object = Py_None;
    conv_options options = {.stride = {1, 1}};
    if (!PyArg_ParseTupleAndKeywords(
            args, keywords, "OOO|OO&O&pOiiz", names, &x_object, &weight_object, &dy_object,
            &y_object, convert_pair, options.stride, convert_pair, options.padding, &options.planar,
            &dx_object, &options.blocks_before, &options.blocks_after, &options.backend))
        return NULL;
    options.relu = y_object != Py_None;
    PyArrayObject *x = NULL, *weight = NULL, *dy = NULL, *y = NULL;
    PyArrayObject *results[3] = {NULL, NULL, NULL};
    sqz_single_conv conv;
    npy_intp out[4];
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, options.backend);
    if (ops && conv_open(module, &x, &weight, &conv, out, x_object, weight_object, &options) &&
        (dy = take_floats(dy_object, "dy", 4, out, "(N, K, P, Q)")) &&
        (!options.relu || (y = take_floats(y_object, "y", 4, out, "(N, K, P, Q)"))) &&
        (options.planar ||
         (results[0] = make(dx_object, "dx", 4, PyArray_DIMS(x), "(N, C, H, W)"))) &&
        (results[1] = make(NULL, "dw", 4, PyArray_DIMS(weight), "")) &&
        (results[2] = make(NULL, "db", 1, out + 1, "")))
        status = sqz_single_conv_backward(
            ops, floats(results[0]), floats(results[1]), floats(results[2]), floats(x),
            floats(weight), floats(y), floats(dy), dim(x, 0), &conv, dx_object != Py_None, &error);
    Py_XDECREF(x);
    Py_XDECREF(weight);
    Py_XDECREF(dy);
    Py_XDECREF(y);
    return finish(module, status, &error, 3, results);
}

static PyObject *op_implementations(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"x_shape", "weight_shape", "stride",  "padding",
                            "relu",    "planar",       "backend", NULL};
    sqz_single_conv conv = {0};
    int stride[2] = {1, 1}, padding[2] = {0, 0}, relu = 0, planar = 0, in_channels;
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "(iii)(iiii)|O&O&ppz", names,
                                     &conv.in_channels, &conv.in_h, &conv.in_w, &conv.out_channels,
                                     &in_channels, &conv.kernel_h, &conv.kernel_w, convert_pair,
                                     stride, convert_pair, padding, &relu, &planar, &backend))
        return NULL;
    const int sizes[] = {conv.in_channels,  conv.in_h,     conv.in_w,
                         conv.out_channels, conv.kernel_h, conv.kernel_w};
    for (int i = 0; i < 6; i++)
        if (sizes[i] < 1 || sizes[i] > MAX_SIDE)
            return PyErr_Format(PyExc_ValueError, "a size is %d, expected 1 to %d", sizes[i],
                                MAX_SIDE);
    if (in_channels != conv.in_channels)
        return PyErr_Format(PyExc_ValueError, "weight_shape has %d input channels, x_shape %d",
                            in_channels, conv.in_channels);
    conv.stride_h = stride[0];
    conv.stride_w = stride[1];
    conv.pad_h = padding[0];
    conv.pad_w = padding[1];
    conv.nonlinearity.relu = relu;
    conv.planar = planar;
    const sqz_ops *ops = find_ops(module, backend);
    if (!ops)
        return NULL;
    sqz_single_implementations found;
    sqz_error error;
    sqz_status status = sqz_single_conv_explain(&found, ops, &conv, &error);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    return Py_BuildValue("{s:s,s:s,s:s}", "forward", found.forward, "backward_data",
                         found.backward_data, "backward_weights", found.backward_weights);
}

/* -- ReLU, pooling ----------------------------------------------------------------------------- */

static PyObject *op_relu_backward(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"dy", "y", "db", "backend", NULL};
    PyObject *dy_object, *y_object = Py_None, *db_object = Py_None;
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|OOz", names, &dy_object, &y_object,
                                     &db_object, &backend))
        return NULL;
    bool relu = y_object != Py_None;
    PyArrayObject *dy = NULL, *y = NULL, *results[2] = {NULL, NULL};
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (dy = take_floats(dy_object, "dy", 3, any, "(C, H, W)")) &&
        (!relu || ((y = take_floats(y_object, "y", 3, PyArray_DIMS(dy), "(C, H, W)")) &&
                   (results[0] = make(NULL, "dx", 3, PyArray_DIMS(dy), "")))) &&
        (results[1] = make(db_object, "db", 1, PyArray_DIMS(dy), "(C,)")))
        status = sqz_single_nonlinearity_backward(
            ops, floats(results[0]), floats(results[1]), floats(dy), floats(y), dim(dy, 0),
            pixels_of(dy), (sqz_nonlinearity){.relu = relu}, db_object != Py_None, &error);
    Py_XDECREF(dy);
    Py_XDECREF(y);
    return finish(module, status, &error, 2, results);
}

static PyObject *op_max_pool2d(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"x", "kernel", "stride", "argmax", "backend", NULL};
    PyObject *x_object;
    sqz_pool_shape shape = {0};
    int want_argmax = 1;
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Oii|pz", names, &x_object, &shape.kernel,
                                     &shape.stride, &want_argmax, &backend))
        return NULL;
    PyArrayObject *x = NULL, *y = NULL, *argmax = NULL;
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (x = take_floats(x_object, "x", 3, any, "(C, H, W)"))) {
        shape.channels = dim(x, 0);
        shape.in_h = dim(x, 1);
        shape.in_w = dim(x, 2);
        status = sqz_single_pool_size(&shape, &error);
        npy_intp out[] = {shape.channels, shape.out_h, shape.out_w};
        if (status == SQZ_OK && (y = make(NULL, "y", 3, out, "")) &&
            (!want_argmax || (argmax = make_bytes(3, out))))
            status = sqz_single_max_pool_forward(
                ops, floats(y), argmax ? PyArray_DATA(argmax) : NULL, floats(x), &shape, &error);
    }
    Py_XDECREF(x);
    return finish(module, status, &error, 2, (PyArrayObject *[]){y, argmax});
}

static PyObject *op_max_pool2d_backward(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"dy",     "argmax", "height",  "width", "kernel",
                            "stride", "dx",     "backend", NULL};
    PyObject *dy_object, *argmax_object, *dx_object = Py_None;
    sqz_pool_shape shape = {0};
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOiiii|Oz", names, &dy_object, &argmax_object,
                                     &shape.in_h, &shape.in_w, &shape.kernel, &shape.stride,
                                     &dx_object, &backend))
        return NULL;
    if (shape.in_h < 1 || shape.in_h > MAX_SIDE || shape.in_w < 1 || shape.in_w > MAX_SIDE)
        return PyErr_Format(PyExc_ValueError, "the picture is %d x %d, expected sides of 1 to %d",
                            shape.in_h, shape.in_w, MAX_SIDE);
    PyArrayObject *dy = NULL, *argmax = NULL, *dx = NULL;
    sqz_error error;
    const sqz_ops *ops = find_ops(module, backend);
    sqz_status status = ops ? sqz_single_pool_size(&shape, &error) : SQZ_OK;
    npy_intp out[] = {-1, shape.out_h, shape.out_w};
    if (ops && status == SQZ_OK && (dy = take_floats(dy_object, "dy", 3, out, "(C, P, Q)")) &&
        (argmax = take(argmax_object, "argmax", NPY_UINT8, 3, PyArray_DIMS(dy), "(C, P, Q)"))) {
        shape.channels = dim(dy, 0);
        npy_intp in[] = {shape.channels, shape.in_h, shape.in_w};
        if ((dx = make(dx_object, "dx", 3, in, "(C, H, W)")))
            status = sqz_single_max_pool_backward(ops, floats(dx), floats(dy), PyArray_DATA(argmax),
                                                  &shape, dx_object != Py_None, &error);
    }
    Py_XDECREF(dy);
    Py_XDECREF(argmax);
    return finish(module, status, &error, 1, &dx);
}

static PyObject *op_average_pool(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"x", "backend", NULL};
    PyObject *x_object;
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|z", names, &x_object, &backend))
        return NULL;
    PyArrayObject *x = NULL, *y = NULL;
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (x = take_floats(x_object, "x", 3, any, "(C, H, W)")) &&
        (y = make(NULL, "y", 1, PyArray_DIMS(x), "")))
        status = sqz_single_average_pool_forward(ops, floats(y), floats(x), dim(x, 0), pixels_of(x),
                                                 &error);
    Py_XDECREF(x);
    return finish(module, status, &error, 1, &y);
}

static PyObject *op_average_pool_backward(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"dy", "height", "width", "backend", NULL};
    PyObject *dy_object;
    int height, width;
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Oii|z", names, &dy_object, &height, &width,
                                     &backend))
        return NULL;
    if (height < 1 || height > MAX_SIDE || width < 1 || width > MAX_SIDE)
        return PyErr_Format(PyExc_ValueError, "the picture is %d x %d, expected sides of 1 to %d",
                            height, width, MAX_SIDE);
    PyArrayObject *dy = NULL, *dx = NULL;
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (dy = take_floats(dy_object, "dy", 1, any, "(C,)"))) {
        npy_intp in[] = {dim(dy, 0), height, width};
        if ((dx = make(NULL, "dx", 3, in, "")))
            status = sqz_single_average_pool_backward(ops, floats(dx), floats(dy), dim(dy, 0),
                                                      height * width, &error);
    }
    Py_XDECREF(dy);
    return finish(module, status, &error, 1, &dx);
}

/* -- Dropout, sum ------------------------------------------------------------------------------ */

static PyObject *op_dropout(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"x", "probability", "seed", "step", "picture", "backend", NULL};
    PyObject *x_object;
    unsigned long long seed = 0, step = 0;
    unsigned int picture = 0;
    sqz_dropout dropout = {0};
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Od|KKIz", names, &x_object,
                                     &dropout.probability, &seed, &step, &picture, &backend))
        return NULL;
    dropout.seed = seed;
    dropout.step = step;
    dropout.picture = picture;
    PyArrayObject *x = NULL, *y = NULL, *mask = NULL;
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (x = take_floats(x_object, "x", 3, any, "(C, H, W)")) &&
        (y = make(NULL, "y", 3, PyArray_DIMS(x), "")) && (mask = make_bytes(3, PyArray_DIMS(x))))
        status = sqz_single_dropout_forward(ops, floats(y), PyArray_DATA(mask), floats(x),
                                            dim(x, 0), pixels_of(x), &dropout, &error);
    Py_XDECREF(x);
    return finish(module, status, &error, 2, (PyArrayObject *[]){y, mask});
}

static PyObject *op_dropout_backward(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"dy", "mask", "probability", "backend", NULL};
    PyObject *dy_object, *mask_object;
    sqz_dropout dropout = {0};
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOd|z", names, &dy_object, &mask_object,
                                     &dropout.probability, &backend))
        return NULL;
    PyArrayObject *dy = NULL, *mask = NULL, *dx = NULL;
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (dy = take_floats(dy_object, "dy", 3, any, "(C, H, W)")) &&
        (mask = take(mask_object, "mask", NPY_UINT8, 3, PyArray_DIMS(dy), "(C, H, W)")) &&
        (dx = make(NULL, "dx", 3, PyArray_DIMS(dy), "")))
        status = sqz_single_dropout_backward(ops, floats(dx), floats(dy), PyArray_DATA(mask),
                                             dim(dy, 0), pixels_of(dy), &dropout, &error);
    Py_XDECREF(dy);
    Py_XDECREF(mask);
    return finish(module, status, &error, 1, &dx);
}

static PyObject *op_sum(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"a", "b", "in_place", "backend", NULL};
    PyObject *a_object, *b_object;
    int in_place = 0;
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|pz", names, &a_object, &b_object,
                                     &in_place, &backend))
        return NULL;
    PyArrayObject *a = NULL, *b = NULL, *y = NULL;
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (a = take_floats(a_object, "a", 3, any, "(C, H, W)")) &&
        (b = take_floats(b_object, "b", 3, PyArray_DIMS(a), "(C, H, W)")) &&
        (y = make(NULL, "y", 3, PyArray_DIMS(a), "")))
        status = sqz_single_sum(ops, floats(y), floats(a), floats(b), dim(a, 0), pixels_of(a),
                                in_place, &error);
    Py_XDECREF(a);
    Py_XDECREF(b);
    return finish(module, status, &error, 1, &y);
}

static PyObject *op_round(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"x", "backend", NULL};
    PyObject *x_object;
    const char *backend = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|z", names, &x_object, &backend))
        return NULL;
    PyArrayObject *x = NULL, *y = NULL;
    sqz_error error;
    sqz_status status = SQZ_OK;
    const sqz_ops *ops = find_ops(module, backend);
    if (ops && (x = take_floats(x_object, "x", 1, any, "(N,)")) &&
        (y = make(NULL, "y", 1, PyArray_DIMS(x), "")))
        status = sqz_single_round(ops, floats(y), floats(x), dim(x, 0), &error);
    Py_XDECREF(x);
    return finish(module, status, &error, 1, &y);
}

/* -- Loss, random numbers ---------------------------------------------------------------------- */

static PyObject *op_cross_entropy(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"logits", "label", "scale", NULL};
    PyObject *logits_object;
    long label;
    double scale = 1;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Ol|d", names, &logits_object, &label, &scale))
        return NULL;
    PyArrayObject *logits = take_floats(logits_object, "logits", 1, any, "(C,)");
    if (!logits)
        return NULL;
    PyArrayObject *d_logits = NULL;
    double loss = 0;
    if (label < 0 || label >= dim(logits, 0))
        PyErr_Format(PyExc_ValueError, "label is %ld, expected 0 to %d", label, dim(logits, 0) - 1);
    else if ((d_logits = make(NULL, "d_logits", 1, PyArray_DIMS(logits), "")))
        loss = sqz_cross_entropy(floats(d_logits), floats(logits), dim(logits, 0),
                                 &(sqz_target){.label = label, .temperature = 1}, scale);
    Py_DECREF(logits);
    return d_logits ? Py_BuildValue("dN", loss, d_logits) : NULL;
}

static PyObject *op_philox(PyObject *module, PyObject *args) {
    unsigned int counter[4], key[2];
    (void)module;
    if (!PyArg_ParseTuple(args, "(IIII)(II)", counter, counter + 1, counter + 2, counter + 3, key,
                          key + 1))
        return NULL;
    uint32_t out[4];
    sqz_philox(out, counter, key);
    return Py_BuildValue("IIII", out[0], out[1], out[2], out[3]);
}

#define OP(name) {"_" #name, (PyCFunction)(void (*)(void))name, METH_VARARGS | METH_KEYWORDS, NULL}
static PyMethodDef functions[] = {OP(op_conv2d),
                                  OP(op_conv2d_backward),
                                  OP(op_implementations),
                                  OP(op_relu_backward),
                                  OP(op_max_pool2d),
                                  OP(op_max_pool2d_backward),
                                  OP(op_average_pool),
                                  OP(op_average_pool_backward),
                                  OP(op_dropout),
                                  OP(op_dropout_backward),
                                  OP(op_sum),
                                  OP(op_round),
                                  OP(op_cross_entropy),
                                  {"_op_philox", op_philox, METH_VARARGS, NULL},
                                  {NULL, NULL, 0, NULL}};

int sqz_py_add_ops(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
