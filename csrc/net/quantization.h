/* quantization.h: a quantised model's scales, and to which convolution and activation they belong.
 */
#ifndef SQZ_NET_QUANTIZATION_H
#define SQZ_NET_QUANTIZATION_H

#include "tape.h"

/* Where a convolution's output channels begin among the weight scales. */
size_t sqz_quantization_first(const sqz_tape *tape, const sqz_node *node);

#endif
