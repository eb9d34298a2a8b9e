/* files.c: whole files as bytes; safetensors files, and Deep Compression's, as dicts of NumPy
 * arrays. Files are read and written without the GIL. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "network.h"
#include "parts.h"
#include "spec.h"

/* -- Whole files ------------------------------------------------------------------------------- */

/* What a call with a path, and sometimes a limit (None: none), opens; false with an exception set.
 * *path, bytes in the file system's encoding, is the caller's then, as the file is. */
static bool open_file(sqz_file *file, PyObject **path, PyObject *module, PyObject *path_argument,
                      PyObject *limit_argument) {
    long long limit = -1;
    if (limit_argument != Py_None) {
        limit = PyLong_AsLongLong(limit_argument);
        if (limit < 0 && !PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "limit is %lld, expected at least 0, or None", limit);
        if (limit < 0)
            return false;
    }
    if (!PyUnicode_FSConverter(path_argument, path))
        return false;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_file_open(file, PyBytes_AS_STRING(*path), limit, &error);
    Py_END_ALLOW_THREADS
    if (status == SQZ_OK)
        return true;
    Py_CLEAR(*path);
    sqz_py_raise(module, status, &error);
    return false;
}

static PyObject *read_file(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"path", "limit", NULL};
    PyObject *path_argument, *limit = Py_None, *path;
    sqz_file file;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O:read_file", names, &path_argument,
                                     &limit) ||
        !open_file(&file, &path, module, path_argument, limit))
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)file.size_bytes);
    if (bytes) {
        sqz_error error;
        sqz_status status;
        Py_BEGIN_ALLOW_THREADS
        status = sqz_file_read(&file, PyBytes_AS_STRING(bytes), (size_t)file.size_bytes, 0, &error);
        Py_END_ALLOW_THREADS
        if (status != SQZ_OK) {
            Py_CLEAR(bytes);
            sqz_py_raise(module, status, &error);
        }
    }
    sqz_file_close(&file);
    Py_DECREF(path);
    return bytes;
}

static PyObject *file_opener(PyObject *module, PyObject *args) {
    PyObject *path_argument, *path;
    int flags = O_RDONLY;
    sqz_file file;
    if (!PyArg_ParseTuple(args, "O|i:file_opener", &path_argument, &flags))
        return NULL;
    if ((flags & O_ACCMODE) != O_RDONLY)
        return PyErr_Format(PyExc_ValueError, "file_opener opens files for reading alone");
    if (!open_file(&file, &path, module, path_argument, Py_None))
        return NULL;
    Py_DECREF(path);
    PyObject *descriptor = PyLong_FromLong(file.descriptor);
    if (!descriptor)
        sqz_file_close(&file);
    return descriptor;
}

static PyObject *write_file(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"path", "data", NULL};
    PyObject *path = NULL;
    Py_buffer data;
    /* On an error the converter takes back the path. */
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&y*:write_file", names,
                                     PyUnicode_FSConverter, &path, &data))
        return NULL;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_file_write(PyBytes_AS_STRING(path), data.buf, (size_t)data.len, &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    Py_DECREF(path);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    Py_RETURN_NONE;
}

/* -- Reading ----------------------------------------------------------------------------------- */

