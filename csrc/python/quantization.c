/* quantization.c: Network's scales for precision int8, and what they are chosen by. */
#include "convert.h"
#include "errors.h"
#include "inference.h"

#include <string.h>

/* A float32 vector; `count` 0: of any length. */
static PyArrayObject *vector(PyObject *object, const char *name, npy_intp count,
                             const char *shape_text) {
    PyArrayObject *array = sqz_py_float_array(object, name, 1, shape_text);
    if (array && count && PyArray_SIZE(array) != count) {
        sqz_py_refuse_shape(array, name, shape_text);
        Py_CLEAR(array);
    }
    return array;
}

static PyArrayObject *new_vector(const float *values, size_t count) {
    npy_intp shape = (npy_intp)count;
    PyArrayObject *array = (PyArrayObject *)PyArray_SimpleNew(1, &shape, NPY_FLOAT32);
    if (array)
        memcpy(PyArray_DATA(array), values, count * sizeof *values);
    return array;
}

/* -- Quantisation ------------------------------------------------------------------------------ */

static PyObject *quantize(sqz_py_network *self, sqz_model *model, PyArrayObject *const *given) {
    sqz_quantization quantization = {.activation_scales = PyArray_DATA(given[2]),
                                     .activation_count = (size_t)PyArray_SIZE(given[2]),
                                     .weight_scales = PyArray_DATA(given[3]),
                                     .weight_scale_count = (size_t)PyArray_SIZE(given[3])};
    memcpy(quantization.mean, PyArray_DATA(given[0]), sizeof quantization.mean);
    memcpy(quantization.std, PyArray_DATA(given[1]), sizeof quantization.std);
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_model_quantize(model, &quantization, &error);
    Py_END_ALLOW_THREADS
    if (status != SQZ_OK)
        return sqz_py_raise_from((PyObject *)self, status, &error);
    Py_RETURN_NONE;
}

PyObject *sqz_py_quantize(sqz_py_network *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"mean", "std", "activation_scales", "weight_scales", NULL};
    enum { GIVEN = 4 };
    PyObject *objects[GIVEN], *result = NULL;
    PyArrayObject *given[GIVEN] = {NULL};
    sqz_model *model = sqz_py_network_model(self);
    if (!model || !PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO:set_quantization", names,
                                               &objects[0], &objects[1], &objects[2], &objects[3]))
        return NULL;
    bool fit = true;
    for (int i = 0; i < GIVEN && fit; i++) {
        given[i] = vector(objects[i], names[i], i < 2 ? 3 : 0, i < 2 ? "(3,)" : "(count,)");
        fit = given[i] != NULL;
    }
    if (fit)
        result = quantize(self, model, given);
    for (int i = 0; i < GIVEN; i++)
        Py_XDECREF(given[i]);
    return result;
}

static PyObject *quantization_dict(const sqz_quantization *quantization) {
    struct {
        const char *name;
        const float *values;
        size_t count;
    } rows[] = {
        {"mean", quantization->mean, 3},
        {"std", quantization->std, 3},
        {"activation_scales", quantization->activation_scales, quantization->activation_count},
        {"weight_scales", quantization->weight_scales, quantization->weight_scale_count}};
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < sizeof rows / sizeof *rows; i++) {
        PyArrayObject *array = new_vector(rows[i].values, rows[i].count);
        if (!array || PyDict_SetItemString(dict, rows[i].name, (PyObject *)array) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(array);
    }
    return dict;
}

PyObject *sqz_py_get_quantization(sqz_py_network *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0)
        return NULL;
    const sqz_quantization *quantization = sqz_model_quantization(model);
    PyObject *result = quantization ? quantization_dict(quantization) : Py_NewRef(Py_None);
    sqz_model_end_read(model);
    return result;
}

/* -- Observing --------------------------------------------------------------------------------- */

static PyObject *new_counts(npy_intp activations, int bins, bool counted) {
    npy_intp shape[2] = {activations, bins};
    return counted ? PyArray_ZEROS(2, shape, NPY_UINT64, 0) : NULL;
}

/* The counts where limits are given, else the maxima. */
static PyObject *observe(sqz_py_network *self, sqz_model *model, PyArrayObject *x,
                         const float *limits, npy_intp activations, int bins, const int *sides) {
    PyObject *maxima = PyArray_ZEROS(1, &activations, NPY_FLOAT32, 0);
    PyObject *counts = limits ? new_counts(activations, bins, true) : NULL;
    PyObject *result = NULL;
    if (maxima && (counts || !limits)) {
        sqz_error error;
        sqz_status status;
        float *to = PyArray_DATA((PyArrayObject *)maxima);
        uint64_t *into = counts ? PyArray_DATA((PyArrayObject *)counts) : NULL;
        Py_BEGIN_ALLOW_THREADS
        status = sqz_model_observe(model, to, into, limits, bins, PyArray_DATA(x), sides[0],
                                   sides[1], sides[2], &error);
        Py_END_ALLOW_THREADS
        result = status == SQZ_OK ? Py_NewRef(counts ? counts : maxima)
                                  : sqz_py_raise_from((PyObject *)self, status, &error);
    }
    Py_XDECREF(maxima);
    Py_XDECREF(counts);
    return result;
}

static npy_intp activation_count(const sqz_model *model) {
    sqz_error error;
    size_t count = 0;
    sqz_model_activation_groups(model, NULL, 0, &count, &error);
    return (npy_intp)count;
}

PyObject *sqz_py_observe(sqz_py_network *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"x", "limits", "bins", NULL};
    PyObject *x_given, *limits_given = Py_None, *result = NULL;
    int bins = 2048, sides[3];
    sqz_model *model = sqz_py_network_model(self);
    if (!model || !PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO&:observe", names, &x_given,
                                               &limits_given, sqz_py_to_int, &bins))
        return NULL;
    if (bins < 1) { /* an array of them is made before the library looks */
        PyErr_Format(PyExc_ValueError, "bins is %d, expected at least 1", bins);
        return NULL;
    }
    npy_intp activations = activation_count(model);
    PyArrayObject *x = sqz_py_pictures(x_given, false, &sides[0], &sides[1], &sides[2]);
    PyArrayObject *limits = x && limits_given != Py_None
                                ? vector(limits_given, "limits", activations, "(activations,)")
                                : NULL;
    if (x && (limits || limits_given == Py_None))
        result =
            observe(self, model, x, limits ? PyArray_DATA(limits) : NULL, activations, bins, sides);
    Py_XDECREF(x);
    Py_XDECREF(limits);
    return result;
}

PyObject *sqz_py_activation_groups(sqz_py_network *self, PyObject *unused) {
    (void)unused;
    enum { MOST = 256 };
    int groups[MOST];
    size_t count = 0;
    sqz_error error;
    sqz_model *model = sqz_py_network_model(self);
    if (!model)
        return NULL;
    sqz_status status = sqz_model_activation_groups(model, groups, MOST, &count, &error);
    if (status != SQZ_OK)
        return sqz_py_raise_from((PyObject *)self, status, &error);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *group = PyLong_FromLong(groups[i]);
        if (!group)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, group);
    }
    return list;
}
