/* optimizer_state.c: state_dict and load_state_dict of optimizers. */
#include "optimizer.h"

#include "convert.h"
#include "errors.h"

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

/* What a rule has besides lr, as a state has it. */
static PyObject *numbers_of(const sqz_rule_options *options) {
    if (options->rule == SQZ_SGD)
        return Py_BuildValue("{s:d,s:O}", "momentum", options->momentum, "nesterov",
                             options->nesterov ? Py_True : Py_False);
    return Py_BuildValue("{s:(dd),s:d}", "betas", options->beta1, options->beta2, "eps",
                         options->eps);
}

static int read_sgd(sqz_rule_options *options, PyObject *state) {
    if (number_of(&options->momentum, state, "momentum") < 0)
        return -1;
    PyObject *nesterov = value_of(state, "nesterov");
    int truth = nesterov ? PyObject_IsTrue(nesterov) : -1;
    options->nesterov = truth > 0;
    return truth < 0 ? -1 : 0;
}

static int read_adam(sqz_rule_options *options, PyObject *state) {
    PyObject *betas = value_of(state, "betas");
    PyObject *pair = betas ? PySequence_Tuple(betas) : NULL;
    int parsed = pair && PyArg_ParseTuple(pair, "dd;the optimizer's betas", &options->beta1,
                                          &options->beta2);
    Py_XDECREF(pair);
    return parsed ? number_of(&options->eps, state, "eps") : -1;
}

/* Takes `value`, which may be NULL with an exception set. */
static int put(PyObject *state, const char *key, PyObject *value) {
    int result = value ? PyDict_SetItemString(state, key, value) : -1;
    Py_XDECREF(value);
    return result;
}

static int fill_state(PyObject *state, const sqz_optimizer *optimizer, const sqz_model *model) {
    PyObject *numbers = numbers_of(&optimizer->options);
    int result = numbers ? PyDict_Update(state, numbers) : -1;
    Py_XDECREF(numbers);
    if (result < 0 || put(state, "spans", sqz_py_spans_of(optimizer)) < 0)
        return -1;
    const char *name;
    for (int i = 0; (name = sqz_moment_name(optimizer->options.rule, i)); i++)
        if (put(state, name, sqz_py_tensors_copied(model, optimizer->moments[i])) < 0)
            return -1;
    if (optimizer->average &&
        put(state, "average", sqz_py_tensors_copied(model, optimizer->average)) < 0)
        return -1;
    return optimizer->mask ? put(state, "mask", sqz_py_mask_of(optimizer)) : 0;
}

PyObject *sqz_py_optimizer_state_dict(sqz_py_optimizer *self, PyObject *unused) {
    (void)unused;
    sqz_model *model = sqz_py_optimizer_model(self);
    if (!model || sqz_py_begin_read((PyObject *)self, model) < 0)
        return NULL;
    const sqz_optimizer *optimizer = self->optimizer;
    PyObject *state = Py_BuildValue("{s:K,s:d}", "step", (unsigned long long)optimizer->step, "lr",
                                    optimizer->options.lr);
    if (state && fill_state(state, optimizer, model) < 0)
        Py_CLEAR(state);
    sqz_model_end_read(model);
    return state;
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

static int read_moments(sqz_optimizer *optimizer, const sqz_model *model, PyObject *state) {
    const char *name;
    for (int i = 0; (name = sqz_moment_name(optimizer->options.rule, i)); i++) {
        char what[64];
        PyObject *tensors = value_of(state, name);
        PyOS_snprintf(what, sizeof what, "the optimizer's %s", name);
        if (!tensors || sqz_py_tensors_read(optimizer->moments[i], model, tensors, what) < 0)
            return -1;
    }
    return optimizer->options.rule == SQZ_ADAM ? check_second_moments(optimizer->moments[1], model)
                                               : 0;
}

/* What is not of a state, but of the optimizer that continues from it. */
static int keep_on(sqz_optimizer *optimizer, const sqz_optimizer *former, const sqz_model *model,
                   PyObject *state) {
    sqz_error error;
    PyObject *average = PyDict_GetItemString(state, "average");
    optimizer->clip_norm = former->clip_norm;
    if (!former->average && average) {
        PyErr_SetString(PyExc_ValueError,
                        "the optimizer's state has an average, and this optimizer keeps none");
        return -1;
    }
    if (!former->average)
        return 0;
    if (sqz_optimizer_keep_average(optimizer, former->average, former->decay, &error) != SQZ_OK) {
        PyErr_NoMemory();
        return -1;
    }
    average = value_of(state, "average");
    return average
               ? sqz_py_tensors_read(optimizer->average, model, average, "the optimizer's average")
               : -1;
}

/* Into a second optimizer, so that a refused state leaves the first as it was. */
static int read_state(sqz_py_optimizer *self, sqz_optimizer **result, const sqz_model *model,
                      PyObject *state) {
    sqz_rule_options options = {.rule = self->optimizer->options.rule};
    uint64_t steps;
    PyObject *step = value_of(state, "step");
    if (!step || !sqz_py_to_uint64(step, &steps) || number_of(&options.lr, state, "lr") < 0)
        return -1;
    if ((options.rule == SQZ_SGD ? read_sgd(&options, state) : read_adam(&options, state)) < 0)
        return -1;
    sqz_error error;
    sqz_optimizer *optimizer;
    sqz_status status =
        sqz_optimizer_create(&optimizer, sqz_model_parameter_count(model), &options, &error);
    if (status != SQZ_OK) {
        sqz_py_raise_from((PyObject *)self, status, &error);
        return -1;
    }
    optimizer->step = steps;
    PyObject *spans = PyDict_GetItemString(state, "spans"); /* without: one, as a new one has */
    PyObject *mask = PyDict_GetItemString(state, "mask");
    if ((spans && sqz_py_set_spans(&optimizer, (PyObject *)self, NULL, spans) < 0) ||
        (mask && sqz_py_set_mask(&optimizer, (PyObject *)self, NULL, mask) < 0) ||
        read_moments(optimizer, model, state) < 0 ||
        keep_on(optimizer, self->optimizer, model, state) < 0) {
        sqz_optimizer_destroy(optimizer);
        return -1;
    }
    *result = optimizer;
    return 0;
}

PyObject *sqz_py_optimizer_load_state_dict(sqz_py_optimizer *self, PyObject *state) {
    sqz_model *model = sqz_py_optimizer_model(self);
    sqz_optimizer *optimizer = NULL;
    if (!model)
        return NULL;
    if (!PyDict_Check(state))
        return PyErr_Format(PyExc_TypeError, "the optimizer's state is of type %s, expected a dict",
                            Py_TYPE(state)->tp_name);
    if (read_state(self, &optimizer, model, state) < 0)
        return NULL;
    if (sqz_py_begin_write((PyObject *)self, model) < 0) { /* nobody is in a step */
        sqz_optimizer_destroy(optimizer);
        return NULL;
    }
    sqz_optimizer *former = self->optimizer;
    self->optimizer = optimizer;
    sqz_model_end_write(model);
    sqz_optimizer_destroy(former);
    Py_RETURN_NONE;
}
