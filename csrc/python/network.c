/* network.c: the type Network: a model, its parameters and gradients as arrays, and its passes. */
#include "convert.h"
#include "errors.h"
#include "inference.h"
#include "network.h"
#include "parts.h"
#include "spec.h"

#include <stdlib.h>
#include <string.h>

sqz_model *sqz_py_network_model(sqz_py_network *self) {
    if (!self->model)
        PyErr_SetString(PyExc_RuntimeError, "the network has no model: __init__ has not been run");
    return self->model;
}

/* -- Making one -------------------------------------------------------------------------------- */

static int network_init(sqz_py_network *self, PyObject *args, PyObject *kwargs) {
    sqz_spec spec;
    uint64_t seed;
    sqz_error error;
    if (self->model) { /* arrays may be looking at it */
        PyErr_SetString(PyExc_RuntimeError, "the network has a model already");
        return -1;
    }
    if (sqz_py_spec_parse(&spec, &seed, args, kwargs, "Network") < 0)
        return -1;
    sqz_status status = sqz_model_create(&self->model, &spec, seed, &error);
    if (status != SQZ_OK) {
        sqz_py_raise_from((PyObject *)self, status, &error);
        return -1;
    }
    self->seed = seed;
    return 0;
}

static int network_traverse(sqz_py_network *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->last_logits);
    Py_VISIT(self->last_losses);
    return 0;
}

static int network_clear(sqz_py_network *self) {
    Py_CLEAR(self->last_logits);
    Py_CLEAR(self->last_losses);
    return 0;
}

