/* loss.h: softmax cross-entropy of one picture. */
#ifndef SQZ_NET_LOSS_H
#define SQZ_NET_LOSS_H

#include "../sqz.h"

/* The loss -log softmax(logits)[label], and d_logits[classes] = scale * d loss / d logits
 * = scale * (softmax - one hot). In double: the logits alone are rounded. d_logits may be NULL. */
double sqz_cross_entropy(float *d_logits, const float *logits, int classes, int64_t label,
                         double scale);

#endif
