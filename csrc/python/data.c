/* data.c: PictureStore, files or arrays that become pictures, and PictureLoader, which reads one
 * ahead. Both decode without the GIL (decoder.c takes it for formats that Pillow decodes). Neither
 * can be subclassed, so that the type of an object knows the module. */
#include <limits.h>

#include "convert.h"
#include "errors.h"
#include "parts.h"

typedef struct {
    PyObject ob_base;
    sqz_dataset *dataset;
    PyObject
        *pictures; /* a tuple of the arrays that the data set reads; NULL where it reads files */
    int image_size;
} store_object;

typedef struct {
    PyObject ob_base;
    sqz_loader *loader;
    store_object *store; /* owned: the loader reads its data set */
    Py_ssize_t left;     /* pictures that next has not given yet */
    bool busy;           /* a thread is in next */
} loader_object;

/* -- Arguments --------------------------------------------------------------------------------- */

/* An integer from least to most; false with an exception set otherwise. */
static bool as_integer(Py_ssize_t *value, PyObject *object, const char *name, Py_ssize_t least,
                       Py_ssize_t most) {
    PyObject *integer = PyNumber_Index(object);
    if (!integer)
        return false;
    *value = PyNumber_AsSsize_t(integer, NULL); /* clipped, which is out of range where it counts */
    bool fits = *value >= least && *value <= most;
    if (!fits)
        PyErr_Format(PyExc_ValueError, "%s is %S, expected an integer from %zd to %zd", name,
                     integer, least, most);
    Py_DECREF(integer);
    return fits;
}

/* The paths as a tuple of bytes in the file system's encoding. */
static PyObject *as_path_bytes(PyObject *paths) {
    PyObject *encoded = PyTuple_New(PyTuple_GET_SIZE(paths));
    for (Py_ssize_t i = 0; encoded && i < PyTuple_GET_SIZE(paths); i++) {
        PyObject *path;
        if (PyUnicode_FSConverter(PyTuple_GET_ITEM(paths, i), &path))
            PyTuple_SET_ITEM(encoded, i, path);
        else
            Py_CLEAR(encoded);
    }
    return encoded;
}

/* The arrays as a tuple of such as the library reads. */
static PyObject *as_pictures(PyObject *tuple) {
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    PyObject *pictures = PyTuple_New(count);
    for (Py_ssize_t i = 0; pictures && i < count; i++) {
        PyObject *picture =
            (PyObject *)sqz_py_picture_array(PyTuple_GET_ITEM(tuple, i), "a picture");
        if (picture)
            PyTuple_SET_ITEM(pictures, i, picture);
        else
            Py_CLEAR(pictures);
    }
    return pictures;
}

/* A one-dimensional int64 array. */
static PyArrayObject *as_order(PyObject *object) {
    PyArrayObject *given = (PyArrayObject *)PyArray_FROM_O(object);
    if (!given)
        return NULL;
    PyArrayObject *order = NULL;
    if (PyArray_NDIM(given) != 1)
        PyErr_Format(PyExc_ValueError, "order has %d dimensions, expected 1", PyArray_NDIM(given));
    else if (!PyArray_ISINTEGER(given) && PyArray_SIZE(given) > 0) /* [] is an array of floats */
        PyErr_Format(PyExc_TypeError, "order is an array of %S, expected integers",
                     (PyObject *)PyArray_DESCR(given));
    else
        order = (PyArrayObject *)PyArray_FROM_OTF((PyObject *)given, NPY_INT64,
                                                  NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED |
                                                      NPY_ARRAY_FORCECAST | NPY_ARRAY_NOTSWAPPED);
    Py_DECREF(given);
    return order;
}

/* -- PictureStore ------------------------------------------------------------------------------ */

