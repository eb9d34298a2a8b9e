/* module.c: squeezenet_c._core. Multi-phase initialisation (PEP 489), all state in the module. */
#define SQZ_IMPORT_NUMPY
#include "numpy_api.h"

#include "errors.h"
#include "parts.h"

sqz_py_module_state *sqz_py_state(PyObject *module) {
    return (sqz_py_module_state *)PyModule_GetState(module);
}

static int add_errors(PyObject *module) {
    sqz_py_module_state *state = sqz_py_state(module);
    state->bad_file_error = PyErr_NewExceptionWithDoc(
        "squeezenet_c.BadFileError",
        "A file was read, and its contents are not what they should be.", PyExc_ValueError, NULL);
    if (!state->bad_file_error)
        return -1;
    return PyModule_AddObjectRef(module, "BadFileError", state->bad_file_error);
}

/* For waits of the library, which hold no GIL: Ctrl-C ends them. */
static bool interrupted(void) {
    PyGILState_STATE state = PyGILState_Ensure();
    bool raised = PyErr_CheckSignals() < 0;
    PyGILState_Release(state);
    return raised;
}

static int execute(PyObject *module) {
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) { /* waits ask the main one */
        PyErr_SetString(PyExc_ImportError, "squeezenet_c works in Python's main interpreter alone, "
                                           "and this is a sub-interpreter");
        return -1;
    }
    import_array1(-1);
    sqz_set_interrupt(interrupted);
    static int (*const parts[])(PyObject *) = {
        add_errors,
        sqz_py_add_build,
        sqz_py_add_ops,
        sqz_py_add_image,
        sqz_py_add_decoder,
        sqz_py_add_changes,
        sqz_py_add_data,
        sqz_py_add_files,
        sqz_py_add_codes,
        sqz_py_add_codebook,
        sqz_py_add_spec,
        sqz_py_add_network,
        sqz_py_add_optimizers,
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i](module) < 0)
            return -1;
    return 0;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    sqz_py_module_state *state = sqz_py_state(module);
    Py_VISIT(state->bad_file_error);
    Py_VISIT(state->network_type);
    Py_VISIT(state->store_type);
    Py_VISIT(state->loader_type);
    return 0;
}

static int clear(PyObject *module) {
    sqz_py_module_state *state = sqz_py_state(module);
    Py_CLEAR(state->bad_file_error);
    Py_CLEAR(state->network_type);
    Py_CLEAR(state->store_type);
    Py_CLEAR(state->loader_type);
    return 0;
}

static void release(void *module) {
    clear((PyObject *)module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)execute},
#if PY_VERSION_HEX >= 0x030C0000
    /* NumPy keeps process-wide state and cannot be loaded twice. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "squeezenet_c._core",
    .m_doc = "The compiled part of squeezenet_c.",
    .m_size = sizeof(sqz_py_module_state),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyObject *sqz_py_module_of(PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030B0000
    return PyType_GetModuleByDef(type, &definition);
#else
    return _PyType_GetModuleByDef(type, &definition);
#endif
}

PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&definition);
}
