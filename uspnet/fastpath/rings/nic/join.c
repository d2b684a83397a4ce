// SPDX-License-Identifier: Apache-2.0
/* Received frames that take several buffers, for the rings that allow them: intel_legacy, vmxnet3,
 * and virtqueues with VIRTIO_NET_F_MRG_RXBUF. */
#include "nic.h"

/* Appends the piece unless it, or one before it, is bad. Frees its buffer. */
static void add_piece(struct queue *q, struct partial *part, struct packet p,
                      enum drop_reason wrong, uint32_t room)
{
    uint32_t whole = (uint32_t)part->frame.length + p.length;
    if (wrong == DROP_NONE && p.length == 0)
        wrong = DROP_BAD_CHAIN;
    if (wrong == DROP_NONE && whole > room)
        wrong = DROP_TOO_LONG;
    if (part->wrong == DROP_NONE)
        part->wrong = wrong;
    if (part->wrong == DROP_NONE) {
        memcpy(packet_data(q->pool, part->frame) + part->frame.length, packet_data(q->pool, p),
               p.length);
        part->frame.length = (uint16_t)whole;
    }
    stack_give(q->stack, p.index);
}

int frame_join(struct queue *q, struct partial *part, struct packet *p, enum drop_reason wrong,
               uint32_t room, int last)
{
    if (part->open) {
        add_piece(q, part, *p, wrong, room);
    } else {
        if (wrong == DROP_NONE && p->length == 0 && !last)
            wrong = DROP_BAD_CHAIN;
        *part = (struct partial){*p, 1, wrong};
    }
    if (!last)
        return 0;
    part->open = 0;
    *p = part->frame;
    if (part->wrong == DROP_NONE && p->length >= FRAME_SHORTEST)
        return 1;
    queue_refuse(q, p->index, part->wrong == DROP_NONE ? DROP_TOO_SHORT : part->wrong);
    return 0;
}

void frame_abandon(struct queue *q, struct partial *part, enum drop_reason reason)
{
    if (part->open)
        queue_refuse(q, part->frame.index, reason);
    part->open = 0;
}
