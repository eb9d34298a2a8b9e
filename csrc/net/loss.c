/* loss.c: see loss.h. */
#include "loss.h"

#include <math.h>

double sqz_cross_entropy(float *d_logits, const float *logits, int classes, int64_t label,
                         double scale) {
    double largest = logits[0], sum = 0;
    for (int i = 1; i < classes; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < classes; i++)
        sum += exp(logits[i] - largest); /* the largest term is 1: no overflow */
    if (d_logits)
        for (int i = 0; i < classes; i++) {
            double softmax = exp(logits[i] - largest) / sum;
            d_logits[i] = (float)(scale * (softmax - (i == label)));
        }
    return log(sum) + (largest - logits[label]); /* 0.69 is not lost beside 1e38 */
}
