/* test_engine.c: the engine of exported C files (csrc/portable) beside the library: the logits of
 * the same models have the same bits. The exporter wrote the models here before this was compiled,
 * each as NAME.c and, for the library, as NAME.safetensors. */
#include "check.h"

#define PLAIN_DECLARATIONS
#include "plain.c"
#define CODED_DECLARATIONS
#include "coded.c"

enum { N = 3, SIDE = 61, PICTURE = 3 * SIDE * SIDE, CLASSES = 3 };

typedef void answer_function(float *logits, const uint8_t *picture);

#define ANSWER(name, NAME)                                                                         \
    static void name##_answer(float *logits, const uint8_t *picture) {                             \
        static name##_state state;                                                                 \
        CHECK(NAME##_SIDE == SIDE && NAME##_CLASSES == CLASSES);                                   \
        name##_init(&state);                                                                       \
        CHECK(name##_finish(&state, logits) == -1);                                                \
        for (int y = 0; y < SIDE; y++)                                                             \
            name##_row(&state, picture + 3 * SIDE * y);                                            \
        CHECK(name##_finish(&state, logits) == 0);                                                 \
    }

ANSWER(plain, PLAIN)
ANSWER(coded, CODED)

static const sqz_tensor *tensor_of(const sqz_tensor_file *file, const char *name) {
    for (size_t i = 0; i < sqz_tensor_file_count(file); i++)
        if (strcmp(sqz_tensor_file_tensor(file, i)->name, name) == 0)
            return sqz_tensor_file_tensor(file, i);
    return NULL;
}

enum { PARAMETERS, MEAN, STD, ACTIVATIONS, WEIGHTS, PICTURES, TENSORS };

/* A model of these parameters and scales. */
static sqz_model *model_of(const sqz_spec *spec, const sqz_tensor *const *tensors) {
    sqz_model *model = NULL;
    sqz_error error;
    sqz_quantization scales = {.activation_scales = (float *)tensors[ACTIVATIONS]->values,
                               .activation_count = tensors[ACTIVATIONS]->count,
                               .weight_scales = (float *)tensors[WEIGHTS]->values,
                               .weight_scale_count = tensors[WEIGHTS]->count};
    memcpy(scales.mean, tensors[MEAN]->values, sizeof scales.mean);
    memcpy(scales.std, tensors[STD]->values, sizeof scales.std);
    CHECK_OK(sqz_model_create(&model, spec, 0, &error), error);
    CHECK(tensors[PARAMETERS]->count == sqz_model_parameter_count(model));
    CHECK_OK(sqz_model_begin_write(model, &error), error);
    memcpy(sqz_model_parameters(model), tensors[PARAMETERS]->values,
           sqz_model_parameter_count(model) * sizeof(float));
    sqz_model_end_write(model);
    CHECK_OK(sqz_model_quantize(model, &scales, &error), error);
    CHECK_OK(sqz_model_set_precision(model, SQZ_INT8, &error), error);
    return model;
}

static void check_bits(const char *path, const sqz_spec *spec, answer_function *answer) {
    static const char *const names[] = {"parameters",        "mean",          "std",
                                        "activation_scales", "weight_scales", "pictures"};
    const sqz_tensor *tensors[TENSORS];
    float expected[N * CLASSES], found[N * CLASSES];
    sqz_tensor_file *file = NULL;
    sqz_error error;
    CHECK_OK(sqz_tensor_file_read(&file, path, &error), error);
    for (int i = 0; i < TENSORS; i++)
        if (!file || !(tensors[i] = tensor_of(file, names[i]))) {
            CHECK(!"the exporter wrote all tensors");
            sqz_tensor_file_destroy(file);
            return;
        }
    CHECK(tensors[PICTURES]->count == N * PICTURE);
    const uint8_t *pictures = tensors[PICTURES]->bytes;
    sqz_model *model = model_of(spec, tensors);
    CHECK_OK(sqz_model_forward_pictures(model, expected, pictures, N, SIDE, SIDE, &error), error);
    for (int i = 0; i < N; i++)
        answer(found + i * CLASSES, pictures + i * PICTURE);
    CHECK(memcmp(found, expected, sizeof found) == 0);
    for (int i = 1; i < N; i++)
        CHECK(memcmp(expected, expected + i * CLASSES, CLASSES * sizeof(float)) != 0);
    sqz_model_destroy(model);
    sqz_tensor_file_destroy(file);
}

/* The specs are those of ENGINES in tests/test_c_library.py. */
void test_engine(void) {
    sqz_spec spec;
    sqz_spec_default(&spec, SQZ_VERSION_1_0, CLASSES);
    spec.base_e = 20; /* no multiple of 16 */
    spec.incr_e = 12;
    check_bits("plain.safetensors", &spec, plain_answer);
    sqz_spec_default(&spec, SQZ_VERSION_1_1, CLASSES);
    spec.bypass = SQZ_BYPASS_SIMPLE;
    spec.final_relu = true;
    check_bits("coded.safetensors", &spec, coded_answer);
}
