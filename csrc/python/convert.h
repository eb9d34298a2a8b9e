/* convert.h: Python's arguments as the C library wants them, with one clear sentence for each that
 * is not. */
#ifndef SQZ_PYTHON_CONVERT_H
#define SQZ_PYTHON_CONVERT_H

#include "numpy_api.h"
#include "../sqz.h"

/* Converters for PyArg_Parse's "O&". They return 1, or 0 with an exception set. */
int sqz_py_to_uint64(PyObject *object, void *result); /* uint64_t: seeds and steps */
int sqz_py_to_int(PyObject *object, void *result);    /* int; ValueError where it does not fit */
int sqz_py_to_fit(PyObject *object, void *result);    /* sqz_fit, of its name */

/* A new reference to `object` as a C-contiguous float32 array in native byte order, a copy only if
 * need be. TypeError: no array, or another dtype. ValueError: not `rank` dimensions, or an empty
 * one. `name` and `shape_text` ("(N, 3, H, W)") are for the messages. */
PyArrayObject *sqz_py_float_array(PyObject *object, const char *name, int rank,
                                  const char *shape_text);

/* A new reference to `object` as a C-contiguous uint8 array with `rank` dimensions, the last
 * `channels` long (0: any). A batch, which is what other ranks than a picture's 3 have first, may
 * be empty. TypeError, ValueError. */
PyArrayObject *sqz_py_byte_array(PyObject *object, const char *name, int rank, int channels,
                                 const char *shape);

/* Three finite numbers as float32, all above 0 if `positive`; false with an exception set. */
bool sqz_py_channels(float values[3], PyObject *object, const char *name, bool positive);

/* `count` rows of sqz_change, a copy. ValueError: another array. */
PyArrayObject *sqz_py_changes(PyObject *object, npy_intp count);

/* A new reference to `object` as a C-contiguous (h, w, 3) uint8 array, a copy only if need be.
 * TypeError: no array, or another dtype. ValueError: another shape. */
PyArrayObject *sqz_py_picture_array(PyObject *object, const char *name);

/* Anything array-like of integers, copied to a 1-D C-contiguous int64 array of `count` elements: no
 * other thread can change them once they are checked. TypeError: no integers. ValueError: another
 * shape. */
PyArrayObject *sqz_py_index_array(PyObject *object, const char *name, npy_intp count);

/* Sets ValueError, "<name> has shape (2, 3), expected <shape_text>", and returns NULL. */
void *sqz_py_refuse_shape(PyArrayObject *array, const char *name, const char *shape_text);

/* "(2, 3)" of a shape, a new reference to a tuple. */
PyObject *sqz_py_shape(const int *shape, int rank);
PyObject *sqz_py_array_shape(PyArrayObject *array);

#endif
