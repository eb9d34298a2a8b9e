/* files.c: safetensors files as dicts of NumPy arrays. Files are read and written without the GIL.
 */
#include <string.h>

#include "errors.h"
#include "parts.h"

/* -- Reading ----------------------------------------------------------------------------------- */

/* An array of the tensor's shape with a copy of its values. */
static PyObject *array_of(const sqz_tensor *tensor) {
    npy_intp shape[sizeof tensor->shape / sizeof *tensor->shape];
    for (int i = 0; i < tensor->rank; i++)
        shape[i] = (npy_intp)tensor->shape[i];
    PyObject *array = PyArray_SimpleNew(tensor->rank, shape, NPY_FLOAT32);
    if (array && tensor->count)
        memcpy(PyArray_DATA((PyArrayObject *)array), tensor->values,
               tensor->count * sizeof *tensor->values);
    return array;
}

/* dict[key] = value; takes over the value, which may be NULL after an error. */
static int set_item(PyObject *dict, const char *key, PyObject *value) {
    int status = value ? PyDict_SetItemString(dict, key, value) : -1;
    Py_XDECREF(value);
    return status;
}

static PyObject *dicts_of(const sqz_tensor_file *file) {
    PyObject *tensors = PyDict_New(), *metadata = PyDict_New();
    int status = tensors && metadata ? 0 : -1;
    for (size_t i = 0; status == 0 && i < sqz_tensor_file_count(file); i++) {
        const sqz_tensor *tensor = sqz_tensor_file_tensor(file, i);
        status = set_item(tensors, tensor->name, array_of(tensor));
    }
    for (size_t i = 0; status == 0 && i < sqz_tensor_file_metadata_count(file); i++) {
        const sqz_metadata *pair = sqz_tensor_file_metadata(file, i);
        status = set_item(metadata, pair->key, PyUnicode_FromString(pair->value));
    }
    if (status == 0)
        return Py_BuildValue("(NN)", tensors, metadata);
    Py_XDECREF(tensors);
    Py_XDECREF(metadata);
    return NULL;
}

static PyObject *read_safetensors(PyObject *module, PyObject *argument) {
    PyObject *path; /* bytes in the file system's encoding */
    if (!PyUnicode_FSConverter(argument, &path))
        return NULL;
    sqz_tensor_file *file;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_tensor_file_read(&file, PyBytes_AS_STRING(path), &error);
    Py_END_ALLOW_THREADS
    Py_DECREF(path);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    PyObject *answer = dicts_of(file);
    sqz_tensor_file_destroy(file);
    return answer;
}

/* -- Writing ----------------------------------------------------------------------------------- */

/* What a call to the library refers to. Names are the keys' own UTF-8, alive as long as `items`. */
typedef struct {
    PyObject *path;                          /* bytes */
    PyObject *tensor_items, *metadata_items; /* lists of pairs */
    PyArrayObject **arrays;                  /* contiguous, one a tensor */
    sqz_tensor *tensors;
    sqz_metadata *metadata;
    Py_ssize_t tensor_count, metadata_count;
} contents;

static void release(contents *c) {
    for (Py_ssize_t i = 0; c->arrays && i < c->tensor_count; i++)
        Py_XDECREF(c->arrays[i]);
    PyMem_Free(c->arrays);
    PyMem_Free(c->tensors);
    PyMem_Free(c->metadata);
    Py_XDECREF(c->tensor_items);
    Py_XDECREF(c->metadata_items);
    Py_XDECREF(c->path);
}

/* The string's UTF-8; NULL with an exception set if it is no string or C cannot hold it. */
static const char *as_text(PyObject *object, const char *what) {
    Py_ssize_t size_bytes;
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s %R is a %s, expected a str", what, object,
                     Py_TYPE(object)->tp_name);
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(object, &size_bytes);
    if (text && strlen(text) != (size_t)size_bytes) {
        PyErr_Format(PyExc_ValueError, "%s %R holds a NUL character", what, object);
        return NULL;
    }
    return text;
}

