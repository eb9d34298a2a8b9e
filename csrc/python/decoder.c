/* decoder.c: set_decoder, the Python function that decodes what the library does not (TIFF, WebP).
 *
 * It is called from any thread, a loader's too, which takes the GIL for it. Python must not end
 * meanwhile: a thread that asks an interpreter that has ended for its GIL never comes back. So what
 * ends Python (an atexit handler) takes the function away by set_decoder(None), which returns once
 * nobody is in it. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "convert.h"
#include "errors.h"
#include "parts.h"

static PyObject *function;       /* owned; read and written with the GIL */
static PyObject *bad_file_error; /* of the module, which is never unloaded */
static atomic_bool is_open;      /* whether there is a function */
static atomic_int inside;        /* threads between enter and leave */
static atomic_int process;       /* that counts them: a fork has none of the threads */

static bool enter(void) {
    atomic_fetch_add(&inside, 1);
    if (atomic_load(&is_open))
        return true;
    atomic_fetch_sub(&inside, 1);
    return false;
}

static void leave(void) {
    atomic_fetch_sub(&inside, 1);
}

/* Until nobody is inside; without the GIL. */
static void wait_for_others(void) {
    const struct timespec moment = {.tv_nsec = 1000000};
    while (atomic_load(&inside) > 0 && atomic_load(&process) == getpid())
        nanosleep(&moment, NULL);
}

/* The message of the exception that is set, and what kind it was. What a signal's handler raised
 * stays set, for who called the library from this thread. */
static sqz_status take_exception(sqz_error *error) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        snprintf(error->message, sizeof error->message, "interrupted");
        return SQZ_INTERRUPTED;
    }
    sqz_status status = PyErr_ExceptionMatches(bad_file_error)      ? SQZ_BAD_FILE
                        : PyErr_ExceptionMatches(PyExc_MemoryError) ? SQZ_NO_MEMORY
                                                                    : SQZ_INTERNAL;
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *value = PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
#endif
    PyObject *text = value ? PyObject_Str(value) : NULL;
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "surrogateescape") : NULL;
    const char *said = bytes ? PyBytes_AS_STRING(bytes) : "a picture could not be decoded";
    snprintf(error->message, sizeof error->message, "%s", said);
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    Py_XDECREF(value);
    return status;
}

static sqz_status copy_picture(sqz_image *image, PyArrayObject *picture, sqz_error *error) {
    size_t size_bytes = (size_t)PyArray_NBYTES(picture);
    uint8_t *pixels = malloc(size_bytes);
    if (!pixels) {
        snprintf(error->message, sizeof error->message, "out of memory for a picture (%zu bytes)",
                 size_bytes);
        return SQZ_NO_MEMORY;
    }
    memcpy(pixels, PyArray_DATA(picture), size_bytes);
    *image = (sqz_image){
        .h = (int)PyArray_DIM(picture, 0), .w = (int)PyArray_DIM(picture, 1), .pixels = pixels};
    return SQZ_OK;
}

/* With the GIL. */
static sqz_status call_function(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                                const char *name, sqz_error *error) {
    PyObject *path = PyUnicode_DecodeFSDefault(name);
    PyObject *found = path ? PyObject_CallFunction(function, "y#O", (const char *)bytes,
                                                   (Py_ssize_t)size_bytes, path)
                           : NULL;
    PyArrayObject *picture = found ? sqz_py_picture_array(found, "a decoded picture") : NULL;
    sqz_status status = picture ? copy_picture(image, picture, error) : take_exception(error);
    Py_XDECREF(picture);
    Py_XDECREF(found);
    Py_XDECREF(path);
    return status;
}

static sqz_status decode(sqz_image *image, const uint8_t *bytes, size_t size_bytes,
                         const char *name, sqz_error *error) {
    sqz_error unheard; /* `error` may be NULL */
    error = error ? error : &unheard;
    if (!enter()) {
        snprintf(error->message, sizeof error->message, "%s: Python is ending", name);
        return SQZ_INTERNAL;
    }
    PyGILState_STATE state = PyGILState_Ensure();
    sqz_status status = call_function(image, bytes, size_bytes, name, error);
    PyGILState_Release(state);
    leave();
    return status;
}

static PyObject *set_decoder(PyObject *module, PyObject *argument) {
    (void)module;
    if (argument != Py_None && !PyCallable_Check(argument))
        return PyErr_Format(PyExc_TypeError, "a decoder is a %s, expected a function or None",
                            Py_TYPE(argument)->tp_name);
    sqz_image_set_decoder(NULL);
    atomic_store(&is_open, false);
    Py_BEGIN_ALLOW_THREADS
    wait_for_others();
    Py_END_ALLOW_THREADS
    Py_CLEAR(function);
    if (argument != Py_None) {
        function = Py_NewRef(argument);
        if (atomic_exchange(&process, getpid()) != getpid())
            atomic_store(&inside, 0);
        atomic_store(&is_open, true);
        sqz_image_set_decoder(decode);
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"set_decoder", set_decoder, METH_O,
     "set_decoder(function)\n\n"
     "function(data, name) -> (height, width, 3) uint8 array decodes the bytes of TIFF and WebP\n"
     "files from now on, on any thread; BadFileError: they are damaged. None: they are refused."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_decoder(PyObject *module) {
    bad_file_error = sqz_py_state(module)->bad_file_error;
    return PyModule_AddFunctions(module, functions);
}
