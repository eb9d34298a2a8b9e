/* tape.h: a network as a short list of nodes over numbered activations. Node i reads activations
 * that earlier nodes wrote; forward walks the list, backward walks it in reverse. The tape knows
 * logical shapes only: blocks, offsets and primitives belong to the plan. */
#ifndef SQZ_NET_TAPE_H
#define SQZ_NET_TAPE_H

#include "../base/nonlinearity.h"
#include "../sqz.h"

enum { SQZ_TAPE_NODES = 64, SQZ_TAPE_PARAMETERS = 80, SQZ_SEGMENTS = 2 };
enum { SQZ_ANY_SIDE = 224 }; /* of a picture, where the parameters alone are asked for */

/* One picture's activation. Its channels are one segment, or two that different nodes write (a Fire
 * module's expand1x1 and expand3x3): each segment starts on a block boundary. */
typedef struct {
    int channels[SQZ_SEGMENTS]; /* logical, 0: no such segment */
    int h, w;
} sqz_activation;
static inline int sqz_activation_channels(const sqz_activation *activation) {
    return activation->channels[0] + activation->channels[1];
}

typedef enum {
    SQZ_NODE_CONV,
    SQZ_NODE_MAX_POOL,
    SQZ_NODE_DROPOUT,
    SQZ_NODE_SUM,
    SQZ_NODE_AVERAGE_POOL
} sqz_node_kind;
const char *sqz_node_kind_name(sqz_node_kind kind);

typedef struct {
    sqz_node_kind kind;
    char name[64];
    int input, output;             /* activations */
    int addend;                    /* SUM: the second input; else -1 */
    int segment;                   /* CONV: the output's segment it writes, or -1: all of them */
    int kernel, stride, pad;       /* CONV, MAX_POOL */
    sqz_nonlinearity nonlinearity; /* CONV */
    int weight, bias;              /* CONV: parameters; else -1 */
} sqz_node;

typedef struct {
    sqz_activation activations[SQZ_TAPE_NODES + 1]; /* 0 is the network's input */
    int activation_count;
    sqz_node nodes[SQZ_TAPE_NODES];
    int node_count;
    sqz_parameter parameters[SQZ_TAPE_PARAMETERS];
    int parameter_count;
    size_t float_count; /* of all parameters */
} sqz_tape;

/* Channels node `node` (a CONV) writes: a segment's or all of the output's. */
int sqz_node_out_channels(const sqz_tape *tape, const sqz_node *node);

/* The network of a checked spec for 3 x h x w pictures. SQZ_INVALID: the picture is too small. */
sqz_status sqz_tape_build(sqz_tape *tape, const sqz_spec *spec, int h, int w, sqz_error *error);

/* Fresh weights for the tape's parameters, a function of the seed: see sqz_model_create. */
void sqz_tape_initialise(const sqz_tape *tape, float *parameters, uint64_t seed);

#endif