static void network_dealloc(sqz_py_network *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    network_clear(self);
    sqz_model_destroy(self->model);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- Training ---------------------------------------------------------------------------------- */

/* The pass itself; the arrays are the caller's to release. */
static PyObject *gradients_of(sqz_py_network *self, sqz_batch *batch) {
    npy_intp shape[2] = {batch->n, sqz_model_spec(self->model)->num_classes};
    PyArrayObject *logits = (PyArrayObject *)PyArray_SimpleNew(2, shape, NPY_FLOAT32);
    PyArrayObject *losses = (PyArrayObject *)PyArray_SimpleNew(1, shape, NPY_FLOAT64);
    if (!logits || !losses) {
        Py_XDECREF(logits);
        Py_XDECREF(losses);
        return NULL;
    }
    double loss;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_model_compute_gradients(self->model, &loss, PyArray_DATA(losses),
                                         PyArray_DATA(logits), batch, &error);
    Py_END_ALLOW_THREADS
    if (status != SQZ_OK) {
        Py_DECREF(logits);
        Py_DECREF(losses);
        return sqz_py_raise_from((PyObject *)self, status, &error);
    }
    Py_XSETREF(self->last_logits, (PyObject *)logits);
    Py_XSETREF(self->last_losses, (PyObject *)losses);
    return PyFloat_FromDouble(loss);
}

/* The weights as double[num_classes], a copy; NULL with an exception set. */
static PyArrayObject *class_weights_of(const sqz_model *model, PyObject *given) {
    PyArrayObject *weights = (PyArrayObject *)PyArray_FROM_OTF(
        given, NPY_FLOAT64, NPY_ARRAY_IN_ARRAY | NPY_ARRAY_ENSURECOPY);
    int classes = sqz_model_spec(model)->num_classes;
    if (weights && (PyArray_NDIM(weights) != 1 || PyArray_DIM(weights, 0) != classes)) {
        char expected[24];
        PyOS_snprintf(expected, sizeof expected, "(%d,)", classes);
        sqz_py_refuse_shape(weights, "class_weights", expected);
        Py_CLEAR(weights);
    }
    return weights;
}

/* What the batch is to reach, put into it: labels, or of an array of two dimensions the
 * probabilities, double[n][num_classes]. The array that holds them; NULL with an exception set. */
static PyArrayObject *targets_of(const sqz_model *model, sqz_batch *batch, PyObject *given) {
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_O(given);
    if (!array)
        return NULL;
    PyArrayObject *targets;
    if (PyArray_NDIM(array) != 2) {
        targets = sqz_py_index_array(given, "labels", batch->n);
        batch->labels = targets ? PyArray_DATA(targets) : NULL;
        Py_DECREF(array);
        return targets;
    }
    int classes = sqz_model_spec(model)->num_classes;
    targets = (PyArrayObject *)PyArray_FROM_OTF((PyObject *)array, NPY_FLOAT64,
                                                NPY_ARRAY_IN_ARRAY | NPY_ARRAY_ENSURECOPY);
    Py_DECREF(array);
    if (targets && (PyArray_DIM(targets, 0) != batch->n || PyArray_DIM(targets, 1) != classes)) {
        char expected[48];
        PyOS_snprintf(expected, sizeof expected, "(%d,) or (%d, %d)", batch->n, batch->n, classes);
        sqz_py_refuse_shape(targets, "labels", expected);
        Py_CLEAR(targets);
    }
    batch->probabilities = targets ? PyArray_DATA(targets) : NULL;
    return targets;
}

/* Which tensors the container has the names of, [tensor count], for the caller to PyMem_Free; NULL
 * with an exception set. ValueError: it has others too. */
static bool *frozen_of(const sqz_model *model, PyObject *names) {
    size_t count = sqz_model_tensor_count(model);
    Py_ssize_t left = PyObject_Size(names);
    bool *frozen = left < 0 ? NULL : PyMem_Calloc(count, sizeof *frozen);
    if (left >= 0 && !frozen)
        PyErr_NoMemory();
    for (size_t i = 0; frozen && i < count; i++) {
        PyObject *name = PyUnicode_FromString(sqz_model_tensor(model, i)->name);
        int found = name ? PySequence_Contains(names, name) : -1;
        Py_XDECREF(name);
        if (found < 0) {
            PyMem_Free(frozen);
            return NULL;
        }
        frozen[i] = found;
        left -= found;
    }
    if (frozen && left != 0) {
        PyErr_Format(PyExc_ValueError, "frozen is %R, expected names of state_dict, each once",
                     names);
        PyMem_Free(frozen);
        return NULL;
    }
    return frozen;
}

/* What the batch begins with, put into it: float32, or of an array of uint8 the pictures. The array
 * that holds them; NULL with an exception set. */
static PyArrayObject *input_of(sqz_batch *batch, PyObject *given) {
    bool bytes = PyArray_Check(given) && PyArray_TYPE((PyArrayObject *)given) == NPY_UINT8;
    PyArrayObject *x = sqz_py_pictures(given, bytes, &batch->n, &batch->h, &batch->w);
    if (x && bytes)
        batch->pictures = PyArray_DATA(x);
    else if (x)
        batch->x = PyArray_DATA(x);
    return x;
}

/* How pictures become x, put into the batch; `changes` is the array that holds them, or NULL. False
 * with an exception set. */
static bool preparation_of(sqz_batch *batch, PyArrayObject **changes, PyObject *mean, PyObject *std,
                           PyObject *given) {
    if (!batch->pictures) {
        bool alone = mean == Py_None && std == Py_None && given == Py_None;
        if (!alone)
            PyErr_SetString(PyExc_ValueError,
                            "mean, std and changes are for pictures of uint8, and x is float32");
        return alone;
    }
    if (!sqz_py_channels(batch->mean, mean, "mean", false) ||
        !sqz_py_channels(batch->std, std, "std", true))
        return false;
    if (given == Py_None)
        return true;
    *changes = sqz_py_changes(given, batch->n);
    batch->changes = *changes ? PyArray_DATA(*changes) : NULL;
    return *changes;
}

static PyObject *network_compute_gradients(sqz_py_network *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"x",
                            "labels",
                            "global_batch",
                            "indices",
                            "step",
                            "seed",
                            "label_smoothing",
                            "class_weights",
                            "total_weight",
                            "frozen",
                            "temperature",
                            "mean",
                            "std",
                            "changes",
                            NULL};
    sqz_model *model = sqz_py_network_model(self);
    PyObject *x_given, *labels_given, *global_batch = Py_None, *weights_given = Py_None;
    PyObject *indices_given = Py_None, *frozen_given = Py_None, *changes_given = Py_None;
    PyObject *mean_given = Py_None, *std_given = Py_None;
    sqz_batch batch = {.temperature = 1};
    if (!model ||
        !PyArg_ParseTupleAndKeywords(
            args, kwargs, "OO|$OOO&O&dOdOdOOO:compute_gradients", names, &x_given, &labels_given,
            &global_batch, &indices_given, sqz_py_to_uint64, &batch.step, sqz_py_to_uint64,
            &batch.seed, &batch.label_smoothing, &weights_given, &batch.total_weight, &frozen_given,
            &batch.temperature, &mean_given, &std_given, &changes_given))
        return NULL;
    PyArrayObject *x = sqz_py_settle_precision(self) == 0 ? input_of(&batch, x_given) : NULL;
    if (!x)
        return NULL;
    PyObject *loss = NULL;
    PyArrayObject *indices = NULL, *weights = NULL, *changes = NULL, *targets = NULL;
    if (preparation_of(&batch, &changes, mean_given, std_given, changes_given))
        targets = targets_of(model, &batch, labels_given);
    batch.global_batch = batch.n;
    batch.dropout = sqz_model_spec(model)->dropout;
    bool ready =
        targets && (global_batch == Py_None || sqz_py_to_int(global_batch, &batch.global_batch));
    if (ready && indices_given != Py_None) {
        indices = sqz_py_index_array(indices_given, "indices", batch.n);
        ready = indices;
        batch.indices = indices ? PyArray_DATA(indices) : NULL;
    }
    if (ready && weights_given != Py_None) {
        weights = class_weights_of(model, weights_given);
        ready = weights;
        batch.class_weights = weights ? PyArray_DATA(weights) : NULL;
    }
    bool *frozen = NULL;
    if (ready && frozen_given != Py_None) {
        frozen = frozen_of(model, frozen_given);
        ready = frozen;
        batch.frozen = frozen;
    }
    if (ready)
        loss = gradients_of(self, &batch);
    PyMem_Free(frozen);
    Py_XDECREF(weights);
    Py_XDECREF(indices);
    Py_XDECREF(targets);
    Py_XDECREF(changes);
    Py_DECREF(x);
    return loss;
}

