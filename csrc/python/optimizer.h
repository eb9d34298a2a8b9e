/* optimizer.h: an optimizer as Python's object, of which optimizer.c is the types and
 * optimizer_state.c what is kept of one. */
#ifndef SQZ_PYTHON_OPTIMIZER_H
#define SQZ_PYTHON_OPTIMIZER_H

#include "network.h"

typedef struct {
    PyObject_HEAD sqz_py_network *network; /* NULL until __init__ is through */
    sqz_optimizer *optimizer;
} sqz_py_optimizer;

/* The network's model, or NULL with an exception set where __init__ has not run. */
sqz_model *sqz_py_optimizer_model(sqz_py_optimizer *self);

/* A list of (floats, lr_scale, weight_decay). */
PyObject *sqz_py_spans_of(const sqz_optimizer *optimizer);
/* -1 with an exception set, and the optimizer as it was. `self` is for the exception; `model` is
 * written meanwhile, so that nobody is in a step or puts another optimizer there, unless it is
 * NULL. */
int sqz_py_set_spans(sqz_optimizer *const *optimizer, PyObject *self, sqz_model *model,
                     PyObject *given);

/* A new bool array, or None; and the reverse, as sqz_py_set_spans. */
PyObject *sqz_py_mask_of(const sqz_optimizer *optimizer);
int sqz_py_set_mask(sqz_optimizer *const *optimizer, PyObject *self, sqz_model *model,
                    PyObject *given);

/* Methods, see their docstrings. */
PyObject *sqz_py_optimizer_state_dict(sqz_py_optimizer *self, PyObject *unused);
PyObject *sqz_py_optimizer_load_state_dict(sqz_py_optimizer *self, PyObject *state);

#endif
