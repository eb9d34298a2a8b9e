/* network.h: the Network object, as optimizers need it. */
#ifndef SQZ_PYTHON_NETWORK_H
#define SQZ_PYTHON_NETWORK_H

#include "numpy_api.h"
#include "../sqz.h"

typedef struct {
    PyObject_HEAD sqz_model *model; /* NULL until __init__ is through */
    uint64_t seed;
    PyObject *last_logits, *last_losses; /* of compute_gradients, or NULL */
} sqz_py_network;

/* The model, or NULL with an exception set where __init__ has not run. */
sqz_model *sqz_py_network_model(sqz_py_network *self);

/* sqz_model_begin_read and _write for a method of `self`, which wait without the GIL: -1 with an
 * exception set if they fail. Until the end no Python code may run that could want the model. */
int sqz_py_begin_read(PyObject *self, sqz_model *model);
int sqz_py_begin_write(PyObject *self, sqz_model *model);

/* A dict of the model's tensors by name, made from one flat array: copies, or read-only views that
 * keep `owner` alive. */
PyObject *sqz_py_tensors_copied(const sqz_model *model, const float *flat);
PyObject *sqz_py_tensors_viewed(const sqz_model *model, float *flat, PyObject *owner);
/* Copies, of tensors that no model has yet. */
PyObject *sqz_py_tensors_of_rows(const sqz_parameter *rows, size_t count, const float *flat);

/* The reverse: checks that `state`, a dict, has just the model's tensors, each of its shape and
 * finite, and writes them to flat. -1 with an exception set, and flat untouched, if not. `what` is
 * the dict's name in messages. */
int sqz_py_tensors_read(float *flat, const sqz_model *model, PyObject *state, const char *what);

#endif
