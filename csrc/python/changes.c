/* changes.c: what becomes of training pictures: drawn, as rows of an int32 array, and done. */
#include <limits.h>

#include "../base/parallel.h"
#include "../image/augment.h"
#include "convert.h"
#include "errors.h"
#include "parts.h"

/* -- Drawing ----------------------------------------------------------------------------------- */

/* The members by name, of a dict that may leave some out. False with an exception set. */
static bool augmentation_of(sqz_augmentation *augmentation, PyObject *given) {
    size_t count;
    const sqz_augmentation_field *fields = sqz_augmentation_fields(&count);
    Py_ssize_t left = PyDict_Size(given);
    *augmentation = (sqz_augmentation){0};
    for (size_t i = 0; i < count; i++) {
        PyObject *value = PyDict_GetItemString(given, fields[i].name);
        void *member = (char *)augmentation + fields[i].offset;
        if (!value)
            continue;
        left--;
        if (fields[i].flag) {
            if (!PyBool_Check(value)) {
                PyErr_Format(PyExc_ValueError, "%s is %R, expected True or False", fields[i].name,
                             value);
                return false;
            }
            *(bool *)member = value == Py_True;
            continue;
        }
        *(double *)member = PyBool_Check(value) ? -1 : PyFloat_AsDouble(value);
        if (PyBool_Check(value) || PyErr_Occurred()) {
            char largest[32];
            PyOS_snprintf(largest, sizeof largest, "%g", fields[i].largest);
            PyErr_Format(PyExc_ValueError, "%s is %R, expected a number from 0 to %s",
                         fields[i].name, value, largest);
            return false;
        }
    }
    if (left != 0)
        PyErr_Format(PyExc_ValueError, "augmentation is %R, which has names that are none of its",
                     given);
    return left == 0;
}

static PyObject *drawn(PyArrayObject *indices, const sqz_augmentation *augmentation, int h, int w,
                       uint64_t seed, uint64_t epoch) {
    npy_intp shape[2] = {PyArray_DIM(indices, 0), SQZ_CHANGE_NUMBERS};
    PyObject *changes = PyArray_SimpleNew(2, shape, NPY_INT32);
    sqz_change *rows = changes ? PyArray_DATA((PyArrayObject *)changes) : NULL;
    for (npy_intp i = 0; rows && i < shape[0]; i++) {
        int64_t index = ((const int64_t *)PyArray_DATA(indices))[i];
        if (index < 0) {
            PyErr_Format(PyExc_ValueError, "indices[%zd] is %lld, expected at least 0",
                         (Py_ssize_t)i, (long long)index);
            Py_DECREF(changes);
            return NULL;
        }
        sqz_change_draw(&rows[i], augmentation, h, w, seed, epoch, (uint64_t)index, NULL);
    }
    return changes;
}

static PyObject *draw_changes(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"augmentation", "seed", "epoch", "indices", "height", "width", NULL};
    PyObject *given, *indices_given;
    uint64_t seed, epoch;
    int h, w;
    sqz_augmentation augmentation;
    sqz_error error;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O&O&OO&O&:draw_changes", names,
                                     &PyDict_Type, &given, sqz_py_to_uint64, &seed,
                                     sqz_py_to_uint64, &epoch, &indices_given, sqz_py_to_int, &h,
                                     sqz_py_to_int, &w) ||
        !augmentation_of(&augmentation, given))
        return NULL;
    sqz_status status =
        sqz_augmentation_check(&augmentation, h, w, &error); /* so of no picture too */
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    PyArrayObject *indices =
        (PyArrayObject *)PyArray_ContiguousFromAny(indices_given, NPY_INT64, 1, 1);
    PyObject *changes = indices ? drawn(indices, &augmentation, h, w, seed, epoch) : NULL;
    Py_XDECREF(indices);
    return changes;
}

/* -- Doing ------------------------------------------------------------------------------------- */

static sqz_status change_all(uint8_t *out, const uint8_t *in, npy_intp n, int h, int w,
                             const sqz_change *changes, sqz_error *error) {
    npy_intp bytes = 3 * (npy_intp)h * w;
    int threads = sqz_threads_take(n < SQZ_MAX_THREADS ? (int)n : SQZ_MAX_THREADS);
    sqz_status status = sqz_threads_ready(threads, error);
    if (status == SQZ_OK) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (npy_intp i = 0; i < n; i++)
            sqz_image_change(out + i * bytes, in + i * bytes, h, w, &changes[i]);
    }
    sqz_threads_give(threads);
    return status;
}

static PyObject *change_pictures(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"pictures", "changes", NULL};
    PyObject *pictures_given, *changes_given, *out = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO:change_pictures", names, &pictures_given,
                                     &changes_given))
        return NULL;
    PyArrayObject *pictures = sqz_py_byte_array(pictures_given, "pictures", 4, 3,
                                                "(N, height, width, 3) with sides of at least 1");
    if (!pictures)
        return NULL;
    npy_intp n = PyArray_DIM(pictures, 0);
    PyArrayObject *changes = sqz_py_changes(changes_given, n);
    if (changes)
        out = PyArray_SimpleNew(4, PyArray_DIMS(pictures), NPY_UINT8);
    if (out && n > 0) {
        sqz_error error;
        sqz_status status;
        Py_BEGIN_ALLOW_THREADS
        status = change_all(PyArray_DATA((PyArrayObject *)out), PyArray_DATA(pictures), n,
                            (int)PyArray_DIM(pictures, 1), (int)PyArray_DIM(pictures, 2),
                            PyArray_DATA(changes), &error);
        Py_END_ALLOW_THREADS
        if (status != SQZ_OK) {
            Py_CLEAR(out);
            sqz_py_raise(module, status, &error);
        }
    }
    Py_XDECREF(changes);
    Py_DECREF(pictures);
    return out;
}

static PyMethodDef functions[] = {
    {"draw_changes", (PyCFunction)(void (*)(void))draw_changes, METH_VARARGS | METH_KEYWORDS,
     "draw_changes(augmentation, seed, epoch, indices, height, width) -> changes\n\n"
     "What becomes of pictures of these numbers in that epoch: a row of int32 for each, as\n"
     "csrc/image/augment.h has them. augmentation: a dict of AUGMENTATION's names; what is left "
     "out\n"
     "is not done. ValueError: a value that is out of its range."},
    {"change_pictures", (PyCFunction)(void (*)(void))change_pictures, METH_VARARGS | METH_KEYWORDS,
     "change_pictures(pictures, changes) -> array\n\n"
     "(N, h, w, 3) uint8 as the N changes make them."},
    {NULL, NULL, 0, NULL}};

/* {name: largest value}, of flags True. */
static PyObject *fields_dict(void) {
    size_t count;
    const sqz_augmentation_field *fields = sqz_augmentation_fields(&count);
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < count; i++) {
        PyObject *largest =
            fields[i].flag ? Py_NewRef(Py_True) : PyFloat_FromDouble(fields[i].largest);
        if (!largest || PyDict_SetItemString(dict, fields[i].name, largest) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(largest);
    }
    return dict;
}

int sqz_py_add_changes(PyObject *module) {
    PyObject *fields = fields_dict();
    int result = PyModule_AddObjectRef(module, "AUGMENTATION", fields);
    Py_XDECREF(fields);
    return result < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