/* Only float32 is taken: what is saved is then what was given, to the last bit. */
static bool fill_tensor(contents *c, Py_ssize_t i) {
    PyObject *item = PyList_GET_ITEM(c->tensor_items, i);
    PyObject *key = PyTuple_GET_ITEM(item, 0), *value = PyTuple_GET_ITEM(item, 1);
    sqz_tensor *tensor = &c->tensors[i];
    tensor->name = as_text(key, "the tensor name");
    if (!tensor->name)
        return false;
    if (!PyArray_Check(value) || PyArray_TYPE((PyArrayObject *)value) != NPY_FLOAT32) {
        PyObject *found = PyArray_Check(value)
                              ? PyObject_Str((PyObject *)PyArray_DESCR((PyArrayObject *)value))
                              : PyUnicode_FromString(Py_TYPE(value)->tp_name);
        if (found)
            PyErr_Format(PyExc_TypeError, "tensor %R is %s%U, expected a float32 array", key,
                         PyArray_Check(value) ? "an array of " : "a ", found);
        Py_XDECREF(found);
        return false;
    }
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_OF(
        value, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_NOTSWAPPED);
    if (!array)
        return false;
    c->arrays[i] = array;
    tensor->dtype = SQZ_F32;
    tensor->rank = PyArray_NDIM(array); /* above 8 the library refuses, without a look at shape */
    for (int d = 0; d < tensor->rank && d < 8; d++)
        tensor->shape[d] = PyArray_DIM(array, d);
    tensor->count = (size_t)PyArray_SIZE(array);
    tensor->values = PyArray_DATA(array);
    return true;
}

static bool fill_metadata(contents *c, Py_ssize_t i) {
    PyObject *item = PyList_GET_ITEM(c->metadata_items, i);
    c->metadata[i].key = as_text(PyTuple_GET_ITEM(item, 0), "the metadata key");
    if (!c->metadata[i].key)
        return false;
    c->metadata[i].value = as_text(PyTuple_GET_ITEM(item, 1), "the metadata value");
    return c->metadata[i].value;
}

static bool fill(contents *c, PyObject *tensors, PyObject *metadata) {
    c->tensor_items = PyDict_Items(tensors);
    c->metadata_items = PyDict_Items(metadata);
    if (!c->tensor_items || !c->metadata_items)
        return false;
    c->tensor_count = PyList_GET_SIZE(c->tensor_items);
    c->metadata_count = PyList_GET_SIZE(c->metadata_items);
    c->arrays = PyMem_Calloc((size_t)c->tensor_count + 1, sizeof *c->arrays);
    c->tensors = PyMem_Calloc((size_t)c->tensor_count + 1, sizeof *c->tensors);
    c->metadata = PyMem_Calloc((size_t)c->metadata_count + 1, sizeof *c->metadata);
    if (!c->arrays || !c->tensors || !c->metadata) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < c->tensor_count; i++)
        if (!fill_tensor(c, i))
            return false;
    for (Py_ssize_t i = 0; i < c->metadata_count; i++)
        if (!fill_metadata(c, i))
            return false;
    return true;
}

static PyObject *write_safetensors(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"path", "tensors", "metadata", NULL};
    contents c = {0};
    PyObject *tensors, *metadata;
    /* On an error the converter takes back the path. */
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O!O!:write_safetensors", names,
                                     PyUnicode_FSConverter, &c.path, &PyDict_Type, &tensors,
                                     &PyDict_Type, &metadata))
        return NULL;
    if (!fill(&c, tensors, metadata)) {
        release(&c);
        return NULL;
    }
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_tensor_file_write(PyBytes_AS_STRING(c.path), c.tensors, (size_t)c.tensor_count,
                                   c.metadata, (size_t)c.metadata_count, &error);
    Py_END_ALLOW_THREADS
    release(&c);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"read_safetensors", read_safetensors, METH_O,
     "read_safetensors(path) -> (tensors, metadata)\n\n"
     "The file's tensors, name -> float32 array (float16 and bfloat16 are converted), and its\n"
     "metadata, str -> str, both in the header's order. BadFileError: the contents are not what\n"
     "they should be. OSError: the file cannot be read."},
    {"write_safetensors", (PyCFunction)(void (*)(void))write_safetensors,
     METH_VARARGS | METH_KEYWORDS,
     "write_safetensors(path, tensors, metadata)\n\n"
     "Write name -> float32 array and str -> str, in the dicts' order, atomically: after an error\n"
     "what was at `path` is untouched. TypeError: another kind of value. OSError: the file cannot\n"
     "be written."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_files(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
