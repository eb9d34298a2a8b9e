/* parts.h: what each file of this folder adds to the module. Each returns 0, or -1 with an
 * exception set. */
#ifndef SQZ_PYTHON_PARTS_H
#define SQZ_PYTHON_PARTS_H

#include "numpy_api.h"

int sqz_py_add_build(PyObject *module);      /* build.c: build_info, backends, threads */
int sqz_py_add_ops(PyObject *module);        /* ops.c: single ops, for tests */
int sqz_py_add_image(PyObject *module);      /* image.c */
int sqz_py_add_decoder(PyObject *module);    /* decoder.c: what Pillow decodes */
int sqz_py_add_changes(PyObject *module);    /* changes.c: what becomes of training pictures */
int sqz_py_add_data(PyObject *module);       /* data.c: PictureStore, PictureLoader */
int sqz_py_add_files(PyObject *module);      /* files.c: files, safetensors, Deep Compression */
int sqz_py_add_codes(PyObject *module);      /* codes.c: coded weights */
int sqz_py_add_codebook(PyObject *module);   /* codebook.c: weights that share values */
int sqz_py_add_spec(PyObject *module);       /* spec.c: SPEC_FIELDS, parameter_shapes */
int sqz_py_add_network(PyObject *module);    /* network.c: Network */
int sqz_py_add_optimizers(PyObject *module); /* optimizer.c: Optimizer, Adam, SGD */

#endif
