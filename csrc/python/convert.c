/* convert.c: see convert.h. */
#include "convert.h"

#include <limits.h>
#include <math.h>

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

PyArrayObject *sqz_py_byte_array(PyObject *object, const char *name, int rank, int channels,
                                 const char *shape) {
    if (!PyArray_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s is a %s, expected a NumPy array of uint8", name,
                     Py_TYPE(object)->tp_name);
        return NULL;
    }
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_TYPE(array) != NPY_UINT8) {
        PyErr_Format(PyExc_TypeError, "%s is an array of %S, expected uint8", name,
                     (PyObject *)PyArray_DESCR(array));
        return NULL;
    }
    bool fits = PyArray_NDIM(array) == rank;
    for (int i = 0; fits && i < rank; i++) {
        npy_intp least = i == 0 && rank != 3 ? 0 : 1;
        fits = PyArray_DIM(array, i) >= least &&
               ((i == 0 && rank != 3) || PyArray_DIM(array, i) <= INT_MAX);
    }
    if (!fits || (channels && PyArray_DIM(array, rank - 1) != channels))
        return sqz_py_refuse_shape(array, name, shape);
    return (PyArrayObject *)PyArray_FROM_OF(object, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED);
}

bool sqz_py_channels(float values[3], PyObject *object, const char *name, bool positive) {
    PyObject *sequence = PySequence_Fast(object, "mean and std are sequences of 3 numbers");
    if (!sequence)
        return false;
    bool fits = PySequence_Fast_GET_SIZE(sequence) == 3;
    if (!fits)
        PyErr_Format(PyExc_ValueError, "%s has %zd numbers, expected 3", name,
                     PySequence_Fast_GET_SIZE(sequence));
    for (int c = 0; fits && c < 3; c++) {
        PyObject *item = PySequence_Fast_GET_ITEM(sequence, c);
        values[c] = (float)PyFloat_AsDouble(item);
        fits = !PyErr_Occurred();
        if (fits && (!isfinite(values[c]) || (positive && values[c] <= 0.0f))) {
            PyErr_Format(PyExc_ValueError, "%s[%d] is %R, expected a finite number%s", name, c,
                         item, positive ? " above 0" : "");
            fits = false;
        }
    }
    Py_DECREF(sequence);
    return fits;
}

PyArrayObject *sqz_py_changes(PyObject *object, npy_intp count) {
    PyArrayObject *changes = (PyArrayObject *)PyArray_FROM_O(object);
    if (!changes)
        return NULL;
    if (PyArray_TYPE(changes) != NPY_INT32 || PyArray_NDIM(changes) != 2 ||
        PyArray_DIM(changes, 0) != count || PyArray_DIM(changes, 1) != SQZ_CHANGE_NUMBERS) {
        PyObject *shape = sqz_py_array_shape(changes);
        if (shape)
            PyErr_Format(PyExc_ValueError,
                         "changes is an array of %S and shape %R, expected int32 and (%zd, %d), as "
                         "draw_changes gives them",
                         (PyObject *)PyArray_DESCR(changes), shape, (Py_ssize_t)count,
                         SQZ_CHANGE_NUMBERS);
        Py_XDECREF(shape);
        Py_DECREF(changes);
        return NULL;
    }
    PyArrayObject *result = (PyArrayObject *)PyArray_FROM_OTF(
        (PyObject *)changes, NPY_INT32, NPY_ARRAY_IN_ARRAY | NPY_ARRAY_ENSURECOPY);
    Py_DECREF(changes);
    return result;
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