/* Of paths as bytes. */
static sqz_status create_of_files(store_object *self, PyObject *paths, sqz_fit fit,
                                  size_t cache_bytes, sqz_error *error) {
    Py_ssize_t count = PyTuple_GET_SIZE(paths);
    const char **names = PyMem_Calloc((size_t)count + 1, sizeof *names);
    if (!names) {
        snprintf(error->message, sizeof error->message, "out of memory for %zd paths", count);
        return SQZ_NO_MEMORY;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        names[i] = PyBytes_AS_STRING(PyTuple_GET_ITEM(paths, i));
    sqz_status status = sqz_dataset_create(&self->dataset, names, (size_t)count, self->image_size,
                                           fit, cache_bytes, error);
    PyMem_Free(names);
    return status;
}

/* Of self->pictures. */
static sqz_status create_in_memory(store_object *self, sqz_fit fit, size_t cache_bytes,
                                   sqz_error *error) {
    Py_ssize_t count = PyTuple_GET_SIZE(self->pictures);
    sqz_image *images = PyMem_Calloc((size_t)count + 1, sizeof *images);
    if (!images) {
        snprintf(error->message, sizeof error->message, "out of memory for %zd pictures", count);
        return SQZ_NO_MEMORY;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyArrayObject *picture = (PyArrayObject *)PyTuple_GET_ITEM(self->pictures, i);
        images[i] = (sqz_image){.h = (int)PyArray_DIM(picture, 0),
                                .w = (int)PyArray_DIM(picture, 1),
                                .pixels = PyArray_DATA(picture)};
    }
    sqz_status status = sqz_dataset_create_in_memory(&self->dataset, images, (size_t)count,
                                                     self->image_size, fit, cache_bytes, error);
    PyMem_Free(images);
    return status;
}

/* Of a tuple of paths or of arrays; false with an exception set. */
static bool create_dataset(store_object *self, PyObject *sources, sqz_fit fit, size_t cache_bytes) {
    sqz_error error;
    sqz_status status;
    if (PyTuple_GET_SIZE(sources) && PyArray_Check(PyTuple_GET_ITEM(sources, 0))) {
        self->pictures = as_pictures(sources);
        if (!self->pictures)
            return false;
        status = create_in_memory(self, fit, cache_bytes, &error);
    } else {
        PyObject *paths = as_path_bytes(sources);
        if (!paths)
            return false;
        status = create_of_files(self, paths, fit, cache_bytes, &error);
        Py_DECREF(paths);
    }
    if (status != SQZ_OK)
        sqz_py_raise_from((PyObject *)self, status, &error);
    return status == SQZ_OK;
}

static PyObject *store_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"sources", "image_size", "cache_bytes", "fit", "share", NULL};
    PyObject *argument, *size_argument = NULL, *cache_argument = NULL, *share = Py_None;
    sqz_fit fit = SQZ_FIT_PAD;
    Py_ssize_t image_size = 224, cache_bytes = (Py_ssize_t)1 << 30;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|OOO&O:PictureStore", names, &argument,
                                     &size_argument, &cache_argument, sqz_py_to_fit, &fit, &share))
        return NULL;
    if (share != Py_None && !Py_IS_TYPE(share, type)) {
        PyErr_Format(PyExc_TypeError, "share is a %s, expected a PictureStore or None",
                     Py_TYPE(share)->tp_name);
        return NULL;
    }
    if (size_argument && !as_integer(&image_size, size_argument, "image_size", 1, INT_MAX))
        return NULL;
    if (cache_argument &&
        !as_integer(&cache_bytes, cache_argument, "cache_bytes", 0, PY_SSIZE_T_MAX))
        return NULL;
    if (PyUnicode_Check(argument) || PyBytes_Check(argument)) {
        PyErr_Format(PyExc_TypeError, "sources is a %s, expected a sequence of paths or of arrays",
                     Py_TYPE(argument)->tp_name);
        return NULL;
    }
    PyObject *sources = PySequence_Tuple(argument);
    store_object *self = sources ? (store_object *)type->tp_alloc(type, 0) : NULL;
    if (self) {
        self->image_size = (int)image_size;
        if (!create_dataset(self, sources, fit, (size_t)cache_bytes))
            Py_CLEAR(self);
        else if (share != Py_None)
            sqz_dataset_share_cache(self->dataset, ((store_object *)share)->dataset);
    }
    Py_XDECREF(sources);
    return (PyObject *)self;
}

/* An object refers to its type, as heap types have it. */
static int store_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((store_object *)self)->pictures);
    return 0;
}

