/* convert.c: see convert.h. */
#include "convert.h"

#include <limits.h>

int sqz_py_to_uint64(PyObject *object, void *result) {
    PyObject *number = PyNumber_Index(object);
    if (!number)
        return 0;
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (value == (unsigned long long)-1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError))
            PyErr_Format(PyExc_ValueError, "%R is outside 0..2**64-1, where seeds and steps lie",
                         object);
        return 0;
    }
    *(uint64_t *)result = value;
    return 1;
}

int sqz_py_to_int(PyObject *object, void *result) {
    PyObject *number = PyNumber_Index(object);
    if (!number)
        return 0;
    int overflow;
    long value = PyLong_AsLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (value == -1 && PyErr_Occurred())
        return 0;
    if (overflow || value > INT_MAX || value < INT_MIN) {
        PyErr_Format(PyExc_ValueError, "%R is out of range, expected a 32-bit integer", object);
        return 0;
    }
    *(int *)result = (int)value;
    return 1;
}

int sqz_py_to_fit(PyObject *object, void *result) {
    static const char *const names[] = {[SQZ_FIT_PAD] = "pad", [SQZ_FIT_CROP] = "crop"};
    for (int i = 0; i < 2; i++)
        if (PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, names[i]) == 0) {
            *(sqz_fit *)result = (sqz_fit)i;
            return 1;
        }
    PyErr_Format(PyExc_ValueError, "fit is %R, expected 'pad' or 'crop'", object);
    return 0;
}

PyObject *sqz_py_shape(const int *shape, int rank) {
    PyObject *tuple = PyTuple_New(rank);
    for (int i = 0; tuple && i < rank; i++) {
        PyObject *side = PyLong_FromLong(shape[i]);
        if (!side) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, side);
    }
    return tuple;
}

PyObject *sqz_py_array_shape(PyArrayObject *array) {
    return PyArray_IntTupleFromIntp(PyArray_NDIM(array), PyArray_DIMS(array));
}

void *sqz_py_refuse_shape(PyArrayObject *array, const char *name, const char *shape_text) {
    PyObject *shape = sqz_py_array_shape(array);
    if (shape)
        PyErr_Format(PyExc_ValueError, "%s has shape %R, expected %s", name, shape, shape_text);
    Py_XDECREF(shape);
    return NULL;
}

PyArrayObject *sqz_py_float_array(PyObject *object, const char *name, int rank,
                                  const char *shape_text) {
    if (!PyArray_Check(object))
        return (PyArrayObject *)PyErr_Format(
            PyExc_TypeError, "%s is of type %s, expected a float32 array of shape %s", name,
            Py_TYPE(object)->tp_name, shape_text);
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_TYPE(array) != NPY_FLOAT32)
        return (PyArrayObject *)PyErr_Format(PyExc_TypeError, "%s has dtype %S, expected float32",
                                             name, (PyObject *)PyArray_DESCR(array));
    if (PyArray_NDIM(array) != rank || PyArray_SIZE(array) == 0)
        return sqz_py_refuse_shape(array, name, shape_text);
    return (PyArrayObject *)PyArray_FROM_OTF(object, NPY_FLOAT32, NPY_ARRAY_IN_ARRAY);
}

PyArrayObject *sqz_py_index_array(PyObject *object, const char *name, npy_intp count) {
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_O(object);
    if (!array)
        return NULL;
    if (!PyTypeNum_ISINTEGER(PyArray_TYPE(array)) && PyArray_SIZE(array) > 0) {
        PyErr_Format(PyExc_TypeError, "%s has dtype %S, expected integers", name,
                     (PyObject *)PyArray_DESCR(array));
        Py_DECREF(array);
        return NULL;
    }
    if (PyArray_NDIM(array) != 1 || PyArray_SIZE(array) != count) {
        char expected[40];
        PyOS_snprintf(expected, sizeof expected, "(%lld,)", (long long)count);
        sqz_py_refuse_shape(array, name, expected);
        Py_DECREF(array);
        return NULL;
    }
    /* A copy even of the right type: it is checked and used while other threads run. */
    PyArrayObject *result = (PyArrayObject *)PyArray_FROM_OTF(
        (PyObject *)array, NPY_INT64,
        NPY_ARRAY_IN_ARRAY | NPY_ARRAY_FORCECAST | NPY_ARRAY_ENSURECOPY);
    Py_DECREF(array);
    return result;
}