/* -- Parameters and gradients ------------------------------------------------------------------ */

static int begin(PyObject *self, sqz_model *model,
                 sqz_status (*enter)(sqz_model *model, sqz_error *error)) {
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = enter(model, &error);
    Py_END_ALLOW_THREADS
    if (status == SQZ_OK)
        return 0;
    sqz_py_raise_from(self, status, &error);
    return -1;
}

int sqz_py_begin_read(PyObject *self, sqz_model *model) {
    return begin(self, model, sqz_model_begin_read);
}

int sqz_py_begin_write(PyObject *self, sqz_model *model) {
    return begin(self, model, sqz_model_begin_write);
}

static PyObject *network_state_dict(sqz_py_network *self, PyObject *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0)
        return NULL;
    PyObject *state = sqz_py_tensors_copied(model, sqz_model_parameters(model));
    sqz_model_end_read(model);
    return state;
}

static PyObject *network_load_state_dict(sqz_py_network *self, PyObject *state) {
    sqz_model *model = sqz_py_network_model(self);
    if (!model)
        return NULL;
    size_t count = sqz_model_parameter_count(model);
    float *values = PyMem_Calloc(count, sizeof *values);
    if (!values)
        return PyErr_NoMemory();
    /* Reading may run any Python code: so it is done before the model is entered. */
    int result = sqz_py_tensors_read(values, model, state, "the state");
    if (result == 0)
        result = sqz_py_begin_write((PyObject *)self, model);
    if (result == 0) {
        memcpy(sqz_model_parameters(model), values, count * sizeof *values);
        sqz_model_end_write(model);
    }
    PyMem_Free(values);
    if (result < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *get_gradients(sqz_py_network *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    return model ? sqz_py_tensors_viewed(model, sqz_model_gradients(model), (PyObject *)self)
                 : NULL;
}

static PyObject *get_flat_gradients(sqz_py_network *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    if (!model)
        return NULL;
    npy_intp count = (npy_intp)sqz_model_parameter_count(model);
    PyObject *array = PyArray_SimpleNewFromData(1, &count, NPY_FLOAT32, sqz_model_gradients(model));
    if (array && PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(self)) < 0)
        Py_CLEAR(array);
    return array;
}

static PyObject *copy_of_last(PyObject *array, const char *what) {
    if (!array)
        return PyErr_Format(PyExc_RuntimeError,
                            "there are no %s before the first compute_gradients", what);
    return PyArray_NewCopy((PyArrayObject *)array, NPY_CORDER);
}

static PyObject *get_last_logits(sqz_py_network *self, void *unused) {
    (void)unused;
    return copy_of_last(self->last_logits, "logits");
}

static PyObject *get_last_losses(sqz_py_network *self, void *unused) {
    (void)unused;
    return copy_of_last(self->last_losses, "losses");
}

static PyObject *get_parameter_count(sqz_py_network *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    return model ? PyLong_FromSize_t(sqz_model_parameter_count(model)) : NULL;
}

static PyObject *get_seed(sqz_py_network *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->seed);
}

/* -- Tables ------------------------------------------------------------------------------------ */

static PyObject *get_spec(sqz_py_network *self, void *unused) {
    (void)unused;
    sqz_model *model = sqz_py_network_model(self);
    return model ? sqz_py_spec_dict(sqz_model_spec(model)) : NULL;
}

