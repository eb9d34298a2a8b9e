/* image.c: pictures between bytes, files and NumPy arrays. Arrays are HWC uint8 RGB. The work is
 * done without the GIL; a caller who changes an array meanwhile gets a mixture, never a crash. */
#include <limits.h>

#include "../base/parallel.h"
#include "convert.h"
#include "errors.h"
#include "parts.h"

/* -- Arguments --------------------------------------------------------------------------------- */

PyArrayObject *sqz_py_picture_array(PyObject *object, const char *name) {
    return sqz_py_byte_array(object, name, 3, 3, "(height, width, 3) with sides of at least 1");
}

/* An integer 0..2^64-1; false with an exception set otherwise. */
static bool as_uint64(uint64_t *value, PyObject *object, const char *name) {
    PyObject *integer = PyNumber_Index(object);
    if (!integer)
        return false;
    *value = PyLong_AsUnsignedLongLong(integer);
    bool fits = !PyErr_Occurred();
    if (!fits && PyErr_ExceptionMatches(PyExc_OverflowError))
        PyErr_Format(PyExc_ValueError, "%s is %R, expected an integer from 0 to 2**64 - 1", name,
                     integer);
    Py_DECREF(integer);
    return fits;
}

/* -- Decoding ---------------------------------------------------------------------------------- */

static void release_pixels(PyObject *capsule) {
    sqz_image image = {.pixels = PyCapsule_GetPointer(capsule, NULL)};
    sqz_image_free(&image);
}

/* An array over the image's pixels, which it takes over. */
static PyObject *array_of(sqz_image *image) {
    npy_intp shape[3] = {image->h, image->w, 3};
    PyObject *capsule = PyCapsule_New(image->pixels, NULL, release_pixels);
    if (!capsule) {
        sqz_image_free(image);
        return NULL;
    }
    PyObject *array = PyArray_SimpleNewFromData(3, shape, NPY_UINT8, image->pixels);
    if (!array) {
        Py_DECREF(capsule);
        return NULL;
    }
    /* Takes over the capsule, also when it fails. */
    if (PyArray_SetBaseObject((PyArrayObject *)array, capsule) < 0)
        Py_CLEAR(array);
    return array;
}

static PyObject *set_max_pixels(PyObject *module, PyObject *argument) {
    PyObject *integer = PyNumber_Index(argument);
    if (!integer)
        return NULL;
    Py_ssize_t pixels = PyNumber_AsSsize_t(integer, NULL); /* clipped, and then refused */
    Py_DECREF(integer);
    sqz_error error;
    sqz_status status = sqz_image_set_max_pixels(pixels, &error);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    Py_RETURN_NONE;
}

static PyObject *get_max_pixels(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyLong_FromLongLong(sqz_image_get_max_pixels());
}

/* A buffer that can be written, as a bytearray's, by a copy: another thread might change the bytes
 * between their check and their use. False with an exception set, and the buffer released. */
static bool replace_by_copy(Py_buffer *data) {
    PyObject *copy = PyBytes_FromStringAndSize(data->buf, data->len);
    PyBuffer_Release(data);
    bool replaced = copy && PyObject_GetBuffer(copy, data, PyBUF_SIMPLE) == 0;
    Py_XDECREF(copy); /* the buffer holds it */
    return replaced;
}

static PyObject *decode_image(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"data", "name", NULL};
    Py_buffer data;
    const char *name = "image";
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*|s:decode_image", names, &data, &name))
        return NULL;
    if (!data.readonly && !replace_by_copy(&data))
        return NULL;
    sqz_image image;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_image_decode(&image, data.buf, (size_t)data.len, name, &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    return status == SQZ_OK ? array_of(&image) : sqz_py_raise(module, status, &error);
}

static PyObject *read_image(PyObject *module, PyObject *argument) {
    PyObject *path; /* bytes in the file system's encoding */
    if (!PyUnicode_FSConverter(argument, &path))
        return NULL;
    sqz_image image;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = sqz_image_read(&image, PyBytes_AS_STRING(path), &error);
    Py_END_ALLOW_THREADS
    Py_DECREF(path);
    return status == SQZ_OK ? array_of(&image) : sqz_py_raise(module, status, &error);
}

/* -- Resizing ---------------------------------------------------------------------------------- */

/* A picture of h x w made from `object`: resized, or where there is a fit, by it to a square. */
static PyObject *resized(PyObject *module, PyObject *object, int h, int w, const sqz_fit *fit) {
    PyArrayObject *picture = sqz_py_picture_array(object, "image");
    if (!picture)
        return NULL;
    npy_intp shape[3] = {h, w, 3};
    PyObject *out = PyArray_SimpleNew(3, shape, NPY_UINT8);
    if (!out) {
        Py_DECREF(picture);
        return NULL;
    }
    uint8_t *out_data = PyArray_DATA((PyArrayObject *)out), *in = PyArray_DATA(picture);
    int in_h = (int)PyArray_DIM(picture, 0), in_w = (int)PyArray_DIM(picture, 1);
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = fit ? sqz_image_fit(out_data, h, *fit, in, in_h, in_w, &error)
                 : sqz_image_resize(out_data, h, w, in, in_h, in_w, &error);
    Py_END_ALLOW_THREADS
    Py_DECREF(picture);
    if (status == SQZ_OK)
        return out;
    Py_DECREF(out);
    return sqz_py_raise(module, status, &error);
}

