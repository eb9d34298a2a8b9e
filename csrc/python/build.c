/* build.c: what was built, which backend and how many threads are used. */
#include "../base/quota.h"
#include "errors.h"
#include "parts.h"

/* {layer: {part: backend}} */
static PyObject *choices(PyObject *module) {
    sqz_choice rows[32];
    size_t count;
    sqz_error error;
    sqz_status status = sqz_get_choices(rows, 32, &count, &error);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    PyObject *layers = PyDict_New();
    for (size_t i = 0; layers && i < count && i < 32; i++) {
        PyObject *parts = PyDict_GetItemString(layers, rows[i].layer); /* borrowed */
        if (!parts) {
            parts = PyDict_New();
            if (!parts || PyDict_SetItemString(layers, rows[i].layer, parts) < 0)
                Py_CLEAR(layers);
            Py_XDECREF(parts); /* layers holds it */
        }
        PyObject *backend = layers ? PyUnicode_FromString(rows[i].backend) : NULL;
        if (layers && (!backend || PyDict_SetItemString(parts, rows[i].part, backend) < 0))
            Py_CLEAR(layers);
        Py_XDECREF(backend);
    }
    return layers;
}

static PyObject *build_info(PyObject *module, PyObject *unused) {
    (void)unused;
    sqz_build_info info;
    sqz_error error;
    sqz_status status = sqz_get_build_info(&info, &error);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    PyObject *chosen = choices(module);
    if (!chosen)
        return NULL;
    PyObject *backends = info.onednn_offered ? Py_BuildValue("[sss]", "mixed", "onednn", "openmp")
                                             : Py_BuildValue("[s]", "openmp");
    if (!backends) {
        Py_DECREF(chosen);
        return NULL;
    }
    return Py_BuildValue("{s:s,s:N,s:N,s:s,s:s,s:i,s:i,s:O,s:O,s:s,s:s,s:O,s:s,s:O}", "backend",
                         info.backend, "backends", backends, "convolutions", chosen, "isa",
                         info.isa, "cpu_isa", info.cpu_isa, "block", info.block, "threads",
                         sqz_get_num_threads(), "openmp", info.openmp_built ? Py_True : Py_False,
                         "onednn", info.onednn_offered ? Py_True : Py_False, "onednn_version",
                         info.onednn_version, "onednn_reason", info.onednn_reason, "bfloat16",
                         info.bfloat16_offered ? Py_True : Py_False, "bfloat16_reason",
                         info.bfloat16_reason, "vnni", info.vnni ? Py_True : Py_False);
}

#ifdef SQZ_WITH_ONEDNN
static PyObject *set_onednn_library(PyObject *module, PyObject *argument) {
    sqz_error error;
    PyObject *path;
    if (!PyUnicode_FSConverter(argument, &path))
        return NULL;
    sqz_status status = sqz_set_onednn_library(PyBytes_AS_STRING(path), &error);
    Py_DECREF(path);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    Py_RETURN_NONE;
}
#endif

static PyObject *set_backend(PyObject *module, PyObject *argument) {
    sqz_error error;
    const char *name = PyUnicode_AsUTF8(argument);
    if (!name)
        return NULL;
    sqz_status status = sqz_set_backend(name, &error);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    Py_RETURN_NONE;
}

static PyObject *get_backend(PyObject *module, PyObject *unused) {
    (void)unused;
    sqz_error error;
    const char *name;
    sqz_status status = sqz_get_backend(&name, &error);
    return status == SQZ_OK ? PyUnicode_FromString(name) : sqz_py_raise(module, status, &error);
}

static PyObject *set_num_threads(PyObject *module, PyObject *argument) {
    sqz_error error;
    int overflow;
    long threads = PyLong_AsLongAndOverflow(argument, &overflow);
    if (threads == -1 && PyErr_Occurred())
        return NULL;
    if (overflow || threads > INT_MAX || threads < INT_MIN)
        return PyErr_Format(PyExc_ValueError, "threads is %R, expected 1 to %d", argument,
                            SQZ_MAX_THREADS);
    sqz_status status = sqz_set_num_threads((int)threads, &error);
    if (status != SQZ_OK)
        return sqz_py_raise(module, status, &error);
    Py_RETURN_NONE;
}

static PyObject *get_num_threads(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyLong_FromLong(sqz_get_num_threads());
}

static PyObject *quota_cpus(PyObject *module, PyObject *argument) {
    (void)module;
    const char *root = PyUnicode_AsUTF8(argument);
    return root ? PyLong_FromLong(sqz_quota_cpus(root)) : NULL;
}

static PyMethodDef functions[] = {
    {"build_info", build_info, METH_NOARGS,
     "build_info() -> dict\n\n"
     "What was built and what is used: backend, backends (those offered), convolutions (which\n"
     "backend computes which part of which kind of them), isa and block (of the backend's\n"
     "kernels), cpu_isa, threads, openmp, onednn, onednn_version, onednn_reason (why\n"
     "oneDNN is not offered), bfloat16 (whether the backend computes in it) and bfloat16_reason\n"
     "(why not)."},
#ifdef SQZ_WITH_ONEDNN
    {"set_onednn_library", set_onednn_library, METH_O,
     "set_onednn_library(path)\n\n"
     "Where oneDNN's library is; only of a build with oneDNN, before anything else."},
#endif
    {"set_backend", set_backend, METH_O,
     "set_backend(name)\n\nUse \"mixed\", \"onednn\" or \"openmp\" from now on. A bfloat16 model "
     "that\n"
     "the new one cannot serve stays usable: its next pass gives a UserWarning, and from then on "
     "its\n"
     "precision is \"float32\". ValueError: not offered."},
    {"get_backend", get_backend, METH_NOARGS, "get_backend() -> str"},
    {"set_num_threads", set_num_threads, METH_O,
     "set_num_threads(threads)\n\n"
     "Threads a call may use, 1 to 1024. Results do not depend on it. The default: "
     "OMP_NUM_THREADS\n"
     "if set (1024 where it is more), else the CPUs that the process's affinity and its control\n"
     "groups' quota allow. A call that cannot start its threads raises MemoryError."},
    {"get_num_threads", get_num_threads, METH_NOARGS, "get_num_threads() -> int"},
    {"quota_cpus", quota_cpus, METH_O,
     "quota_cpus(root) -> int\n\n"
     "CPUs that the process's control groups allow it, 0 for all; for tests: the /proc and the\n"
     "mounts in the folder `root` (\"\": the real ones)."},
    {NULL, NULL, 0, NULL}};

int sqz_py_add_build(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