/* A float32, uint8 or int8 array of the tensor's shape, with a copy of its values. */
static PyObject *array_of(const sqz_tensor *tensor) {
    npy_intp shape[sizeof tensor->shape / sizeof *tensor->shape];
    int type = tensor->dtype == SQZ_U8   ? NPY_UINT8
               : tensor->dtype == SQZ_I8 ? NPY_INT8
                                         : NPY_FLOAT32;
    for (int i = 0; i < tensor->rank; i++)
        shape[i] = (npy_intp)tensor->shape[i];
    PyObject *array = PyArray_SimpleNew(tensor->rank, shape, type);
    if (array && tensor->count)
        memcpy(PyArray_DATA((PyArrayObject *)array),
               tensor->values ? (const void *)tensor->values : tensor->bytes,
               (size_t)PyArray_NBYTES((PyArrayObject *)array));
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

/* The parameters of the spec's network by name; `path` is in the file system's encoding. */
static PyObject *decompressed(PyObject *module, const char *path, const sqz_spec *spec) {
    size_t count, floats = 0;
    sqz_parameter *rows = sqz_py_spec_parameters(module, spec, &count);
    for (size_t i = 0; rows && i < count; i++)
        floats += rows[i].count;
    float *parameters = rows ? malloc(floats * sizeof *parameters) : NULL;
    PyObject *tensors = NULL;
    if (parameters) {
        sqz_error error;
        sqz_status status;
        Py_BEGIN_ALLOW_THREADS
        status = sqz_deep_compression_read(parameters, spec, path, &error);
        Py_END_ALLOW_THREADS
        tensors = status == SQZ_OK ? sqz_py_tensors_of_rows(rows, count, parameters)
                                   : sqz_py_raise(module, status, &error);
    } else if (rows)
        PyErr_NoMemory();
    free(rows);
    free(parameters);
    return tensors;
}

static PyObject *read_deep_compression(PyObject *module, PyObject *args, PyObject *keywords) {
    PyObject *path;
    sqz_spec spec;
    if (!PyArg_ParseTuple(args, "O&:read_deep_compression", PyUnicode_FSConverter, &path))
        return NULL;
    PyObject *none = PyTuple_New(0), *answer = NULL;
    if (none && sqz_py_spec_parse(&spec, NULL, none, keywords, "read_deep_compression") == 0)
        answer = decompressed(module, PyBytes_AS_STRING(path), &spec);
    Py_XDECREF(none);
    Py_DECREF(path);
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

/* The dtype of an array in the file; false with TypeError set: it has none. */
static bool dtype_of(sqz_dtype *dtype, PyObject *key, PyObject *value) {
    switch (PyArray_Check(value) ? PyArray_TYPE((PyArrayObject *)value) : -1) {
    case NPY_FLOAT32:
        *dtype = SQZ_F32;
        return true;
    case NPY_UINT8:
        *dtype = SQZ_U8;
        return true;
    case NPY_INT8:
        *dtype = SQZ_I8;
        return true;
    }
    PyObject *found = PyArray_Check(value)
                          ? PyObject_Str((PyObject *)PyArray_DESCR((PyArrayObject *)value))
                          : PyUnicode_FromString(Py_TYPE(value)->tp_name);
    if (found)
        PyErr_Format(PyExc_TypeError, "tensor %R is %s%U, expected a float32, uint8 or int8 array",
                     key, PyArray_Check(value) ? "an array of " : "a ", found);
    Py_XDECREF(found);
    return false;
}

/* What is saved is what was given, to the last bit, but for what `dtypes` asks to round. */
static bool fill_tensor(contents *c, Py_ssize_t i) {
    PyObject *item = PyList_GET_ITEM(c->tensor_items, i);
    PyObject *key = PyTuple_GET_ITEM(item, 0), *value = PyTuple_GET_ITEM(item, 1);
    sqz_tensor *tensor = &c->tensors[i];
    tensor->name = as_text(key, "the tensor name");
    if (!tensor->name || !dtype_of(&tensor->dtype, key, value))
        return false;
    PyArrayObject *array = (PyArrayObject *)PyArray_FROM_OF(
        value, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_NOTSWAPPED);
    if (!array)
        return false;
    c->arrays[i] = array;
    tensor->rank = PyArray_NDIM(array); /* above 8 the library refuses, without a look at shape */
    for (int d = 0; d < tensor->rank && d < 8; d++)
        tensor->shape[d] = PyArray_DIM(array, d);
    tensor->count = (size_t)PyArray_SIZE(array);
    if (tensor->dtype == SQZ_F32)
        tensor->values = PyArray_DATA(array);
    else
        tensor->bytes = PyArray_DATA(array);
    return true;
}

/* Does what `dtypes` asks for: "F16" or "BF16" by the name of a tensor of floats. */
static bool choose_dtypes(contents *c, PyObject *dtypes) {
    PyObject *key, *wanted;
    for (Py_ssize_t position = 0; PyDict_Next(dtypes, &position, &key, &wanted);) {
        const char *name = as_text(key, "the tensor name");
        const char *dtype = name ? as_text(wanted, "the dtype") : NULL;
        if (!dtype)
            return false;
        Py_ssize_t i = 0;
        while (i < c->tensor_count && strcmp(c->tensors[i].name, name) != 0)
            i++;
        if (i == c->tensor_count) {
            PyErr_Format(PyExc_ValueError, "dtypes names tensor %R, which is not there", key);
            return false;
        }
        bool is_half = strcmp(dtype, "F16") == 0;
        if (c->tensors[i].dtype != SQZ_F32 || !(is_half || strcmp(dtype, "BF16") == 0)) {
            PyErr_Format(PyExc_ValueError,
                         "dtypes asks for %R of tensor %R, expected 'F16' or 'BF16' of a float32 "
                         "array",
                         wanted, key);
            return false;
        }
        c->tensors[i].dtype = is_half ? SQZ_F16 : SQZ_BF16;
    }
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

static bool fill(contents *c, PyObject *tensors, PyObject *metadata, PyObject *dtypes) {
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
    return !dtypes || choose_dtypes(c, dtypes);
}

static PyObject *write_safetensors(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"path", "tensors", "metadata", "dtypes", NULL};
    contents c = {0};
    PyObject *tensors, *metadata, *dtypes = NULL;
    /* On an error the converter takes back the path. */
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O&O!O!|O!:write_safetensors", names,
                                     PyUnicode_FSConverter, &c.path, &PyDict_Type, &tensors,
                                     &PyDict_Type, &metadata, &PyDict_Type, &dtypes))
        return NULL;
    if (!fill(&c, tensors, metadata, dtypes)) {
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
    {"read_file", (PyCFunction)(void (*)(void))read_file, METH_VARARGS | METH_KEYWORDS,
     "read_file(path, limit=None) -> bytes\n\n"
     "All of a regular file. Never waits: a pipe, a socket or a device is a BadFileError, and so\n"
     "is a file of more than `limit` bytes. OSError: it cannot be read."},
    {"file_opener", file_opener, METH_VARARGS,
     "file_opener(path, flags=os.O_RDONLY) -> int\n\n"
     "For open(path, \"rb\", opener=file_opener): the descriptor of a regular file, with the "
     "errors\n"
     "of read_file."},
    {"write_file", (PyCFunction)(void (*)(void))write_file, METH_VARARGS | METH_KEYWORDS,
     "write_file(path, data)\n\n"
     "Write the bytes, atomically: a temporary file in the same folder, fsync, rename. "
     "Permissions\n"
     "of a file that is there are kept, symbolic links followed. OSError, which names the path: "
     "it\n"
     "cannot be written, and what was at `path` is untouched."},
    {"read_safetensors", read_safetensors, METH_O,
     "read_safetensors(path) -> (tensors, metadata)\n\n"
     "The file's tensors, name -> array (float32, to which float16 and bfloat16 are converted,\n"
     "uint8 or int8), and its metadata, str -> str, both in the header's order. BadFileError: the\n"
     "contents are not what they should be. OSError: the file cannot be read."},
    {"read_deep_compression", (PyCFunction)(void (*)(void))read_deep_compression,
     METH_VARARGS | METH_KEYWORDS,
     "read_deep_compression(path, **spec) -> tensors\n\n"
     "What a file in the form of Deep Compression's SqueezeNet holds, name -> float32 array in\n"
     "state_dict's order, for the network of Network's arguments but seed. Nothing is folded.\n"
     "BadFileError: the contents are not what they should be. OSError: it cannot be read."},
    {"write_safetensors", (PyCFunction)(void (*)(void))write_safetensors,
     METH_VARARGS | METH_KEYWORDS,
     "write_safetensors(path, tensors, metadata, dtypes={})\n\n"
     "Write name -> float32, uint8 or int8 array and str -> str, in the dicts' order, atomically:\n"
     "after an error what was at `path` is untouched. `dtypes`, name -> \"F16\" or \"BF16\", "
     "rounds\n"
     "float32 arrays to the nearest of it. TypeError: another kind of value. ValueError: dtypes\n"
     "says something else, or a finite number is beyond the range of the dtype. OSError: the file\n"
     "cannot be written."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_files(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