static void store_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    sqz_dataset_destroy(((store_object *)self)->dataset);
    Py_XDECREF(((store_object *)self)->pictures);
    type->tp_free(self);
    Py_DECREF(type);
}

static Py_ssize_t store_length(PyObject *self) {
    return (Py_ssize_t)sqz_dataset_count(((store_object *)self)->dataset);
}

/* A new uint8 array, ([count,] size, size, 3); count < 0: without it. */
static PyObject *new_pictures(Py_ssize_t count, int size) {
    npy_intp shape[4] = {count, size, size, 3};
    return count < 0 ? PyArray_SimpleNew(3, shape + 1, NPY_UINT8)
                     : PyArray_SimpleNew(4, shape, NPY_UINT8);
}

static PyObject *store_picture(PyObject *object, PyObject *argument) {
    store_object *self = (store_object *)object;
    Py_ssize_t index = PyNumber_AsSsize_t(argument, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred())
        return NULL;
    if (index < 0 || index >= store_length(object))
        return PyErr_Format(PyExc_IndexError,
                            "index is %zd, expected 0 or more and less than %zd, the count of "
                            "pictures",
                            index, store_length(object));
    PyObject *picture = new_pictures(-1, self->image_size);
    if (!picture)
        return NULL;
    uint8_t *pixels = PyArray_DATA((PyArrayObject *)picture);
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_dataset_picture(self->dataset, (size_t)index, pixels, &error);
    Py_END_ALLOW_THREADS
    if (status == SQZ_OK)
        return picture;
    Py_DECREF(picture);
    return sqz_py_raise_from(object, status, &error);
}

static PyObject *loader_create(store_object *store, PyArrayObject *order, Py_ssize_t ahead,
                               int threads) {
    PyObject *module = PyType_GetModule(Py_TYPE(store));
    if (!module)
        return NULL;
    PyTypeObject *type = sqz_py_state(module)->loader_type;
    loader_object *self = (loader_object *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    sqz_error error;
    self->store = (store_object *)Py_NewRef(store);
    self->left = PyArray_SIZE(order);
    sqz_status status = sqz_loader_create(&self->loader, store->dataset, PyArray_DATA(order),
                                          (size_t)self->left, (size_t)ahead, threads, &error);
    if (status == SQZ_OK)
        return (PyObject *)self;
    Py_DECREF(self);
    return sqz_py_raise(module, status, &error);
}

static PyObject *store_loader(PyObject *self, PyObject *args, PyObject *keywords) {
    static char *names[] = {"order", "ahead", "threads", NULL};
    PyObject *order_argument, *ahead_argument = NULL, *threads_argument = NULL;
    Py_ssize_t ahead = 64, threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|OO:loader", names, &order_argument,
                                     &ahead_argument, &threads_argument))
        return NULL;
    if (ahead_argument && !as_integer(&ahead, ahead_argument, "ahead", 1, PY_SSIZE_T_MAX))
        return NULL;
    if (threads_argument && !as_integer(&threads, threads_argument, "threads", 0, INT_MAX))
        return NULL;
    PyArrayObject *order = as_order(order_argument);
    if (!order)
        return NULL;
    PyObject *loader = loader_create((store_object *)self, order, ahead,
                                     threads ? (int)threads : sqz_get_num_threads());
    Py_DECREF(order);
    return loader;
}

static PyObject *store_image_size(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(((store_object *)self)->image_size);
}

static PyObject *store_cached_bytes(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(sqz_dataset_cached_bytes(((store_object *)self)->dataset));
}

