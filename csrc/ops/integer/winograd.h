/* winograd.h: integer 3x3 convolutions where a multiplication costs more than what spares it. */
#ifndef SQZ_OPS_INTEGER_WINOGRAD_H
#define SQZ_OPS_INTEGER_WINOGRAD_H

#include "kernels/integer.h"

/* Whether it is for this convolution. If so: how many words the packed weights have, and the bytes
 * that a worker needs. */
bool sqz_integer_winograd_suits(const sqz_conv_shape *shape, const sqz_integer_set *set);
size_t sqz_integer_winograd_words(const sqz_conv_shape *shape);
size_t sqz_integer_winograd_bytes(const sqz_conv_shape *shape, const sqz_integer_set *set);

/* Puts 3 x 3 weights, of output channel o for input channel c, into the packed ones. */
void sqz_integer_winograd_put(void *words, const sqz_conv_shape *shape, const sqz_integer_set *set,
                              const int8_t steps[9], int o, int c);

/* A part of dst. Of `call` bias, multipliers, packed and the blocks are set. */
void sqz_integer_winograd_forward(const sqz_integer_conv *call, void *dst, const void *src,
                                  const sqz_conv_shape *shape, const sqz_integer_set *set,
                                  void *memory, sqz_part part);

#endif
