/* train.c: a user of the installed library, which learns pictures by heart and says what it has
 * learnt. A picture's class is its number in "train 0:first.jpg 1:second.jpg 0:third.jpg ...".
 *
 *     cc train.c $(pkg-config --cflags --libs sqz) -o train */
#include <sqz.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64, PLANES = 3 * SIDE * SIDE, CLASSES = 2, MOST = 64, STEPS = 60 };

static const float mean[] = {0.5f, 0.5f, 0.5f}, std[] = {0.25f, 0.25f, 0.25f};

/* Steps of Adam on all pictures at once. */
static sqz_status learn(sqz_model *model, sqz_batch *batch, sqz_error *error) {
    sqz_optimizer *adam = NULL;
    size_t count = sqz_model_parameter_count(model);
    double loss = 0, losses[MOST];
    sqz_rule_options options = sqz_rule_defaults(SQZ_ADAM);
    sqz_status status = sqz_optimizer_create(&adam, count, &options, error);
    for (; status == SQZ_OK && batch->step < STEPS; batch->step++) {
        status = sqz_model_compute_gradients(model, &loss, losses, NULL, batch, error);
        if (status != SQZ_OK || (status = sqz_model_begin_write(model, error)) != SQZ_OK)
            break;
        status = sqz_optimizer_step(adam, sqz_model_parameters(model), sqz_model_gradients(model),
                                    error);
        sqz_model_end_write(model);
    }
    sqz_optimizer_destroy(adam);
    if (status == SQZ_OK)
        printf("loss %.4f\n", loss);
    return status;
}

static sqz_status run(char **names, int n, float *x, int64_t *labels, sqz_model *model,
                      sqz_error *error) {
    static uint8_t square[PLANES];
    float logits[CLASSES];
    sqz_status status = SQZ_OK;
    for (int i = 0; i < n && status == SQZ_OK; i++) {
        sqz_image image = {0};
        labels[i] = strtol(names[i], &names[i], 10);
        if ((status = sqz_image_read(&image, names[i] + 1, error)) == SQZ_OK)
            status =
                sqz_image_fit(square, SIDE, SQZ_FIT_PAD, image.pixels, image.h, image.w, error);
        sqz_image_normalise(x + i * PLANES, square, SIDE, SIDE, 0, mean, std);
        sqz_image_free(&image);
    }
    sqz_batch batch = {.x = x,
                       .labels = labels,
                       .n = n,
                       .h = SIDE,
                       .w = SIDE,
                       .global_batch = n,
                       .temperature = 1};
    if (status == SQZ_OK)
        status = learn(model, &batch, error);
    for (int i = 0; i < n && status == SQZ_OK; i++) {
        status = sqz_model_forward(model, logits, x + i * PLANES, 1, SIDE, SIDE, error);
        if (status == SQZ_OK)
            printf("%d %.4f %s\n", logits[1] > logits[0],
                   1 / (1 + exp((double)logits[0] - (double)logits[1])), names[i] + 1);
    }
    return status;
}

int main(int argc, char **argv) {
    static int64_t labels[MOST];
    sqz_error error;
    sqz_spec spec;
    sqz_model *model = NULL;
    for (int i = 1; i < argc; i++)
        if (!strchr(argv[i], ':'))
            argc = 0;
    if (argc < 2 || argc - 1 > MOST) {
        fprintf(stderr, "usage: train CLASS:PICTURE..., at most %d\n", MOST);
        return 2;
    }
    float *x = malloc((size_t)(argc - 1) * PLANES * sizeof *x);
    sqz_spec_default(&spec, SQZ_VERSION_1_1, CLASSES);
    sqz_status status = x ? sqz_model_create(&model, &spec, 1, &error) : SQZ_NO_MEMORY;
    if (status == SQZ_OK)
        status = run(argv + 1, argc - 1, x, labels, model, &error);
    if (status != SQZ_OK)
        fprintf(stderr, "train: %s\n", x ? error.message : "no memory");
    sqz_model_destroy(model);
    free(x);
    return status == SQZ_OK ? 0 : 1;
}
