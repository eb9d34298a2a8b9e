/* codes.c: layers of coded weights, between bytes and int8 arrays. */
#include "errors.h"
#include "parts.h"

static PyObject *encode_weights(PyObject *module, PyObject *argument) {
    if (!PyArray_Check(argument))
        return PyErr_Format(PyExc_TypeError, "the weights are of type %s, expected an int8 array",
                            Py_TYPE(argument)->tp_name);
    if (PyArray_TYPE((PyArrayObject *)argument) != NPY_INT8)
        return PyErr_Format(PyExc_TypeError, "the weights have dtype %S, expected int8",
                            (PyObject *)PyArray_DESCR((PyArrayObject *)argument));
    /* A copy: the library looks at it twice, and other threads run meanwhile. */
    PyArrayObject *array =
        (PyArrayObject *)PyArray_FROM_OF(argument, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ENSURECOPY);
    if (!array)
        return NULL;
    uint8_t *bytes;
    size_t size_bytes;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_codes_encode(PyArray_DATA(array), (size_t)PyArray_SIZE(array), &bytes, &size_bytes,
                              &error);
    Py_END_ALLOW_THREADS
    Py_DECREF(array);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    PyObject *answer = PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)size_bytes);
    sqz_codes_free(bytes);
    return answer;
}

/* The GIL is kept: a layer takes no millisecond, and nobody changes the bytes meanwhile. */
static PyObject *decode_weights(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"data", "count", NULL};
    Py_buffer data;
    Py_ssize_t count;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*n:decode_weights", names, &data, &count))
        return NULL;
    PyObject *array = NULL;
    npy_intp shape = count;
    if (count < 0)
        PyErr_Format(PyExc_ValueError, "count is %zd, expected at least 0", count);
    else
        array = PyArray_SimpleNew(1, &shape, NPY_INT8);
    if (!array) {
        PyBuffer_Release(&data);
        return NULL;
    }
    size_t used_bytes;
    sqz_error error;
    sqz_status status =
        sqz_codes_decode(data.buf, (size_t)data.len, &used_bytes,
                         PyArray_DATA((PyArrayObject *)array), (size_t)count, &error);
    PyBuffer_Release(&data);
    if (status != SQZ_OK) {
        Py_DECREF(array);
        return sqz_py_raise(module, status, &error);
    }
    return Py_BuildValue("(Nn)", array, (Py_ssize_t)used_bytes);
}

static PyMethodDef functions[] = {
    {"encode_weights", encode_weights, METH_O,
     "encode_weights(weights) -> bytes\n\n"
     "An int8 array of at most 15 distinct values besides 0 as its Huffman codes, in the array's\n"
     "order; the same bytes for the same values. ValueError: more values."},
    {"decode_weights", (PyCFunction)(void (*)(void))decode_weights, METH_VARARGS | METH_KEYWORDS,
     "decode_weights(data, count) -> (weights, used)\n\n"
     "The `count` weights, an int8 array (count,), that the first `used` bytes of `data` code.\n"
     "BadFileError: they do not."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_codes(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
