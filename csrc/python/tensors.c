/* tensors.c: one flat array as a dict of named tensors, and back. */
#include "convert.h"
#include "network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static PyObject *copy_of(const sqz_parameter *tensor, const float *flat) {
    npy_intp shape[4];
    for (int i = 0; i < tensor->rank; i++)
        shape[i] = tensor->shape[i];
    PyObject *array = PyArray_SimpleNew(tensor->rank, shape, NPY_FLOAT32);
    if (array)
        memcpy(PyArray_DATA((PyArrayObject *)array), flat + tensor->offset,
               tensor->count * sizeof(float));
    return array;
}

static PyObject *view_of(const sqz_parameter *tensor, float *flat, PyObject *owner) {
    npy_intp shape[4];
    for (int i = 0; i < tensor->rank; i++)
        shape[i] = tensor->shape[i];
    PyObject *array =
        PyArray_SimpleNewFromData(tensor->rank, shape, NPY_FLOAT32, flat + tensor->offset);
    if (!array)
        return NULL;
    PyArray_CLEARFLAGS((PyArrayObject *)array, NPY_ARRAY_WRITEABLE);
    if (PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(owner)) < 0) {
        Py_DECREF(array);
        return NULL;
    }
    return array;
}

/* dict[its name] = array; takes over the array, which may be NULL after an error. After one
 * the dict is NULL. */
static void add_tensor(PyObject **dict, const sqz_parameter *tensor, PyObject *array) {
    if (!array || PyDict_SetItemString(*dict, tensor->name, array) < 0)
        Py_CLEAR(*dict);
    Py_XDECREF(array);
}

/* owner NULL: copies. */
static PyObject *dict_of(const sqz_model *model, float *flat, PyObject *owner) {
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < sqz_model_tensor_count(model); i++) {
        const sqz_parameter *tensor = sqz_model_tensor(model, i);
        add_tensor(&dict, tensor, owner ? view_of(tensor, flat, owner) : copy_of(tensor, flat));
    }
    return dict;
}

PyObject *sqz_py_tensors_of_rows(const sqz_parameter *rows, size_t count, const float *flat) {
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < count; i++)
        add_tensor(&dict, &rows[i], copy_of(&rows[i], flat));
    return dict;
}

PyObject *sqz_py_tensors_copied(const sqz_model *model, const float *flat) {
    return dict_of(model, (float *)flat, NULL);
}

PyObject *sqz_py_tensors_viewed(const sqz_model *model, float *flat, PyObject *owner) {
    return dict_of(model, flat, owner);
}

/* -- Back -------------------------------------------------------------------------------------- */

static int check_keys(const sqz_model *model, PyObject *state, const char *what) {
    for (size_t i = 0; i < sqz_model_tensor_count(model); i++) {
        const char *name = sqz_model_tensor(model, i)->name;
        PyObject *key = PyUnicode_FromString(name);
        int found = key ? PyDict_Contains(state, key) : -1;
        Py_XDECREF(key);
        if (found < 0)
            return -1;
        if (!found) {
            PyErr_Format(PyExc_ValueError, "%s has no tensor '%s', which the network has", what,
                         name);
            return -1;
        }
    }
    PyObject *key, *value;
    for (Py_ssize_t position = 0; PyDict_Next(state, &position, &key, &value);) {
        bool known = false;
        for (size_t i = 0; !known && PyUnicode_Check(key) && i < sqz_model_tensor_count(model); i++)
            known = PyUnicode_CompareWithASCIIString(key, sqz_model_tensor(model, i)->name) == 0;
        if (!known) {
            PyErr_Format(PyExc_ValueError, "%s has a tensor %R, which the network has not", what,
                         key);
            return -1;
        }
    }
    return 0;
}

static int check_shape(const sqz_parameter *tensor, PyArrayObject *array) {
    bool same = PyArray_NDIM(array) == tensor->rank;
    for (int i = 0; same && i < tensor->rank; i++)
        same = PyArray_DIM(array, i) == tensor->shape[i];
    if (same)
        return 0;
    PyObject *found = sqz_py_array_shape(array);
    PyObject *expected = sqz_py_shape(tensor->shape, tensor->rank);
    if (found && expected)
        PyErr_Format(PyExc_ValueError, "'%s' has shape %R, expected %R", tensor->name, found,
                     expected);
    Py_XDECREF(found);
    Py_XDECREF(expected);
    return -1;
}

static int read_values(float *values, const sqz_parameter *tensor, PyArrayObject *array) {
    if (!PyTypeNum_ISFLOAT(PyArray_TYPE(array)) && !PyTypeNum_ISINTEGER(PyArray_TYPE(array))) {
        PyErr_Format(PyExc_TypeError, "'%s' has dtype %S, expected real numbers", tensor->name,
                     (PyObject *)PyArray_DESCR(array));
        return -1;
    }
    if (check_shape(tensor, array) < 0)
        return -1;
    PyArrayObject *converted = (PyArrayObject *)PyArray_FROM_OTF(
        (PyObject *)array, NPY_FLOAT32, NPY_ARRAY_IN_ARRAY | NPY_ARRAY_FORCECAST);
    if (!converted)
        return -1;
    memcpy(values, PyArray_DATA(converted), tensor->count * sizeof(float));
    Py_DECREF(converted);
    for (size_t i = 0; i < tensor->count; i++)
        if (!isfinite(values[i])) {
            PyErr_Format(PyExc_ValueError, "'%s' has NaN or infinity", tensor->name);
            return -1;
        }
    return 0;
}

static int read_all(float *flat, const sqz_model *model, PyObject *state) {
    for (size_t i = 0; i < sqz_model_tensor_count(model); i++) {
        const sqz_parameter *tensor = sqz_model_tensor(model, i);
        PyObject *value = Py_XNewRef(PyDict_GetItemString(state, tensor->name));
        PyObject *array = value ? PyArray_FROM_O(value) : NULL;
        Py_XDECREF(value);
        if (!array)
            return -1;
        int result = read_values(flat + tensor->offset, tensor, (PyArrayObject *)array);
        Py_DECREF(array);
        if (result < 0)
            return -1;
    }
    return 0;
}

int sqz_py_tensors_read(float *flat, const sqz_model *model, PyObject *state, const char *what) {
    if (!PyDict_Check(state)) {
        PyErr_Format(PyExc_TypeError, "%s is of type %s, expected a dict", what,
                     Py_TYPE(state)->tp_name);
        return -1;
    }
    if (check_keys(model, state, what) < 0)
        return -1;
    size_t size_bytes = sqz_model_parameter_count(model) * sizeof(float);
    float *values = malloc(size_bytes);
    if (!values) {
        PyErr_NoMemory();
        return -1;
    }
    int result = read_all(values, model, state);
    if (result == 0)
        memcpy(flat, values, size_bytes);
    free(values);
    return result;
}
