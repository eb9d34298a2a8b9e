/* pooled_relu.c: see pooled_relu.h. */
#include "pooled_relu.h"

/* Whether all that is written to an activation is a convolution's with ReLU, and `reader` alone
 * reads it. */
static bool is_pooled_relu(const sqz_tape *tape, int activation, int reader) {
    for (int i = 0; i < tape->node_count; i++) {
        const sqz_node *node = &tape->nodes[i];
        bool reads = node->input == activation || node->addend == activation;
        bool relu = node->kind == SQZ_NODE_CONV && node->nonlinearity.relu;
        if ((reads && i != reader) || (node->output == activation && !relu))
            return false;
    }
    return true;
}

void sqz_plan_find_pooled_relus(sqz_plan *plan) {
    const sqz_tape *tape = &plan->tape;
    for (int i = 0; i < tape->node_count; i++)
        plan->steps[i].pooled_by = -1;
    for (int i = 0; i < tape->node_count; i++) {
        int input = tape->nodes[i].input;
        if (tape->nodes[i].kind != SQZ_NODE_MAX_POOL || input == 0 ||
            !is_pooled_relu(tape, input, i))
            continue;
        plan->steps[i].undoes_relu = true;
        for (int writer = 0; writer < i; writer++)
            if (tape->nodes[writer].output == input)
                plan->steps[writer].pooled_by = i;
    }
}
