/* spec.h: a spec from a call's arguments, and back to a dict, by the library's table of fields. */
#ifndef SQZ_PYTHON_SPEC_H
#define SQZ_PYTHON_SPEC_H

#include "numpy_api.h"
#include "../sqz.h"

/* The spec of a call of `function`, for messages: its first two fields may be given by position,
 * all by name, and others than `seed` (NULL: the function has none) have no name. -1 with an
 * exception set: TypeError for a wrong type, ValueError for a wrong word or a number that fits no
 * int. Ranges are for sqz_spec_check. */
int sqz_py_spec_parse(sqz_spec *spec, uint64_t *seed, PyObject *args, PyObject *kwargs,
                      const char *function);

/* {field: value}, in the table's order; a new reference. */
PyObject *sqz_py_spec_dict(const sqz_spec *spec);

/* The rows of sqz_spec_parameters, for free(); NULL with an exception set. */
sqz_parameter *sqz_py_spec_parameters(PyObject *module, const sqz_spec *spec, size_t *count);

#endif