static PyObject *layer_row(const void *rows, size_t index) {
    const sqz_layer *layer = (const sqz_layer *)rows + index;
    PyObject *inputs = layer->addend < 0 ? Py_BuildValue("(i)", layer->input)
                                         : Py_BuildValue("(ii)", layer->input, layer->addend);
    if (!inputs)
        return NULL;
    return Py_BuildValue(
        "{s:s,s:s,s:N,s:i,s:i,s:(iii),s:(iii),s:i,s:i,s:i,s:O,s:n}", "name", layer->name, "kind",
        layer->kind, "inputs", inputs, "output", layer->output, "first_channel",
        layer->first_channel, "in_shape", layer->in_c, layer->in_h, layer->in_w, "out_shape",
        layer->out_c, layer->out_h, layer->out_w, "kernel", layer->kernel, "stride", layer->stride,
        "padding", layer->padding, "relu", layer->relu ? Py_True : Py_False, "parameter_count",
        (Py_ssize_t)layer->parameter_count);
}

static PyObject *plan_row(const void *rows, size_t index) {
    const sqz_plan_row *row = (const sqz_plan_row *)rows + index;
    return Py_BuildValue("{s:s,s:s,s:s,s:s,s:d}", "layer", row->layer, "op", row->op,
                         "implementation", row->implementation, "layout", row->layout,
                         "milliseconds", row->milliseconds);
}

static PyObject *list_of(PyObject *(*row_of)(const void *, size_t), const void *rows,
                         size_t count) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *row = row_of(rows, i);
        if (!row || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *network_layers(sqz_py_network *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"height", "width", NULL};
    sqz_model *model = sqz_py_network_model(self);
    int h, w;
    if (!model || !PyArg_ParseTupleAndKeywords(args, kwargs, "O&O&:layers", names, sqz_py_to_int,
                                               &h, sqz_py_to_int, &w))
        return NULL;
    sqz_error error;
    size_t count = 0;
    sqz_status status = sqz_model_layers(model, h, w, NULL, 0, &count, &error);
    if (status != SQZ_OK)
        return sqz_py_raise_from((PyObject *)self, status, &error);
    sqz_layer *rows = calloc(count, sizeof *rows);
    if (!rows)
        return PyErr_NoMemory();
    status = sqz_model_layers(model, h, w, rows, count, &count, &error);
    PyObject *list = status == SQZ_OK ? list_of(layer_row, rows, count)
                                      : sqz_py_raise_from((PyObject *)self, status, &error);
    free(rows);
    return list;
}

static PyObject *network_plan(sqz_py_network *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"height", "width", "training", "repeats", NULL};
    sqz_model *model = sqz_py_network_model(self);
    int h, w, training = 0, repeats = 0;
    if (!model ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "O&O&|pO&:plan", names, sqz_py_to_int, &h,
                                     sqz_py_to_int, &w, &training, sqz_py_to_int, &repeats) ||
        sqz_py_settle_precision(self) < 0)
        return NULL;
    sqz_error error;
    size_t count = 0;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_model_plan(model, h, w, training, 0, NULL, 0, &count, &error);
    Py_END_ALLOW_THREADS
    if (status != SQZ_OK)
        return sqz_py_raise_from((PyObject *)self, status, &error);
    sqz_plan_row *rows = calloc(count, sizeof *rows);
    if (!rows)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    status = sqz_model_plan(model, h, w, training, repeats, rows, count, &count, &error);
    Py_END_ALLOW_THREADS
    PyObject *list = status == SQZ_OK ? list_of(plan_row, rows, count)
                                      : sqz_py_raise_from((PyObject *)self, status, &error);
    free(rows);
    return list;
}

