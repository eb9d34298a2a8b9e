/* spec.c: see spec.h; and what a spec says without a network: SPEC_FIELDS, parameter_shapes. */
#include "spec.h"

#include "convert.h"
#include "errors.h"
#include "parts.h"

#include <stdlib.h>

/* -- One field --------------------------------------------------------------------------------- */

/* "'1_0' or '1_1'", of a WORD's values: a new reference. */
static PyObject *words_text(const sqz_spec_field *field) {
    PyObject *text = PyUnicode_FromString("");
    for (size_t i = 0; text && i < field->word_count; i++) {
        const char *name = field->words[i].name, *quote = name ? "'" : "";
        const char *between = i == 0 ? "" : i + 1 == field->word_count ? " or " : ", ";
        PyObject *longer =
            PyUnicode_FromFormat("%U%s%s%s%s", text, between, quote, name ? name : "None", quote);
        Py_SETREF(text, longer);
    }
    return text;
}

/* Sets `type`: "<field> is <value>, expected ..."; -1. A value may be long, and of a file. */
static int refuse(PyObject *type, const sqz_spec_field *field, PyObject *value) {
    char range[80] = "True or False";
    PyObject *words = NULL;
    if (field->kind == SQZ_FIELD_WORD)
        words = words_text(field);
    else if (field->kind != SQZ_FIELD_FLAG)
        sqz_spec_field_range(range, field);
    if (words)
        PyErr_Format(type, "%s is %.100R, expected %U", field->name, value, words);
    else if (!PyErr_Occurred())
        PyErr_Format(type, "%s is %.100R, expected %s", field->name, value, range);
    Py_XDECREF(words);
    return -1;
}

static int word_of(double *number, const sqz_spec_field *field, PyObject *value) {
    for (size_t i = 0; i < field->word_count; i++) {
        const char *name = field->words[i].name;
        if (name ? PyUnicode_Check(value) && !PyUnicode_CompareWithASCIIString(value, name)
                 : value == Py_None) {
            *number = field->words[i].value;
            return 0;
        }
    }
    return refuse(PyUnicode_Check(value) ? PyExc_ValueError : PyExc_TypeError, field, value);
}

static bool is_flag(PyObject *value) {
    return PyBool_Check(value) || PyArray_IsScalar(value, Bool);
}

static int whole_of(double *number, const sqz_spec_field *field, PyObject *value) {
    int overflow = 0;
    if (is_flag(value) || !PyIndex_Check(value))
        return refuse(PyExc_TypeError, field, value);
    PyObject *index = PyNumber_Index(value);
    long whole = index ? PyLong_AsLongAndOverflow(index, &overflow) : -1;
    Py_XDECREF(index);
    if (whole == -1 && PyErr_Occurred())
        return -1;
    if (overflow || whole > INT_MAX || whole < INT_MIN)
        return refuse(PyExc_ValueError, field, value);
    *number = (double)whole;
    return 0;
}

static int number_of(double *number, const sqz_spec_field *field, PyObject *value) {
    if (is_flag(value) || !PyNumber_Check(value))
        return refuse(PyExc_TypeError, field, value);
    *number = PyFloat_AsDouble(value);
    if (*number != -1 || !PyErr_Occurred())
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_OverflowError))
        return -1;
    PyErr_Clear();
    return refuse(PyExc_ValueError, field, value);
}

static int set_field(sqz_spec *spec, const sqz_spec_field *field, PyObject *value) {
    double number = 0;
    int result = 0;
    if (field->kind == SQZ_FIELD_WORD)
        result = word_of(&number, field, value);
    else if (field->kind == SQZ_FIELD_WHOLE)
        result = whole_of(&number, field, value);
    else if (field->kind == SQZ_FIELD_NUMBER)
        result = number_of(&number, field, value);
    else if (!is_flag(value))
        result = refuse(PyExc_TypeError, field, value);
    else
        number = PyObject_IsTrue(value);
    if (result == 0)
        sqz_spec_set(spec, field, number);
    return result;
}

static PyObject *value_of(const sqz_spec *spec, const sqz_spec_field *field) {
    double number = sqz_spec_get(spec, field);
    switch (field->kind) {
    case SQZ_FIELD_NUMBER:
        return PyFloat_FromDouble(number);
    case SQZ_FIELD_FLAG:
        return PyBool_FromLong(number != 0);
    case SQZ_FIELD_WHOLE:
        return PyLong_FromDouble(number);
    default:
        for (size_t i = 0; i < field->word_count; i++)
            if (field->words[i].value == (int)number && field->words[i].name)
                return PyUnicode_FromString(field->words[i].name);
        return Py_NewRef(Py_None);
    }
}

/* -- A call's arguments ------------------------------------------------------------------------ */