static PyObject *resize_image(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"image", "height", "width", NULL};
    PyObject *image;
    int height, width;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Oii:resize_image", names, &image, &height,
                                     &width))
        return NULL;
    if (height < 1 || width < 1)
        return PyErr_Format(PyExc_ValueError,
                            "height is %d and width is %d, expected at least 1 each", height,
                            width);
    return resized(module, image, height, width, NULL);
}

static PyObject *fit_image(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"image", "size", "fit", NULL};
    PyObject *image;
    int size;
    sqz_fit fit = SQZ_FIT_PAD;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "Oi|O&:fit_image", names, &image, &size,
                                     sqz_py_to_fit, &fit))
        return NULL;
    if (size < 1)
        return PyErr_Format(PyExc_ValueError, "size is %d, expected at least 1", size);
    return resized(module, image, size, size, &fit);
}

/* -- Augmenting and normalising ---------------------------------------------------------------- */

static PyObject *augment_flips(PyObject *module, PyObject *args, PyObject *keywords) {
    (void)module;
    static char *names[] = {"seed", "epoch", "indices", NULL};
    PyObject *seed_object, *epoch_object, *indices_object;
    uint64_t seed, epoch;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO:augment_flips", names, &seed_object,
                                     &epoch_object, &indices_object) ||
        !as_uint64(&seed, seed_object, "seed") || !as_uint64(&epoch, epoch_object, "epoch"))
        return NULL;
    PyArrayObject *indices =
        (PyArrayObject *)PyArray_ContiguousFromAny(indices_object, NPY_INT64, 1, 1);
    if (!indices)
        return NULL;
    npy_intp count = PyArray_DIM(indices, 0);
    PyObject *flips = PyArray_SimpleNew(1, &count, NPY_UINT8);
    for (npy_intp i = 0; flips && i < count; i++) {
        int64_t index = ((const int64_t *)PyArray_DATA(indices))[i];
        if (index < 0) {
            PyErr_Format(PyExc_ValueError, "indices[%zd] is %lld, expected at least 0",
                         (Py_ssize_t)i, (long long)index);
            Py_CLEAR(flips);
            break;
        }
        ((uint8_t *)PyArray_DATA((PyArrayObject *)flips))[i] =
            (uint8_t)sqz_augment_flips(seed, epoch, (uint64_t)index);
    }
    Py_DECREF(indices);
    return flips;
}

/* n pictures of h x w, each to three planes; flips may be NULL. */
static sqz_status normalise_all(float *out, const uint8_t *in, npy_intp n, int h, int w,
                                const uint8_t *flips, const float mean[3], const float std[3],
                                sqz_error *error) {
    npy_intp values = 3 * (npy_intp)h * w;
    int wanted = n < 1 ? 1 : n < SQZ_MAX_THREADS ? (int)n : SQZ_MAX_THREADS;
    int threads = sqz_threads_take(wanted);
    sqz_status status = sqz_threads_ready(threads, error);
    if (status == SQZ_OK) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (npy_intp i = 0; i < n; i++)
            sqz_image_normalise(out + i * values, in + i * values, h, w, flips ? flips[i] : 0, mean,
                                std);
    }
    sqz_threads_give(threads);
    return status;
}

static PyObject *normalised(PyObject *module, PyArrayObject *pictures, const uint8_t *flips,
                            const float mean[3], const float std[3]) {
    npy_intp n = PyArray_DIM(pictures, 0), h = PyArray_DIM(pictures, 1),
             w = PyArray_DIM(pictures, 2), shape[4] = {n, 3, h, w};
    PyArrayObject *out = (PyArrayObject *)PyArray_SimpleNew(4, shape, NPY_FLOAT32);
    if (!out)
        return NULL;
    sqz_error error;
    sqz_status status;
    Py_BEGIN_ALLOW_THREADS
    status = normalise_all(PyArray_DATA(out), PyArray_DATA(pictures), n, (int)h, (int)w, flips,
                           mean, std, &error);
    Py_END_ALLOW_THREADS
    if (status == SQZ_OK)
        return (PyObject *)out;
    Py_DECREF(out);
    return sqz_py_raise(module, status, &error);
}

