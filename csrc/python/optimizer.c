/* optimizer.c: the types Optimizer, Adam and SGD: sqz_optimizer bound to one Network. The last two
 * are told apart by the numbers that they take and keep, and are the first in all else. */
#include "optimizer.h"

#include "convert.h"
#include "errors.h"
#include "parts.h"

#include <math.h>

sqz_model *sqz_py_optimizer_model(sqz_py_optimizer *self) {
    if (!self->optimizer) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the optimizer has no model: __init__ has not been run");
        return NULL;
    }
    return self->network->model;
}

static int optimizer_traverse(sqz_py_optimizer *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->network);
    return 0;
}

static int optimizer_clear(sqz_py_optimizer *self) {
    sqz_optimizer_destroy(self->optimizer);
    self->optimizer = NULL;
    Py_CLEAR(self->network);
    return 0;
}

static void optimizer_dealloc(sqz_py_optimizer *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    optimizer_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- Rules ------------------------------------------------------------------------------------- */

static int begin(sqz_py_optimizer *self, PyObject *network, const sqz_rule_options *options) {
    sqz_model *model = sqz_py_network_model((sqz_py_network *)network);
    sqz_optimizer *optimizer;
    sqz_error error;
    if (!model)
        return -1;
    if (self->optimizer) { /* another thread may be in its step */
        PyErr_SetString(PyExc_RuntimeError, "the optimizer has a model already");
        return -1;
    }
    sqz_status status =
        sqz_optimizer_create(&optimizer, sqz_model_parameter_count(model), options, &error);
    if (status != SQZ_OK) {
        sqz_py_raise_from((PyObject *)self, status, &error);
        return -1;
    }
    self->network = (sqz_py_network *)Py_NewRef(network);
    self->optimizer = optimizer;
    return 0;
}

static int optimizer_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)self, (void)args, (void)kwargs;
    PyErr_SetString(PyExc_TypeError, "an Optimizer is one by a rule: expected Adam or SGD");
    return -1;
}

static int adam_init(sqz_py_optimizer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"model", "lr", "betas", "eps", NULL};
    PyObject *module = sqz_py_module_of(Py_TYPE(self)), *network;
    sqz_rule_options options = sqz_rule_defaults(SQZ_ADAM);
    if (!module || !PyArg_ParseTupleAndKeywords(
                       args, kwargs, "O!|d(dd)d:Adam", names, sqz_py_state(module)->network_type,
                       &network, &options.lr, &options.beta1, &options.beta2, &options.eps))
        return -1;
    return begin(self, network, &options);
}

static int sgd_init(sqz_py_optimizer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"model", "lr", "momentum", "nesterov", NULL};
    PyObject *module = sqz_py_module_of(Py_TYPE(self)), *network;
    sqz_rule_options options = sqz_rule_defaults(SQZ_SGD);
    int nesterov = 0;
    if (!module || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!|ddp:SGD", names,
                                                sqz_py_state(module)->network_type, &network,
                                                &options.lr, &options.momentum, &nesterov))
        return -1;
    options.nesterov = nesterov;
    return begin(self, network, &options);
}

/* -- Steps ------------------------------------------------------------------------------------- */

static PyObject *optimizer_step(sqz_py_optimizer *self, PyObject *unused) {
    (void)unused;
    sqz_model *model = sqz_py_optimizer_model(self);
    if (!model || sqz_py_begin_write((PyObject *)self, model) < 0)
        return NULL;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_optimizer_step(self->optimizer, sqz_model_parameters(model),
                                sqz_model_gradients(model), &error);
    sqz_model_end_write(model);
    Py_END_ALLOW_THREADS
    if (status != SQZ_OK)
        return sqz_py_raise_from((PyObject *)self, status, &error);
    Py_RETURN_NONE;
}

static PyObject *get_lr(sqz_py_optimizer *self, void *unused) {
    (void)unused;
    return sqz_py_optimizer_model(self) ? PyFloat_FromDouble(self->optimizer->options.lr) : NULL;
}

static int set_lr(sqz_py_optimizer *self, PyObject *value, void *unused) {
    (void)unused;
    if (!sqz_py_optimizer_model(self))
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
    self->optimizer->options.lr = lr;
    return 0;
}

static PyObject *get_step_count(sqz_py_optimizer *self, void *unused) {
    (void)unused;
    return sqz_py_optimizer_model(self) ? PyLong_FromUnsignedLongLong(self->optimizer->step) : NULL;
}

/* -- Spans ------------------------------------------------------------------------------------- */

