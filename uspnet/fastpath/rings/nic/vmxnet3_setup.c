// SPDX-License-Identifier: Apache-2.0
/* vmxnet3: filling and emptying the rings (vmxnet3.h). */
#include "vmxnet3.h"

int vmxnet3_fill(struct vmxnet3_queue *v, int receive)
{
    uint32_t index;
    memset(v->completions, 0, v->completions_size * sizeof *v->completions);
    v->completed = v->part.open = 0;
    v->rx_bad = 0;
    for (struct vmxnet3_ring *ring = v->rings; ring < v->rings + 2 && ring->size; ring++) {
        memset(ring->slots, 0, ring->size * sizeof *ring->slots);
        ring->next = ring->fill = 0;
        while (receive && ring->fill < ring->size - 1) {
            if (!stack_fetch(v->q.stack, &index))
                return -1;
            vmxnet3_post(v, ring, index);
        }
        ring->notified = ring->fill;
    }
    return 0;
}

void vmxnet3_empty(struct vmxnet3_queue *v)
{
    for (struct vmxnet3_ring *ring = v->rings; ring < v->rings + 2; ring++)
        for (uint32_t left = least(ring->fill - ring->next, ring->size); left; left--)
            stack_return(v->q.stack, ring->buffers[vmxnet3_slot(ring, ring->next++)]);
    if (v->part.open)
        stack_return(v->q.stack, v->part.frame.index);
    v->rings[0].next = v->rings[0].fill;
    v->rings[1].next = v->rings[1].fill;
    v->part.open = 0;
}