/* -- The type ---------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    SQZ_PY_INFERENCE_METHODS,
    SQZ_PY_QUANTIZATION_METHODS,
    {"compute_gradients", (PyCFunction)(void (*)(void))network_compute_gradients,
     METH_VARARGS | METH_KEYWORDS,
     "compute_gradients(x, labels, *, global_batch=None, indices=None, step=0, seed=0,\n"
     "                  label_smoothing=0, class_weights=None, total_weight=0, frozen=(),\n"
     "                  temperature=1, mean=None, std=None, changes=None) -> loss\n\n"
     "One pass forward, with dropout, and back. x: (N, 3, H, W) float32, or (N, H, W, 3) uint8, "
     "on\n"
     "which each thread does change_pictures by `changes` and normalise by mean and std. labels: "
     "N\n"
     "integers, or (N, classes) probabilities.\n"
     "Returns these pictures' part of the mean loss over global_batch (default N) and leaves its\n"
     "gradients in `gradients`. The pictures are those at indices, N that ascend, of the global\n"
     "batch (default: the first N); dropout is a function of (seed, step, index). The same bits "
     "on\n"
     "any number of threads. Parameters stay untouched. With class_weights, one a class, the mean\n"
     "divides by total_weight, the sum of the global batch's labels' weights (0: summed here).\n"
     "Waits while other threads predict. RuntimeError: another thread trains.\n"
     "Parameters with names in frozen (None: no names) get no gradient; theirs becomes 0."},
    {"state_dict", (PyCFunction)network_state_dict, METH_NOARGS,
     "state_dict() -> dict\n\nCopies of the parameters by torchvision's names, float32."},
    {"load_state_dict", (PyCFunction)network_load_state_dict, METH_O,
     "load_state_dict(state)\n\n"
     "Sets all parameters from a dict of real arrays. ValueError: a name or shape is not the\n"
     "network's, or a value is NaN or infinite; the parameters are untouched then."},
    {"layers", (PyCFunction)(void (*)(void))network_layers, METH_VARARGS | METH_KEYWORDS,
     "layers(height, width) -> list of dict\n\n"
     "The layers, in an order they can run in: name, kind, inputs and output (activations by\n"
     "number, of which 0 is the picture), first_channel (of the output's, that the layer writes:\n"
     "a Fire module's expand1x1 and expand3x3 write two parts of one), in_shape and out_shape (C,\n"
     "H, W), kernel, stride and padding (0 where there is none), relu, parameter_count."},
    {"plan", (PyCFunction)(void (*)(void))network_plan, METH_VARARGS | METH_KEYWORDS,
     "plan(height, width, training=False, repeats=0) -> list of dict\n\n"
     "layer, op, implementation, layout and milliseconds (median of `repeats` passes of one\n"
     "picture on one thread; 0 if not timed) of every op, in the order they run."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef properties[] = {
    {"gradients", (getter)get_gradients, NULL,
     "Read-only views of the last compute_gradients' gradients, by parameter name.", NULL},
    {"flat_gradients", (getter)get_flat_gradients, NULL,
     "All gradients as one writable float32 array, in the order of state_dict.", NULL},
    {"last_logits", (getter)get_last_logits, NULL,
     "(N, classes) of the last compute_gradients, dropout included; a copy.", NULL},
    {"last_losses", (getter)get_last_losses, NULL,
     "(N,) float64, the pictures' own losses in the last compute_gradients, which their sum over\n"
     "the divisor of the mean is; a copy.",
     NULL},
    {"parameter_count", (getter)get_parameter_count, NULL, "Numbers in all parameters.", NULL},
    {"precision", (getter)sqz_py_get_precision, (setter)sqz_py_set_precision,
     "'float32', 'bfloat16' or 'int8', of passes that begin from now on. RuntimeError: the "
     "backend\n"
     "in use does not offer it, and the environment's SQZ_BF16 is not 'emulate'; nothing changes\n"
     "then. ValueError: 'int8' of a network that is not quantised. Where a backend chosen later\n"
     "does not offer it, the next pass warns and sets 'float32'.",
     NULL},
    {"quantization", (getter)sqz_py_get_quantization, NULL,
     "What quantize was given, a dict of float32 arrays: mean, std, activation_scales,\n"
     "weight_scales. None: not quantised.",
     NULL},
    {"seed", (getter)get_seed, NULL, "What the fresh weights were drawn from.", NULL},
    {"spec", (getter)get_spec, NULL, "What the network is: __init__'s arguments, but seed.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Network(version='1_1', num_classes=2, *, seed=0, **spec)\n\n"
                "Parameters, gradients and plans of one network. SPEC_FIELDS has all that a spec "
                "says, with\nthe defaults."},
    {Py_tp_init, network_init},
    {Py_tp_traverse, network_traverse},
    {Py_tp_clear, network_clear},
    {Py_tp_dealloc, network_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, NULL}};

static PyType_Spec type_spec = {.name = "squeezenet_c._core.Network",
                                .basicsize = sizeof(sqz_py_network),
                                .flags =
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                .slots = slots};

int sqz_py_add_network(PyObject *module) {
    sqz_py_module_state *state = sqz_py_state(module);
    state->network_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &type_spec, NULL);
    if (PyModule_AddIntConstant(module, "LANES", SQZ_LANES) < 0)
        return -1;
    return state->network_type ? PyModule_AddType(module, state->network_type) : -1;
}
