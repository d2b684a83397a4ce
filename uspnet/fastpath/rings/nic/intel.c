// SPDX-License-Identifier: Apache-2.0
/* Intel rings outside of the receive and transmit bursts: filling, emptying, and freeing what was
 * sent (intel.h). */
#include "intel.h"

static const uint64_t TX_DONE = 1ull << 32; /* DD, in either format */

int intel_fill(struct intel_queue *r)
{
    uint32_t index;
    for (uint32_t slot = 0; slot < r->size; slot++) {
        if (!stack_fetch(r->q.stack, &index))
            return -1;
        intel_post(r, slot, index);
        r->clean = slot + 1; /* slots with a buffer, for intel_empty */
    }
    r->next = r->skipping = r->part.open = 0;
    r->tail = r->size - 1; /* the device never owns all: head == tail means empty */
    return 0;
}

/* Returns the buffers of the slots [clean, end) to the stack; none of them when there can't be so
 * many. */
static void take_back(struct intel_queue *r, uint32_t end)
{
    struct stack *s = r->q.stack;
    uint32_t at = r->clean;
    if (unlikely(end - at > r->size || !stack_has_room(s, end - at))) {
        queue_fault(&r->q, FAULT_RING);
        at = end;
    }
    while (at != end) {
        uint32_t slot = intel_slot(r, at);
        uint32_t n = least(end - at, r->size - slot); /* up to the end of the ring */
        memcpy(s->free + s->top, r->buffers + slot, n * sizeof *r->buffers);
        s->top += n;
        at += n;
    }
    keep_order(); /* `clean` is always where a burst begins, which has a `last` */
    r->clean = end;
}

/* Only the last slot of each burst reports its status; the slots before it are done then, too. */
uint32_t intel_clean(struct intel_queue *r)
{
    while (r->clean != r->next) {
        uint32_t last = r->last[intel_slot(r, r->clean)];
        if (unlikely(last - r->clean >= r->next - r->clean)) /* not what intel_send() wrote */
            r->clean = r->next;
        else if (!(load_acquire(&r->ring[intel_slot(r, last)].word) & TX_DONE))
            break;
        else
            take_back(r, last + 1);
    }
    return least(r->next - r->clean, r->size);
}

void intel_empty(struct intel_queue *r, int receive)
{
    if (receive) {
        for (uint32_t slot = 0; slot < least(r->clean, r->size); slot++)
            stack_return(r->q.stack, r->buffers[slot]);
        if (r->part.open)
            stack_return(r->q.stack, r->part.frame.index);
    } else {
        take_back(r, r->next);
    }
    r->next = r->clean = r->tail = r->skipping = r->part.open = 0;
}
