/* loss.c: see loss.h. */
#include "loss.h"

#include <math.h>

static double weight_of(const sqz_target *target, int class) {
    return target->weights ? target->weights[class] : 1;
}

static double target_of(const sqz_target *target, int classes, int class) {
    double share = target->smoothing / classes;
    if (target->probabilities)
        share += (1 - target->smoothing) * target->probabilities[class];
    else if (class == target->label)
        share += 1 - target->smoothing;
    return share * weight_of(target, class);
}

double sqz_cross_entropy(float *d_logits, const float *logits, int classes,
                         const sqz_target *target, double scale) {
    double largest = logits[0], sum = 0, wanted = 0, loss = 0, T = target->temperature;
    for (int i = 1; i < classes; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < classes; i++) {
        sum += exp((logits[i] - largest) / T); /* the largest term is 1: no overflow */
        wanted += target_of(target, classes, i);
    }
    for (int i = 0; i < classes; i++) {
        double reached = target_of(target, classes, i);
        if (reached > 0) /* 0.69 is not lost beside 1e38 */
            loss += reached * (log(sum) + (largest - logits[i]) / T);
        if (d_logits) {
            double softmax = exp((logits[i] - largest) / T) / sum;
            d_logits[i] = (float)(scale * T * (softmax * wanted - reached));
        }
    }
    return T * T * loss;
}