static PyObject *normalise(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"pictures", "mean", "std", "flips", NULL};
    PyObject *pictures_object, *mean_object, *std_object, *flips_object = Py_None, *out = NULL;
    float mean[3], std[3];
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO|O:normalise", names, &pictures_object,
                                     &mean_object, &std_object, &flips_object) ||
        !sqz_py_channels(mean, mean_object, "mean", false) ||
        !sqz_py_channels(std, std_object, "std", true))
        return NULL;
    PyArrayObject *flips = NULL;
    PyArrayObject *pictures = sqz_py_byte_array(pictures_object, "pictures", 4, 3,
                                                "(N, height, width, 3) with sides of at least 1");
    if (!pictures)
        return NULL;
    if (flips_object != Py_None) {
        flips = sqz_py_byte_array(flips_object, "flips", 1, 0, "(N,)");
        if (!flips)
            goto done;
        if (PyArray_DIM(flips, 0) != PyArray_DIM(pictures, 0)) {
            PyErr_Format(PyExc_ValueError, "flips has %zd values for %zd pictures",
                         (Py_ssize_t)PyArray_DIM(flips, 0), (Py_ssize_t)PyArray_DIM(pictures, 0));
            goto done;
        }
    }
    out = normalised(module, pictures, flips ? PyArray_DATA(flips) : NULL, mean, std);
done:
    Py_XDECREF(flips);
    Py_DECREF(pictures);
    return out;
}

static PyObject *shuffle(PyObject *module, PyObject *args, PyObject *keywords) {
    (void)module;
    static char *names[] = {"count", "seed", "epoch", NULL};
    Py_ssize_t count;
    PyObject *seed_object, *epoch_object;
    uint64_t seed, epoch;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "nOO:shuffle", names, &count, &seed_object,
                                     &epoch_object) ||
        !as_uint64(&seed, seed_object, "seed") || !as_uint64(&epoch, epoch_object, "epoch"))
        return NULL;
    if (count < 0 || (uint64_t)count > UINT32_MAX)
        return PyErr_Format(PyExc_ValueError, "count is %zd, expected 0 to 2**32 - 1", count);
    npy_intp length = count;
    PyObject *order = PyArray_SimpleNew(1, &length, NPY_INT64);
    if (!order)
        return NULL;
    int64_t *order_data = PyArray_DATA((PyArrayObject *)order);
    Py_BEGIN_ALLOW_THREADS
    sqz_shuffle(order_data, (size_t)count, seed, epoch);
    Py_END_ALLOW_THREADS
    return order;
}

#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef functions[] = {
    {"set_max_pixels", set_max_pixels, METH_O,
     "set_max_pixels(pixels)\n\n"
     "The pixels that a picture may have, in every data set and thread from now on: a larger one\n"
     "is a BadFileError before memory is taken for it. The default is 89478485, past which Pillow\n"
     "warns. ValueError: below 1 or above 250000000."},
    {"get_max_pixels", get_max_pixels, METH_NOARGS, "get_max_pixels() -> int"},
    {"decode_image", WITH_KEYWORDS(decode_image), METH_VARARGS | METH_KEYWORDS,
     "decode_image(data, name=\"image\")\n\n"
     "JPEG, PNG or BMP bytes to an upright (height, width, 3) uint8 RGB array. `name` is what\n"
     "errors call it. BadFileError: cut short, damaged, too large, another format."},
    {"read_image", read_image, METH_O,
     "read_image(path)\n\ndecode_image of a file. OSError: it cannot be read."},
    {"resize_image", WITH_KEYWORDS(resize_image), METH_VARARGS | METH_KEYWORDS,
     "resize_image(image, height, width)\n\n"
     "(h, w, 3) to (height, width, 3), bicubic, equal in every byte to Pillow's."},
    {"fit_image", WITH_KEYWORDS(fit_image), METH_VARARGS | METH_KEYWORDS,
     "fit_image(image, size, fit=\"pad\")\n\n"
     "(h, w, 3) to (size, size, 3). \"pad\": the longer side scaled to size, centred on black;\n"
     "\"crop\": the shorter side scaled to size * 256 / 224, the middle taken, as ImageNet's\n"
     "networks are tested. A picture of that size is left as it is."},
    {"augment_flips", WITH_KEYWORDS(augment_flips), METH_VARARGS | METH_KEYWORDS,
     "augment_flips(seed, epoch, indices)\n\n"
     "One uint8 for each index. Bit 0: left-right, bit 1: upside down."},
    {"normalise", WITH_KEYWORDS(normalise), METH_VARARGS | METH_KEYWORDS,
     "normalise(pictures, mean, std, flips=None)\n\n"
     "(N, h, w, 3) uint8 to (N, 3, h, w) float32: flipped, then (value / 255 - mean) / std."},
    {"shuffle", WITH_KEYWORDS(shuffle), METH_VARARGS | METH_KEYWORDS,
     "shuffle(count, seed, epoch)\n\n"
     "The permutation of 0..count-1 that belongs to seed and epoch, int64."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_image(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
