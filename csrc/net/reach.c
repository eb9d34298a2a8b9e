/* reach.c: see reach.h. */
#include "reach.h"

#include <string.h>

void sqz_reach_find(sqz_reach *reach, const sqz_tape *tape, const bool *frozen) {
    memset(reach, 0, sizeof *reach);
    for (int index = 0; index < tape->node_count; index++) {
        const sqz_node *node = &tape->nodes[index];
        reach->learns[index] =
            node->kind == SQZ_NODE_CONV && !(frozen && frozen[node->weight] && frozen[node->bias]);
        reach->visited[index] = reach->learns[index] || reach->wanted[node->input] ||
                                (node->kind == SQZ_NODE_SUM && reach->wanted[node->addend]);
        reach->wanted[node->output] |= reach->visited[index]; /* a Fire module's has two writers */
    }
}
