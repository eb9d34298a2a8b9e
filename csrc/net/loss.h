/* loss.h: softmax cross-entropy of one picture, with class weights and label smoothing. */
#ifndef SQZ_NET_LOSS_H
#define SQZ_NET_LOSS_H

#include "../sqz.h"

/* What the loss is asked to reach: weight t_i for class i, where with class weights w (NULL: all 1)
 * and label smoothing s (Szegedy et al. 2016, section 7; arXiv:1512.00567)
 *     t_i = (1 - s) * w_i * [i == label] + s * w_i / classes,
 * which is torch.nn.functional.cross_entropy's definition. Without both, t is the one hot. */
typedef struct {
    int64_t label;
    double smoothing;      /* 0..1 */
    const double *weights; /* [classes], or NULL */
} sqz_target;

/* The loss -sum_i t_i log softmax(logits)_i, and d_logits[classes] = scale * d loss / d logits
 * = scale * (softmax * sum t - t). In double: the logits alone are rounded. d_logits may be NULL.
 */
double sqz_cross_entropy(float *d_logits, const float *logits, int classes,
                         const sqz_target *target, double scale);

#endif
