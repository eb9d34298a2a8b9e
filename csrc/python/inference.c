/* inference.c: Network's passes that only read it, and what they compute in. */
#include "inference.h"

#include "convert.h"
#include "errors.h"

#include <stdlib.h>

/* -- Passes ------------------------------------------------------------------------------------ */

/* A backend may have been chosen since that does not offer the model's precision. Then the model
 * computes in float32 from now on, and a warning says so. -1 with an exception set. */
int sqz_py_settle_precision(sqz_py_network *self) {
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_model_check_precision(self->model, &error);
    Py_END_ALLOW_THREADS
    if (status == SQZ_UNSUPPORTED) {
        if (PyErr_WarnFormat(PyExc_UserWarning, 1, "%s; the model computes in float32 from now on",
                             error.message) < 0)
            return -1;
        status = sqz_model_set_precision(self->model, SQZ_FLOAT32, &error);
    }
    if (status != SQZ_OK)
        sqz_py_raise_from((PyObject *)self, status, &error);
    return status == SQZ_OK ? 0 : -1;
}

static PyArrayObject *byte_array(PyObject *object) {
    if (!PyArray_Check(object) || PyArray_TYPE((PyArrayObject *)object) != NPY_UINT8)
        return (PyArrayObject *)PyErr_Format(
            PyExc_TypeError,
            "x is %.200s, and the precision is int8: expected an array of uint8, (N, H, W, 3)",
            PyArray_Check(object) ? PyArray_DESCR((PyArrayObject *)object)->typeobj->tp_name
                                  : Py_TYPE(object)->tp_name);
    PyArrayObject *x = (PyArrayObject *)PyArray_FROM_OF(object, NPY_ARRAY_C_CONTIGUOUS);
    if (x && (PyArray_NDIM(x) != 4 || PyArray_SIZE(x) == 0)) {
        sqz_py_refuse_shape(x, "x", "(N, H, W, 3)");
        Py_CLEAR(x);
    }
    return x;
}

PyArrayObject *sqz_py_pictures(PyObject *object, bool bytes, int *n, int *h, int *w) {
    const char *expected = bytes ? "(N, H, W, 3)" : "(N, 3, H, W)";
    PyArrayObject *x = bytes ? byte_array(object) : sqz_py_float_array(object, "x", 4, expected);
    if (!x)
        return NULL;
    const npy_intp *shape = PyArray_DIMS(x), *sides = bytes ? shape + 1 : shape + 2;
    if (shape[bytes ? 3 : 1] != 3 || shape[0] > INT_MAX || sides[0] > INT_MAX ||
        sides[1] > INT_MAX) {
        sqz_py_refuse_shape(x, "x", expected);
        Py_DECREF(x);
        return NULL;
    }
    *n = (int)shape[0];
    *h = (int)sides[0];
    *w = (int)sides[1];
    return x;
}

/* Results of an inference or of a batch, to be written. NULL with an exception set. */
static PyArrayObject *new_logits(sqz_py_network *self, int n, int h, int w) {
    (void)h;
    (void)w;
    npy_intp shape[2] = {n, sqz_model_spec(self->model)->num_classes};
    return (PyArrayObject *)PyArray_SimpleNew(2, shape, NPY_FLOAT32);
}

/* The last layer's input has the maps' shape. */
static PyArrayObject *new_maps(sqz_py_network *self, int n, int h, int w) {
    sqz_error error;
    size_t count = 0;
    sqz_status status = sqz_model_layers(self->model, h, w, NULL, 0, &count, &error);
    sqz_layer *rows = status == SQZ_OK ? calloc(count, sizeof *rows) : NULL;
    if (status == SQZ_OK && !rows)
        return (PyArrayObject *)PyErr_NoMemory();
    if (status == SQZ_OK)
        status = sqz_model_layers(self->model, h, w, rows, count, &count, &error);
    if (status != SQZ_OK) {
        free(rows);
        return (PyArrayObject *)sqz_py_raise_from((PyObject *)self, status, &error);
    }
    const sqz_layer *last = &rows[count - 1];
    npy_intp shape[4] = {n, last->in_c, last->in_h, last->in_w};
    free(rows);
    return (PyArrayObject *)PyArray_SimpleNew(4, shape, NPY_FLOAT32);
}

