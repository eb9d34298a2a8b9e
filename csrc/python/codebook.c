/* codebook.c: weights that share values, on plain arrays. */
#include "convert.h"
#include "errors.h"
#include "parts.h"

/* The arrays of a call, for release. */
typedef struct {
    PyArrayObject *numbers; /* values, or gradients */
    PyArrayObject *units, *codes;
    sqz_codebook codebook;
} arguments;

static void release(arguments *given) {
    Py_XDECREF(given->numbers);
    Py_XDECREF(given->units);
    Py_XDECREF(given->codes);
}

/* 0, or -1 with an exception set; to be released either way. */
static int read_codebook(arguments *given, PyObject *units, PyObject *codes) {
    given->units = sqz_py_float_array(units, "units", 1, "(rows,)");
    if (!given->units)
        return -1;
    if (!PyArray_Check(codes) || PyArray_TYPE((PyArrayObject *)codes) != NPY_UINT8) {
        PyErr_SetString(PyExc_TypeError, "codes is no uint8 array");
        return -1;
    }
    given->codes = (PyArrayObject *)PyArray_FROM_OF(codes, NPY_ARRAY_C_CONTIGUOUS);
    if (!given->codes)
        return -1;
    if (PyArray_NDIM(given->codes) != 2 ||
        PyArray_DIM(given->codes, 0) != PyArray_DIM(given->units, 0)) {
        sqz_py_refuse_shape(given->codes, "codes", "(rows, columns)");
        return -1;
    }
    given->codebook = (sqz_codebook){.rows = (size_t)PyArray_DIM(given->codes, 0),
                                     .columns = (size_t)PyArray_DIM(given->codes, 1),
                                     .units = PyArray_DATA(given->units),
                                     .codes = PyArray_DATA(given->codes)};
    return 0;
}

static PyObject *codebook_weights(PyObject *module, PyObject *args) {
    PyObject *values, *units, *codes, *result = NULL;
    arguments given = {0};
    sqz_error error;
    if (!PyArg_ParseTuple(args, "OOO:codebook_weights", &values, &units, &codes))
        return NULL;
    given.numbers = sqz_py_float_array(values, "values", 1, "(values,)");
    if (given.numbers && read_codebook(&given, units, codes) == 0)
        result = PyArray_SimpleNew(2, PyArray_DIMS(given.codes), NPY_FLOAT32);
    if (result) {
        given.codebook.value_count = (size_t)PyArray_SIZE(given.numbers);
        sqz_status status =
            sqz_codebook_weights(PyArray_DATA((PyArrayObject *)result), &given.codebook,
                                 PyArray_DATA(given.numbers), &error);
        if (status != SQZ_OK) {
            Py_CLEAR(result);
            sqz_py_raise(module, status, &error);
        }
    }
    release(&given);
    return result;
}

static PyObject *codebook_gradients(PyObject *module, PyObject *args) {
    PyObject *gradients, *units, *codes, *result = NULL;
    arguments given = {0};
    sqz_error error;
    int count;
    if (!PyArg_ParseTuple(args, "OOOO&:codebook_gradients", &gradients, &units, &codes,
                          sqz_py_to_int, &count))
        return NULL;
    given.numbers = sqz_py_float_array(gradients, "gradients", 2, "(rows, columns)");
    if (given.numbers && read_codebook(&given, units, codes) == 0) {
        if (!PyArray_SAMESHAPE(given.numbers, given.codes))
            sqz_py_refuse_shape(given.numbers, "gradients", "that of codes");
        else if (count < 1)
            PyErr_Format(PyExc_ValueError, "%d values, expected at least 1", count);
        else {
            npy_intp shape = count;
            result = PyArray_SimpleNew(1, &shape, NPY_FLOAT32);
        }
    }
    if (result) {
        given.codebook.value_count = (size_t)count;
        sqz_status status =
            sqz_codebook_gradients(PyArray_DATA((PyArrayObject *)result), &given.codebook,
                                   PyArray_DATA(given.numbers), &error);
        if (status != SQZ_OK) {
            Py_CLEAR(result);
            sqz_py_raise(module, status, &error);
        }
    }
    release(&given);
    return result;
}

static PyMethodDef functions[] = {
    {"codebook_weights", codebook_weights, METH_VARARGS,
     "codebook_weights(values, units, codes) -> weights\n\n"
     "units[row] * values[codes[row, column]], float32. ValueError: a code is none of the values."},
    {"codebook_gradients", codebook_gradients, METH_VARARGS,
     "codebook_gradients(gradients, units, codes, count) -> sums\n\n"
     "Of each of `count` values the sum over its weights of their unit times their gradient."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_codebook(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
