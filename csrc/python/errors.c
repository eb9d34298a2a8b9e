/* errors.c: see errors.h. */
#include "errors.h"

#include <string.h>

/* Messages may hold a file name that is not UTF-8, or be cut in the middle of a character. */
static PyObject *message_of(const sqz_error *error) {
    return PyUnicode_DecodeUTF8(error->message, (Py_ssize_t)strlen(error->message),
                                "backslashreplace");
}

static PyObject *type_of(PyObject *module, sqz_status status) {
    switch (status) {
    case SQZ_INVALID:
        return PyExc_ValueError;
    case SQZ_NO_MEMORY:
        return PyExc_MemoryError;
    case SQZ_IO:
        return PyExc_OSError;
    case SQZ_BAD_FILE:
        return sqz_py_state(module)->bad_file_error;
    default:
        return PyExc_RuntimeError;
    }
}

PyObject *sqz_py_raise(PyObject *module, sqz_status status, const sqz_error *error) {
    if (status == SQZ_INTERRUPTED && PyErr_Occurred()) /* what the signal's handler raised */
        return NULL;
    PyObject *message = message_of(error);
    if (!message)
        return NULL;
    PyObject *type = type_of(module, status);
    if (status == SQZ_IO && error->system_errno) {
        /* OSError chooses its subclass (FileNotFoundError, ...) from errno. */
        PyObject *exception = PyObject_CallFunction(type, "iO", error->system_errno, message);
        if (exception) {
            PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
            Py_DECREF(exception);
        }
    } else {
        PyErr_SetObject(type, message);
    }
    Py_DECREF(message);
    return NULL;
}

PyObject *sqz_py_raise_from(PyObject *self, sqz_status status, const sqz_error *error) {
    PyObject *module = sqz_py_module_of(Py_TYPE(self));
    return module ? sqz_py_raise(module, status, error) : NULL;
}