PyObject *sqz_py_spans_of(const sqz_optimizer *optimizer) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < optimizer->span_count; i++) {
        const sqz_optimizer_span *span = &optimizer->spans[i];
        PyObject *row =
            Py_BuildValue("(ndd)", (Py_ssize_t)span->count, span->lr_scale, span->weight_decay);
        if (!row || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

/* A list of triples as spans, for PyMem_Free; NULL with an exception set. */
static sqz_optimizer_span *read_spans(PyObject *rows) {
    Py_ssize_t count = PyList_GET_SIZE(rows);
    sqz_optimizer_span *spans = PyMem_Calloc((size_t)count + 1, sizeof *spans);
    if (!spans)
        return (sqz_optimizer_span *)PyErr_NoMemory();
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

int sqz_py_set_spans(sqz_optimizer *const *optimizer, PyObject *self, sqz_model *model,
                     PyObject *given) {
    PyObject *rows = PySequence_List(given);
    sqz_optimizer_span *spans = rows ? read_spans(rows) : NULL;
    sqz_error error;
    int result = spans && (!model || sqz_py_begin_write(self, model) == 0) ? 0 : -1;
    if (result == 0) {
        sqz_status status =
            sqz_optimizer_set_spans(*optimizer, spans, (size_t)PyList_GET_SIZE(rows), &error);
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

static PyObject *optimizer_set_spans(sqz_py_optimizer *self, PyObject *given) {
    sqz_model *model = sqz_py_optimizer_model(self);
    if (!model || sqz_py_set_spans(&self->optimizer, (PyObject *)self, model, given) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *get_spans(sqz_py_optimizer *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_optimizer_model(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0) /* nobody replaces them */
        return NULL;
    PyObject *spans = sqz_py_spans_of(self->optimizer);
    sqz_model_end_read(model);
    return spans;
}

/* -- The mask ---------------------------------------------------------------------------------- */

PyObject *sqz_py_mask_of(const sqz_optimizer *optimizer) {
    npy_intp count = (npy_intp)optimizer->count;
    if (!optimizer->mask)
        Py_RETURN_NONE;
    PyObject *array = PyArray_SimpleNew(1, &count, NPY_BOOL);
    for (npy_intp i = 0; array && i < count; i++)
        ((npy_bool *)PyArray_DATA((PyArrayObject *)array))[i] = optimizer->mask[i] != 0;
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

int sqz_py_set_mask(sqz_optimizer *const *optimizer, PyObject *self, sqz_model *model,
                    PyObject *given) {
    PyArrayObject *mask = given == Py_None ? NULL : read_mask(given, (*optimizer)->count);
    if (given != Py_None && !mask)
        return -1;
    sqz_error error;
    int result = !model || sqz_py_begin_write(self, model) == 0 ? 0 : -1;
    if (result == 0) {
        sqz_status status =
            sqz_optimizer_set_mask(*optimizer, mask ? PyArray_DATA(mask) : NULL, &error);
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

static PyObject *get_mask(sqz_py_optimizer *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_optimizer_model(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0)
        return NULL;
    PyObject *mask = sqz_py_mask_of(self->optimizer);
    sqz_model_end_read(model);
    return mask;
}

static int set_mask_property(sqz_py_optimizer *self, PyObject *given, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_optimizer_model(self);
    return model
               ? sqz_py_set_mask(&self->optimizer, (PyObject *)self, model, given ? given : Py_None)
               : -1;
}

/* -- Clipping, and the average ----------------------------------------------------------------- */

static PyObject *get_clip_norm(sqz_py_optimizer *self, void *unused) {
    (void)unused;
    if (!sqz_py_optimizer_model(self))
        return NULL;
    double norm = self->optimizer->clip_norm;
    return norm > 0 ? PyFloat_FromDouble(norm) : Py_NewRef(Py_None);
}

static int set_clip_norm(sqz_py_optimizer *self, PyObject *value, void *unused) {
    (void)unused;
    sqz_error error;
    if (!sqz_py_optimizer_model(self))
        return -1;
    if (!value || value == Py_None) {
        self->optimizer->clip_norm = 0;
        return 0;
    }
    double norm = PyFloat_AsDouble(value);
    if (norm == -1 && PyErr_Occurred())
        return -1;
    sqz_status status = sqz_optimizer_set_clip_norm(self->optimizer, norm, &error);
    if (status != SQZ_OK)
        sqz_py_raise_from((PyObject *)self, status, &error);
    return status == SQZ_OK ? 0 : -1;
}

static PyObject *optimizer_keep_average(sqz_py_optimizer *self, PyObject *given) {
    double decay = PyFloat_AsDouble(given);
    sqz_model *model = decay == -1 && PyErr_Occurred() ? NULL : sqz_py_optimizer_model(self);
    if (!model || sqz_py_begin_write((PyObject *)self, model) < 0)
        return NULL;
    sqz_error error;
    sqz_status status =
        sqz_optimizer_keep_average(self->optimizer, sqz_model_parameters(model), decay, &error);
    sqz_model_end_write(model);
    if (status != SQZ_OK)
        return sqz_py_raise_from((PyObject *)self, status, &error);
    Py_RETURN_NONE;
}

static PyObject *get_average(sqz_py_optimizer *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_optimizer_model(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0)
        return NULL;
    PyObject *average = self->optimizer->average
                            ? sqz_py_tensors_copied(model, self->optimizer->average)
                            : Py_NewRef(Py_None);
    sqz_model_end_read(model);
    return average;
}

/* -- The types --------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"step", (PyCFunction)optimizer_step, METH_NOARGS,
     "step()\n\nUpdates the model's parameters from its gradients."},
    {"set_spans", (PyCFunction)optimizer_set_spans, METH_O,
     "set_spans(spans)\n\n"
     "Gives stretches of the flat parameters learning rates and weight decays of their own: a\n"
     "sequence of (floats, lr_scale, weight_decay), which one after the other are all parameters "
     "in\n"
     "state_dict's order. lr_scale 0 freezes. ValueError: they do not fit."},
    {"keep_average", (PyCFunction)optimizer_keep_average, METH_O,
     "keep_average(decay)\n\n"
     "From now on keeps an exponential moving average of the parameters, beginning with them as "
     "they\n"
     "are. ValueError: the decay is not in [0, 1)."},
    {"state_dict", (PyCFunction)sqz_py_optimizer_state_dict, METH_NOARGS,
     "state_dict() -> dict\n\n"
     "step, lr, spans, and of Adam betas, eps, exp_avg and exp_avg_sq, of SGD momentum, nesterov "
     "and\n"
     "momentum_buffer: the moments by parameter name, copies; and where there is one, mask or "
     "average."},
    {"load_state_dict", (PyCFunction)sqz_py_optimizer_load_state_dict, METH_O,
     "load_state_dict(state)\n\nContinues from a state_dict. ValueError: it does not fit."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef properties[] = {
    {"lr", (getter)get_lr, (setter)set_lr, "The learning rate of the next step.", NULL},
    {"spans", (getter)get_spans, NULL, "See set_spans; a list of tuples.", NULL},
    {"mask", (getter)get_mask, (setter)set_mask_property,
     "A bool array over the flat parameters in state_dict's order, or None. Where it is False no\n"
     "step touches the parameter or its moments.",
     NULL},
    {"clip_norm", (getter)get_clip_norm, (setter)set_clip_norm,
     "The Euclidean norm to which steps first scale longer gradients, or None.", NULL},
    {"average", (getter)get_average, NULL,
     "The average of the parameters by name, copies; None where none is kept.", NULL},
    {"step_count", (getter)get_step_count, NULL, "Steps done.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot optimizer_slots[] = {{Py_tp_doc, "What Adam and SGD have in common."},
                                        {Py_tp_init, optimizer_init},
                                        {Py_tp_traverse, optimizer_traverse},
                                        {Py_tp_clear, optimizer_clear},
                                        {Py_tp_dealloc, optimizer_dealloc},
                                        {Py_tp_methods, methods},
                                        {Py_tp_getset, properties},
                                        {0, NULL}};

static PyType_Slot adam_slots[] = {
    {Py_tp_doc, "Adam(model, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)\n\n"
                "Kingma & Ba 2015, algorithm 1, as torch.optim.Adam; with set_spans, AdamW."},
    {Py_tp_init, adam_init},
    {0, NULL}};

static PyType_Slot sgd_slots[] = {{Py_tp_doc,
                                   "SGD(model, lr=1e-3, momentum=0.0, nesterov=False)\n\n"
                                   "torch.optim.SGD; weight decay is part of the gradient."},
                                  {Py_tp_init, sgd_init},
                                  {0, NULL}};

/* What is not said here the last two have of the first: how it is freed, and that it is traversed.
 */
static PyType_Spec specs[] = {
    {.name = "squeezenet_c._core.Optimizer",
     .basicsize = sizeof(sqz_py_optimizer),
     .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
     .slots = optimizer_slots},
    {.name = "squeezenet_c._core.Adam",
     .basicsize = sizeof(sqz_py_optimizer),
     .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
     .slots = adam_slots},
    {.name = "squeezenet_c._core.SGD",
     .basicsize = sizeof(sqz_py_optimizer),
     .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
     .slots = sgd_slots},
};

int sqz_py_add_optimizers(PyObject *module) {
    PyObject *base = NULL; /* of all but the first */
    int result = 0;
    for (size_t i = 0; i < sizeof specs / sizeof *specs && result == 0; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, &specs[i], base);
        result = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
        if (!base)
            base = type;
        else
            Py_XDECREF(type);
    }
    Py_XDECREF(base);
    return result;
}
