/* inference.h: Network's methods that only read it: inference.c's passes, and quantization.c's. */
#ifndef SQZ_PYTHON_INFERENCE_H
#define SQZ_PYTHON_INFERENCE_H

#include "network.h"

/* A backend may have been chosen since that does not offer the model's precision. Then the model
 * computes in float32 from now on, and a warning says so. -1 with an exception set. */
int sqz_py_settle_precision(sqz_py_network *self);

/* x as an array, and its sides as ints: (N, 3, H, W) float32, or with `bytes` (N, H, W, 3) uint8.
 * NULL with an exception set. */
PyArrayObject *sqz_py_pictures(PyObject *object, bool bytes, int *n, int *h, int *w);

PyObject *sqz_py_forward(sqz_py_network *self, PyObject *pictures);
PyObject *sqz_py_class_maps(sqz_py_network *self, PyObject *pictures);
PyObject *sqz_py_pooled_features(sqz_py_network *self, PyObject *pictures);
PyObject *sqz_py_get_precision(sqz_py_network *self, void *unused);
int sqz_py_set_precision(sqz_py_network *self, PyObject *value, void *unused);

#define SQZ_PY_INFERENCE_METHODS                                                                   \
    {"forward", (PyCFunction)sqz_py_forward, METH_O,                                               \
     "forward(x) -> logits\n\n"                                                                    \
     "Logits (N, classes) of x (N, 3, H, W), float32 and normalised, or where the precision is\n"  \
     "int8 (N, H, W, 3) uint8, without dropout. Several threads may call it at once; beside a\n"   \
     "thread that trains it takes turns. ValueError: wrong shape, NaN or infinity. TypeError:\n"   \
     "wrong dtype."},                                                                              \
        {"class_maps", (PyCFunction)sqz_py_class_maps, METH_O,                                     \
         "class_maps(x) -> maps\n\n"                                                               \
         "(N, classes, h, w) float32: the last convolution's output for x, the mean of which\n"    \
         "over h and w is the logit. Without dropout; as forward otherwise."},                     \
        {"pooled_features", (PyCFunction)sqz_py_pooled_features, METH_O,                           \
         "pooled_features(x) -> features\n\n"                                                      \
         "(N, C) float32: the mean over pixels of what the last convolution reads for x, C "       \
         "being\n"                                                                                 \
         "its input channels. Without dropout; as forward otherwise."}

PyObject *sqz_py_quantize(sqz_py_network *self, PyObject *args, PyObject *kwargs);
PyObject *sqz_py_observe(sqz_py_network *self, PyObject *args, PyObject *kwargs);
PyObject *sqz_py_activation_groups(sqz_py_network *self, PyObject *unused);
PyObject *sqz_py_get_quantization(sqz_py_network *self, void *unused);

#define SQZ_PY_QUANTIZATION_METHODS                                                                \
    {"set_quantization", (PyCFunction)(void (*)(void))sqz_py_quantize,                             \
     METH_VARARGS | METH_KEYWORDS,                                                                 \
     "set_quantization(mean, std, activation_scales, weight_scales)\n\n"                           \
     "Rounds the weights to whole steps of their scales, so that precision 'int8' can run them.\n" \
     "mean and std, (3,), are the pictures'; activation_scales has one an activation, 1 for the\n" \
     "pictures, the maps and the logits; weight_scales one an output channel of all\n"             \
     "convolutions; all float32. Whatever writes the parameters later drops it. ValueError: "      \
     "what\n"                                                                                      \
     "does not fit; nothing has changed then."},                                                   \
        {"observe", (PyCFunction)(void (*)(void))sqz_py_observe, METH_VARARGS | METH_KEYWORDS,     \
         "observe(x, limits=None, bins=2048) -> array\n\n"                                         \
         "What the activations of x (N, 3, H, W), float32 and normalised, are like in float32.\n"  \
         "Without limits: (activations,) float32, the largest value of each. With limits, one "    \
         "an\n"                                                                                    \
         "activation: (activations, bins) uint64, how many of its values above 0 lie in each "     \
         "bin\n"                                                                                   \
         "of a width of limit / bins; the last one has all beyond. The pictures' row is 0."},      \
        {"activation_groups", (PyCFunction)sqz_py_activation_groups, METH_NOARGS,                  \
         "activation_groups() -> list of int\n\n"                                                  \
         "For each activation the number of its group, whose members share a scale; -1 for the\n"  \
         "pictures, the maps and the logits, which have none."}

#endif
