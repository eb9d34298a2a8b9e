/* loss.h: softmax cross-entropy of one picture, with a label or probabilities to reach, class
 * weights, label smoothing and a temperature. */
#ifndef SQZ_NET_LOSS_H
#define SQZ_NET_LOSS_H

#include "../sqz.h"

/* What the loss is asked to reach: weight t_i for class i, where with class weights w (NULL: all 1)
 * and label smoothing s (Szegedy et al. 2016, section 7; arXiv:1512.00567)
 *     t_i = (1 - s) * w_i * y_i + s * w_i / classes,
 * y being the probabilities, or the one hot of the label; torch.nn.functional.cross_entropy's
 * definition. */
typedef struct {
    int64_t label;
    const double *probabilities; /* [classes], in place of the label; or NULL */
    double smoothing;            /* 0..1 */
    const double *weights;       /* [classes], or NULL */
    double temperature;          /* T, above 0 */
} sqz_target;

/* The loss -T^2 sum_i t_i log softmax(logits / T)_i, and d_logits[classes] = scale * d loss / d
 * logits = scale * T * (softmax * sum t - t). Where probabilities are those of a teacher at the
 * same T, T^2 keeps the gradient as large as at 1 (Hinton et al. 2015, section 2.1;
 * arXiv:1503.02531). In double: the logits alone are rounded. d_logits may be NULL. */
double sqz_cross_entropy(float *d_logits, const float *logits, int classes,
                         const sqz_target *target, double scale);

#endif
