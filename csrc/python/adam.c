/* adam.c: the type Adam: sqz_adam bound to one Network. */
#include "convert.h"
#include "errors.h"
#include "network.h"
#include "parts.h"

#include <math.h>
#include <string.h>

typedef struct {
    PyObject_HEAD sqz_py_network *network; /* NULL until __init__ is through */
    sqz_adam *adam;
} adam_object;

static sqz_model *model_of(adam_object *self) {
    if (!self->adam) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the optimizer has no model: __init__ has not been run");
        return NULL;
    }
    return self->network->model;
}

static int adam_init(adam_object *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"model", "lr", "betas", "eps", NULL};
    PyObject *module = sqz_py_module_of(Py_TYPE(self)), *network;
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
    if (!module || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!|d(dd)d:Adam", names,
                                                sqz_py_state(module)->network_type, &network, &lr,
                                                &beta1, &beta2, &eps))
        return -1;
    sqz_model *model = sqz_py_network_model((sqz_py_network *)network);
    sqz_adam *adam;
    sqz_error error;
    if (!model)
        return -1;
    if (self->adam) { /* another thread may be in its step */
        PyErr_SetString(PyExc_RuntimeError, "the optimizer has a model already");
        return -1;
    }
    sqz_status status =
        sqz_adam_create(&adam, sqz_model_parameter_count(model), lr, beta1, beta2, eps, &error);
    if (status != SQZ_OK) {
        sqz_py_raise_from((PyObject *)self, status, &error);
        return -1;
    }
    self->network = (sqz_py_network *)Py_NewRef(network);
    self->adam = adam;
    return 0;
}

static int adam_traverse(adam_object *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->network);
    return 0;
}

static int adam_clear(adam_object *self) {
    sqz_adam_destroy(self->adam);
    self->adam = NULL;
    Py_CLEAR(self->network);
    return 0;
}

static void adam_dealloc(adam_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    adam_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- Steps ------------------------------------------------------------------------------------- */

static PyObject *adam_step(adam_object *self, PyObject *unused) {
    (void)unused;
    sqz_model *model = model_of(self);
    if (!model || sqz_py_begin_write((PyObject *)self, model) < 0)
        return NULL;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status =
        sqz_adam_step(self->adam, sqz_model_parameters(model), sqz_model_gradients(model), &error);
    sqz_model_end_write(model);
    Py_END_ALLOW_THREADS
    if (status != SQZ_OK)
        return sqz_py_raise_from((PyObject *)self, status, &error);
    Py_RETURN_NONE;
}

static PyObject *get_lr(adam_object *self, void *unused) {
    (void)unused;
    return model_of(self) ? PyFloat_FromDouble(self->adam->lr) : NULL;
}

static int set_lr(adam_object *self, PyObject *value, void *unused) {
    (void)unused;
    if (!model_of(self))
        return -1;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "lr cannot be deleted");
        return -1;
    }
    double lr = PyFloat_AsDouble(value);
    if (lr == -1 && PyErr_Occurred())
        return -1;
    if (!(lr >= 0) || isinf(lr)) {
        PyErr_Format(PyExc_ValueError, "lr is %R, expected a number of at least 0", value);
        return -1;
    }
    self->adam->lr = lr;
    return 0;
}

static PyObject *get_step_count(adam_object *self, void *unused) {
    (void)unused;
    return model_of(self) ? PyLong_FromUnsignedLongLong(self->adam->step) : NULL;
}

/* -- Spans ------------------------------------------------------------------------------------- */