static int refuse_unknown(PyObject *kwargs, const char *function, bool has_seed) {
    size_t count;
    const sqz_spec_field *fields = sqz_spec_fields(&count);
    PyObject *key, *value;
    for (Py_ssize_t position = 0; PyDict_Next(kwargs, &position, &key, &value);) {
        bool known = has_seed && PyUnicode_CompareWithASCIIString(key, "seed") == 0;
        for (size_t i = 0; !known && i < count; i++)
            known = PyUnicode_CompareWithASCIIString(key, fields[i].name) == 0;
        if (!known) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %.100R",
                         function, key);
            return -1;
        }
    }
    return 0;
}

int sqz_py_spec_parse(sqz_spec *spec, uint64_t *seed, PyObject *args, PyObject *kwargs,
                      const char *function) {
    enum { BY_POSITION = 2 };
    size_t count;
    const sqz_spec_field *fields = sqz_spec_fields(&count);
    Py_ssize_t given = PyTuple_GET_SIZE(args);
    if (given > BY_POSITION) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
                     function, (int)BY_POSITION, given);
        return -1;
    }
    if (kwargs && refuse_unknown(kwargs, function, seed) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        sqz_spec_set(spec, &fields[i], fields[i].initial);
        bool positional = (Py_ssize_t)i < given;
        PyObject *value = kwargs ? PyDict_GetItemString(kwargs, fields[i].name) : NULL;
        if (positional && value) {
            PyErr_Format(PyExc_TypeError, "%s() got two values for '%s'", function, fields[i].name);
            return -1;
        }
        value = positional ? PyTuple_GET_ITEM(args, (Py_ssize_t)i) : value;
        if (value && set_field(spec, &fields[i], value) < 0)
            return -1;
    }
    PyObject *value = seed && kwargs ? PyDict_GetItemString(kwargs, "seed") : NULL;
    if (seed)
        *seed = 0;
    return !value || sqz_py_to_uint64(value, seed) ? 0 : -1;
}

PyObject *sqz_py_spec_dict(const sqz_spec *spec) {
    size_t count;
    const sqz_spec_field *fields = sqz_spec_fields(&count);
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < count; i++) {
        PyObject *value = value_of(spec, &fields[i]);
        if (!value || PyDict_SetItemString(dict, fields[i].name, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    return dict;
}

/* -- The module's ------------------------------------------------------------------------------ */

static PyObject *dict_of_shapes(const sqz_parameter *rows, size_t count) {
    PyObject *shapes = PyDict_New();
    for (size_t i = 0; shapes && i < count; i++) {
        PyObject *shape = sqz_py_shape(rows[i].shape, rows[i].rank);
        if (!shape || PyDict_SetItemString(shapes, rows[i].name, shape) < 0)
            Py_CLEAR(shapes);
        Py_XDECREF(shape);
    }
    return shapes;
}

sqz_parameter *sqz_py_spec_parameters(PyObject *module, const sqz_spec *spec, size_t *count) {
    sqz_error error;
    sqz_parameter *rows = NULL;
    sqz_status status = sqz_spec_parameters(spec, NULL, 0, count, &error);
    if (status == SQZ_OK) {
        rows = calloc(*count, sizeof *rows);
        if (!rows) {
            PyErr_NoMemory();
            return NULL;
        }
        status = sqz_spec_parameters(spec, rows, *count, count, &error);
    }
    if (status == SQZ_OK)
        return rows;
    free(rows);
    sqz_py_raise(module, status, &error);
    return NULL;
}

static PyObject *parameter_shapes(PyObject *module, PyObject *args, PyObject *kwargs) {
    sqz_spec spec;
    size_t count;
    if (sqz_py_spec_parse(&spec, NULL, args, kwargs, "parameter_shapes") < 0)
        return NULL;
    sqz_parameter *rows = sqz_py_spec_parameters(module, &spec, &count);
    PyObject *shapes = rows ? dict_of_shapes(rows, count) : NULL;
    free(rows);
    return shapes;
}

static PyMethodDef functions[] = {
    {"parameter_shapes", (PyCFunction)(void (*)(void))parameter_shapes,
     METH_VARARGS | METH_KEYWORDS,
     "parameter_shapes(version='1_1', num_classes=2, **spec) -> dict\n\n"
     "The shapes of a Network's parameters by name, in state_dict's order, of its arguments but\n"
     "seed: no network is made, so it costs nothing however large that would be."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_spec(PyObject *module) {
    sqz_spec spec;
    sqz_spec_default(&spec, SQZ_VERSION_1_1, 2);
    PyObject *fields = sqz_py_spec_dict(&spec);
    int result = fields ? PyModule_AddObjectRef(module, "SPEC_FIELDS", fields) : -1;
    Py_XDECREF(fields);
    return result < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