static PyMethodDef store_methods[] = {
    {"picture", store_picture, METH_O,
     "picture(index) -> array\n\n"
     "Picture `index`, (size, size, 3) uint8, a copy. IndexError: no such index. BadFileError or\n"
     "OSError: the file is no picture or cannot be read."},
    {"loader", (PyCFunction)(void (*)(void))store_loader, METH_VARARGS | METH_KEYWORDS,
     "loader(order, ahead=64, threads=0) -> PictureLoader\n\n"
     "Reads the pictures whose indices are in `order`, decoding up to `ahead` of them before they\n"
     "are asked for, on `threads` threads (0: get_num_threads())."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef store_attributes[] = {
    {"image_size", store_image_size, NULL, "The side of a picture, in pixels.", NULL},
    {"cached_bytes", store_cached_bytes, NULL, "Bytes of pictures kept in memory now.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot store_slots[] = {
    {Py_tp_doc,
     "PictureStore(sources, image_size=224, cache_bytes=2**30, fit=\"pad\", share=None)\n--\n\n"
     "Files, by their paths, or (height, width, 3) uint8 arrays, which are kept and not copied,\n"
     "that become (image_size, image_size, 3) uint8 pictures by fit_image. Once\n"
     "decoded they stay in memory while all of them fit into cache_bytes, or with those\n"
     "of the store `share` into that one's. May be used\n"
     "from several threads at once."},
    {Py_tp_new, (void *)store_new},
    {Py_tp_dealloc, (void *)store_dealloc},
    {Py_tp_traverse, (void *)store_traverse},
    {Py_tp_methods, store_methods},
    {Py_tp_getset, store_attributes},
    {Py_sq_length, (void *)store_length},
    {0, NULL}};

static PyType_Spec store_spec = {
    .name = "squeezenet_c._core.PictureStore",
    .basicsize = sizeof(store_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = store_slots,
};

/* -- PictureLoader ----------------------------------------------------------------------------- */

static int loader_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((loader_object *)self)->store);
    return 0;
}

/* No tp_clear: a store refers to nothing but its type and arrays, so a loader is in no cycle of its
 * making, and its threads need the store until they are joined here. They may want the GIL. */
static void loader_dealloc(PyObject *object) {
    loader_object *self = (loader_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_BEGIN_ALLOW_THREADS /* a thread finishes the picture it is decoding */
    sqz_loader_destroy(self->loader);
    Py_END_ALLOW_THREADS
    Py_XDECREF(self->store);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *loader_next(PyObject *object, PyObject *argument) {
    loader_object *self = (loader_object *)object;
    Py_ssize_t count;
    if (!as_integer(&count, argument, "count", 0, PY_SSIZE_T_MAX))
        return NULL;
    if (self->busy)
        return PyErr_Format(PyExc_RuntimeError, "another thread is in this loader's next");
    /* More than are left is for the library to refuse: no memory for them is needed. */
    PyObject *pictures = new_pictures(count <= self->left ? count : 0, self->store->image_size);
    if (!pictures)
        return NULL;
    uint8_t *pixels = PyArray_DATA((PyArrayObject *)pictures);
    sqz_error error;
    sqz_status status;
    self->busy = true;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_loader_next(self->loader, pixels, (size_t)count, &error);
    Py_END_ALLOW_THREADS
    self->busy = false;
    if (status == SQZ_OK) {
        self->left -= count;
        return pictures;
    }
    Py_DECREF(pictures);
    return sqz_py_raise_from(object, status, &error);
}

static PyMethodDef loader_methods[] = {
    {"next", loader_next, METH_O,
     "next(count) -> array\n\n"
     "The next `count` pictures of the order, (count, size, size, 3) uint8; waits for them.\n"
     "ValueError: fewer are left. BadFileError or OSError: one of them could not be decoded; the\n"
     "loader gives no more, nor after KeyboardInterrupt. RuntimeError: another thread is in next."},
    {NULL, NULL, 0, NULL}};

static PyType_Slot loader_slots[] = {
    {Py_tp_doc, "Reads a PictureStore in a given order; made by PictureStore.loader."},
    {Py_tp_dealloc, (void *)loader_dealloc},
    {Py_tp_traverse, (void *)loader_traverse},
    {Py_tp_methods, loader_methods},
    {0, NULL}};

static PyType_Spec loader_spec = {
    .name = "squeezenet_c._core.PictureLoader",
    .basicsize = sizeof(loader_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = loader_slots,
};

int sqz_py_add_data(PyObject *module) {
    sqz_py_module_state *state = sqz_py_state(module);
    state->store_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &store_spec, NULL);
    if (!state->store_type || PyModule_AddType(module, state->store_type) < 0)
        return -1;
    state->loader_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &loader_spec, NULL);
    return state->loader_type ? PyModule_AddType(module, state->loader_type) : -1;
}