static PyObject *spans_of(const sqz_adam *adam) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < adam->span_count; i++) {
        const sqz_adam_span *span = &adam->spans[i];
        PyObject *row =
            Py_BuildValue("(ndd)", (Py_ssize_t)span->count, span->lr_scale, span->weight_decay);
        if (!row || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

/* A list of triples as spans, for PyMem_Free; NULL with an exception set. */
static sqz_adam_span *read_spans(PyObject *rows) {
    Py_ssize_t count = PyList_GET_SIZE(rows);
    sqz_adam_span *spans = PyMem_Calloc((size_t)count + 1, sizeof *spans);
    if (!spans)
        return (sqz_adam_span *)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count && i < PyList_GET_SIZE(rows); i++) {
        PyObject *row = PySequence_Tuple(PyList_GET_ITEM(rows, i));
        Py_ssize_t floats = 0;
        int parsed = row && PyArg_ParseTuple(row, "ndd;a span is (floats, lr_scale, weight_decay)",
                                             &floats, &spans[i].lr_scale, &spans[i].weight_decay);
        Py_XDECREF(row);
        if (!parsed) {
            PyMem_Free(spans);
            return NULL;
        }
        spans[i].count = floats < 0 ? 0 : (size_t)floats; /* 0 is refused */
    }
    return spans;
}

/* -1 with an exception set, and the optimizer as it was. `self` is for the exception; `model` is
 * written meanwhile, so that nobody is in a step or puts another optimizer there, unless it is
 * NULL.
 */
static int set_spans(sqz_adam *const *adam, PyObject *self, sqz_model *model, PyObject *given) {
    PyObject *rows = PySequence_List(given);
    sqz_adam_span *spans = rows ? read_spans(rows) : NULL;
    sqz_error error;
    int result = spans && (!model || sqz_py_begin_write(self, model) == 0) ? 0 : -1;
    if (result == 0) {
        sqz_status status = sqz_adam_set_spans(*adam, spans, (size_t)PyList_GET_SIZE(rows), &error);
        if (model)
            sqz_model_end_write(model);
        if (status != SQZ_OK) {
            sqz_py_raise_from(self, status, &error);
            result = -1;
        }
    }
    Py_XDECREF(rows);
    PyMem_Free(spans);
    return result;
}

static PyObject *adam_set_spans(adam_object *self, PyObject *given) {
    sqz_model *model = model_of(self);
    if (!model || set_spans(&self->adam, (PyObject *)self, model, given) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *get_spans(adam_object *self, void *unused) {
    (void)unused;
    sqz_model *model = model_of(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0) /* nobody replaces them */
        return NULL;
    PyObject *spans = spans_of(self->adam);
    sqz_model_end_read(model);
    return spans;
}

/* -- The mask ---------------------------------------------------------------------------------- */

/* A new bool array, or None. */
static PyObject *mask_of(const sqz_adam *adam) {
    npy_intp count = (npy_intp)adam->count;
    if (!adam->mask)
        Py_RETURN_NONE;
    PyObject *array = PyArray_SimpleNew(1, &count, NPY_BOOL);
    for (npy_intp i = 0; array && i < count; i++)
        ((npy_bool *)PyArray_DATA((PyArrayObject *)array))[i] = adam->mask[i] != 0;
    return array;
}

/* A mask as an array of bytes, `count` of them; NULL with an exception set. */
static PyArrayObject *read_mask(PyObject *given, size_t count) {
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_O(given);
    if (array && PyArray_TYPE(array) != NPY_BOOL && PyArray_TYPE(array) != NPY_UINT8) {
        PyErr_Format(PyExc_TypeError, "the mask has dtype %S, expected bool",
                     (PyObject *)PyArray_DESCR(array));
        Py_CLEAR(array);
    }
    if (array && (PyArray_NDIM(array) != 1 || (size_t)PyArray_SIZE(array) != count)) {
        PyObject *shape = sqz_py_array_shape(array);
        if (shape)
            PyErr_Format(PyExc_ValueError, "the mask has shape %R, expected (%zu,)", shape, count);
        Py_XDECREF(shape);
        Py_CLEAR(array);
    }
    PyArrayObject *bytes =
        array ? (PyArrayObject *)PyArray_FROM_OF((PyObject *)array, NPY_ARRAY_C_CONTIGUOUS) : NULL;
    Py_XDECREF(array);
    return bytes;
}

/* As set_spans. */
static int set_mask(sqz_adam *const *adam, PyObject *self, sqz_model *model, PyObject *given) {
    PyArrayObject *mask = given == Py_None ? NULL : read_mask(given, (*adam)->count);
    if (given != Py_None && !mask)
        return -1;
    sqz_error error;
    int result = !model || sqz_py_begin_write(self, model) == 0 ? 0 : -1;
    if (result == 0) {
        sqz_status status = sqz_adam_set_mask(*adam, mask ? PyArray_DATA(mask) : NULL, &error);
        if (model)
            sqz_model_end_write(model);
        if (status != SQZ_OK) {
            sqz_py_raise_from(self, status, &error);
            result = -1;
        }
    }
    Py_XDECREF(mask);
    return result;
}

static PyObject *get_mask(adam_object *self, void *unused) {
    (void)unused;
    sqz_model *model = model_of(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0)
        return NULL;
    PyObject *mask = mask_of(self->adam);
    sqz_model_end_read(model);
    return mask;
}

static int set_mask_property(adam_object *self, PyObject *given, void *unused) {
    (void)unused;
    sqz_model *model = model_of(self);
    return model ? set_mask(&self->adam, (PyObject *)self, model, given ? given : Py_None) : -1;
}

/* -- State ------------------------------------------------------------------------------------- */

static PyObject *adam_state_dict(adam_object *self, PyObject *unused) {
    (void)unused;
    sqz_model *model = model_of(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0)
        return NULL;
    PyObject *m = sqz_py_tensors_copied(model, self->adam->m);
    PyObject *v = m ? sqz_py_tensors_copied(model, self->adam->v) : NULL;
    PyObject *spans = v ? spans_of(self->adam) : NULL;
    if (!spans) {
        sqz_model_end_read(model);
        Py_XDECREF(m);
        Py_XDECREF(v);
        return NULL;
    }
    const sqz_adam *adam = self->adam;
    PyObject *state =
        Py_BuildValue("{s:K,s:d,s:(dd),s:d,s:N,s:N,s:N}", "step", (unsigned long long)adam->step,
                      "lr", adam->lr, "betas", adam->beta1, adam->beta2, "eps", adam->eps, "spans",
                      spans, "exp_avg", m, "exp_avg_sq", v);
    PyObject *mask = state && adam->mask ? mask_of(adam) : NULL;
    if (mask && PyDict_SetItemString(state, "mask", mask) < 0)
        Py_CLEAR(mask);
    if (state && adam->mask && !mask)
        Py_CLEAR(state);
    Py_XDECREF(mask);
    sqz_model_end_read(model);
    return state;
}

/* A borrowed reference to one of the state's values. */
static PyObject *value_of(PyObject *state, const char *key) {
    PyObject *value = PyDict_GetItemString(state, key);
    if (!value)
        PyErr_Format(PyExc_ValueError, "the optimizer's state has no '%s'", key);
    return value;
}

static int number_of(double *number, PyObject *state, const char *key) {
    PyObject *value = value_of(state, key);
    *number = value ? PyFloat_AsDouble(value) : -1;
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

/* A mean of squares is not negative, and a step takes its root. */
static int check_second_moments(const float *v, const sqz_model *model) {
    for (size_t tensor = 0; tensor < sqz_model_tensor_count(model); tensor++) {
        const sqz_parameter *parameter = sqz_model_tensor(model, tensor);
        for (size_t i = 0; i < parameter->count; i++)
            if (v[parameter->offset + i] < 0) {
                char number[32];
                PyOS_snprintf(number, sizeof number, "%g", (double)v[parameter->offset + i]);
                PyErr_Format(PyExc_ValueError,
                             "the optimizer's exp_avg_sq has %s in '%s', expected at least 0",
                             number, parameter->name);
                return -1;
            }
    }
    return 0;
}

/* Into a second optimizer, so that a refused state leaves the first as it was. */
static int read_state(adam_object *self, sqz_adam **result, const sqz_model *model,
                      PyObject *state) {
    PyObject *betas = value_of(state, "betas"), *step = betas ? value_of(state, "step") : NULL;
    PyObject *m = step ? value_of(state, "exp_avg") : NULL;
    PyObject *v = m ? value_of(state, "exp_avg_sq") : NULL;
    double lr, beta1, beta2, eps;
    uint64_t steps;
    if (!v || !sqz_py_to_uint64(step, &steps) || number_of(&lr, state, "lr") < 0 ||
        number_of(&eps, state, "eps") < 0)
        return -1;
    PyObject *pair = PySequence_Tuple(betas);
    int parsed = pair && PyArg_ParseTuple(pair, "dd;the optimizer's betas", &beta1, &beta2);
    Py_XDECREF(pair);
    if (!parsed)
        return -1;
    sqz_error error;
    sqz_adam *adam;
    sqz_status status =
        sqz_adam_create(&adam, sqz_model_parameter_count(model), lr, beta1, beta2, eps, &error);
    if (status != SQZ_OK) {
        sqz_py_raise_from((PyObject *)self, status, &error);
        return -1;
    }
    adam->step = steps;
    PyObject *spans = PyDict_GetItemString(state, "spans"); /* without: one, as a new one has */
    PyObject *mask = PyDict_GetItemString(state, "mask");
    if ((spans && set_spans(&adam, (PyObject *)self, NULL, spans) < 0) ||
        (mask && set_mask(&adam, (PyObject *)self, NULL, mask) < 0) ||
        sqz_py_tensors_read(adam->m, model, m, "the optimizer's exp_avg") < 0 ||
        sqz_py_tensors_read(adam->v, model, v, "the optimizer's exp_avg_sq") < 0 ||
        check_second_moments(adam->v, model) < 0) {
        sqz_adam_destroy(adam);
        return -1;
    }
    *result = adam;
    return 0;
}

static PyObject *adam_load_state_dict(adam_object *self, PyObject *state) {
    sqz_model *model = model_of(self);
    sqz_adam *adam = NULL;
    if (!model)
        return NULL;
    if (!PyDict_Check(state))
        return PyErr_Format(PyExc_TypeError, "the optimizer's state is of type %s, expected a dict",
                            Py_TYPE(state)->tp_name);
    if (read_state(self, &adam, model, state) < 0)
        return NULL;
    if (sqz_py_begin_write((PyObject *)self, model) < 0) { /* nobody is in a step */
        sqz_adam_destroy(adam);
        return NULL;
    }
    sqz_adam *former = self->adam;
    self->adam = adam;
    sqz_model_end_write(model);
    sqz_adam_destroy(former);
    Py_RETURN_NONE;
}

/* -- The type ---------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"step", (PyCFunction)adam_step, METH_NOARGS,
     "step()\n\nUpdates the model's parameters from its gradients."},
    {"set_spans", (PyCFunction)adam_set_spans, METH_O,
     "set_spans(spans)\n\n"
     "Gives stretches of the flat parameters learning rates and weight decays of their own: a\n"
     "sequence of (floats, lr_scale, weight_decay), which one after the other are all parameters "
     "in\n"
     "state_dict's order. lr_scale 0 freezes. ValueError: they do not fit."},
    {"state_dict", (PyCFunction)adam_state_dict, METH_NOARGS,
     "state_dict() -> dict\n\n"
     "step, lr, betas, eps, spans, and exp_avg and exp_avg_sq: the moments by parameter name,\n"
     "copies; and where there is one, mask."},
    {"load_state_dict", (PyCFunction)adam_load_state_dict, METH_O,
     "load_state_dict(state)\n\nContinues from a state_dict. ValueError: it does not fit."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef properties[] = {
    {"lr", (getter)get_lr, (setter)set_lr, "The learning rate of the next step.", NULL},
    {"spans", (getter)get_spans, NULL, "See set_spans; a list of tuples.", NULL},
    {"mask", (getter)get_mask, (setter)set_mask_property,
     "A bool array over the flat parameters in state_dict's order, or None. Where it is False no\n"
     "step touches the parameter or its moments.",
     NULL},
    {"step_count", (getter)get_step_count, NULL, "Steps done.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Adam(model, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)\n\n"
                "Kingma & Ba 2015, algorithm 1, as torch.optim.Adam; with set_spans, AdamW."},
    {Py_tp_init, adam_init},
    {Py_tp_traverse, adam_traverse},
    {Py_tp_clear, adam_clear},
    {Py_tp_dealloc, adam_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, NULL}};

static PyType_Spec type_spec = {.name = "squeezenet_c._core.Adam",
                                .basicsize = sizeof(adam_object),
                                .flags =
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                .slots = slots};

int sqz_py_add_adam(PyObject *module) {
    sqz_py_module_state *state = sqz_py_state(module);
    state->adam_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &type_spec, NULL);
    return state->adam_type ? PyModule_AddType(module, state->adam_type) : -1;
}