/* The last convolution's weights, the last tensor but one, are [classes][channels][1][1]. */
static PyArrayObject *new_features(sqz_py_network *self, int n, int h, int w) {
    (void)h;
    (void)w;
    size_t count = sqz_model_tensor_count(self->model);
    npy_intp shape[2] = {n, sqz_model_tensor(self->model, count - 2)->shape[1]};
    return (PyArrayObject *)PyArray_SimpleNew(2, shape, NPY_FLOAT32);
}

/* An inference of the library: of float32, and of bytes. */
typedef struct {
    PyArrayObject *(*new_results)(sqz_py_network *self, int n, int h, int w);
    sqz_status (*of_floats)(sqz_model *model, float *results, const float *x, int n, int h, int w,
                            sqz_error *error);
    sqz_status (*of_bytes)(sqz_model *model, float *results, const uint8_t *pictures, int n, int h,
                           int w, sqz_error *error);
} inference;

static PyObject *inferred(sqz_py_network *self, PyObject *pictures, inference inference) {
    sqz_model *model = sqz_py_network_model(self);
    int n, h, w;
    if (!model || sqz_py_settle_precision(self) < 0)
        return NULL;
    bool bytes = sqz_model_precision(model) == SQZ_INT8;
    PyArrayObject *x = sqz_py_pictures(pictures, bytes, &n, &h, &w);
    if (!x)
        return NULL;
    PyArrayObject *results = inference.new_results(self, n, h, w);
    if (results) {
        sqz_error error;
        sqz_status status;
        Py_BEGIN_ALLOW_THREADS
        status = bytes ? inference.of_bytes(model, PyArray_DATA(results), PyArray_DATA(x), n, h, w,
                                            &error)
                       : inference.of_floats(model, PyArray_DATA(results), PyArray_DATA(x), n, h, w,
                                             &error);
        Py_END_ALLOW_THREADS
        if (status != SQZ_OK) {
            Py_CLEAR(results);
            sqz_py_raise_from((PyObject *)self, status, &error);
        }
    }
    Py_DECREF(x);
    return (PyObject *)results;
}

PyObject *sqz_py_forward(sqz_py_network *self, PyObject *pictures) {
    return inferred(self, pictures,
                    (inference){new_logits, sqz_model_forward, sqz_model_forward_pictures});
}

PyObject *sqz_py_class_maps(sqz_py_network *self, PyObject *pictures) {
    return inferred(self, pictures, (inference){new_maps, sqz_model_maps, sqz_model_maps_pictures});
}

PyObject *sqz_py_pooled_features(sqz_py_network *self, PyObject *pictures) {
    return inferred(self, pictures,
                    (inference){new_features, sqz_model_features, sqz_model_features_pictures});
}

/* -- Precision --------------------------------------------------------------------------------- */

static const char *const precision_names[] = {
    [SQZ_FLOAT32] = "float32", [SQZ_BFLOAT16] = "bfloat16", [SQZ_INT8] = "int8"};

PyObject *sqz_py_get_precision(sqz_py_network *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    return model ? PyUnicode_FromString(precision_names[sqz_model_precision(model)]) : NULL;
}

int sqz_py_set_precision(sqz_py_network *self, PyObject *value, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    if (!model)
        return -1;
    for (int i = SQZ_FLOAT32; value && PyUnicode_Check(value) && i <= SQZ_INT8; i++)
        if (PyUnicode_CompareWithASCIIString(value, precision_names[i]) == 0) {
            sqz_error error;
            sqz_status status;
            Py_BEGIN_ALLOW_THREADS
            status = sqz_model_set_precision(model, (sqz_precision)i, &error);
            Py_END_ALLOW_THREADS
            if (status != SQZ_OK)
                sqz_py_raise_from((PyObject *)self, status, &error);
            return status == SQZ_OK ? 0 : -1;
        }
    if (value)
        PyErr_Format(PyExc_ValueError, "precision is %R, expected 'float32', 'bfloat16' or 'int8'",
                     value);
    else
        PyErr_SetString(PyExc_AttributeError, "precision cannot be deleted");
    return -1;
}
