/* numpy_api.h: the one way this folder includes Python.h and NumPy. NumPy's function table is a
 * static of the file that imports it; module.c defines SQZ_IMPORT_NUMPY and does, the others share.
 */
#ifndef SQZ_PYTHON_NUMPY_API_H
#define SQZ_PYTHON_NUMPY_API_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL sqz_numpy_api
#ifndef SQZ_IMPORT_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#endif
