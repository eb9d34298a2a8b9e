/* errors.h: the one place where a sqz_status becomes a Python exception. */
#ifndef SQZ_PYTHON_ERRORS_H
#define SQZ_PYTHON_ERRORS_H

#include "numpy_api.h"
#include "../sqz.h"

/* What the module keeps; sqz_py_state finds it from the module. */
typedef struct {
    PyObject *bad_file_error;
    PyTypeObject *network_type, *store_type, *loader_type;
} sqz_py_module_state;
sqz_py_module_state *sqz_py_state(PyObject *module);

/* The module behind one of its types or a subclass of one: a borrowed reference, or NULL with an
 * exception set. */
PyObject *sqz_py_module_of(PyTypeObject *type);

/* Sets the exception that belongs to status and returns NULL:
 * SQZ_INVALID ValueError, SQZ_NO_MEMORY MemoryError, SQZ_IO OSError (with errno, so that a missing
 * file is FileNotFoundError), SQZ_BAD_FILE BadFileError, SQZ_UNSUPPORTED, SQZ_BUSY and SQZ_INTERNAL
 * RuntimeError. SQZ_INTERRUPTED leaves the exception of the signal's handler, KeyboardInterrupt. */
PyObject *sqz_py_raise(PyObject *module, sqz_status status, const sqz_error *error);

/* The same from a method: `self` is an object of one of the module's types, or of a subclass. */
PyObject *sqz_py_raise_from(PyObject *self, sqz_status status, const sqz_error *error);

#endif
