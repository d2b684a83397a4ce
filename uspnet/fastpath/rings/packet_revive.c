// SPDX-License-Identifier: Apache-2.0
/* packet, receive: what a fresh process does first when the one before died. */
#include "packet.h"

// [python]
/* After the process of the queue's worker has ended at any instruction: finds the next packet, and
 * counts those that were taken and not counted as lost. No worker runs. */
void packet_revive(struct packet_queue *pq);
// [c]

/* Packets of the block from the one at `at` on; UINT32_MAX: none begins there. */
static uint32_t left_from(const struct packet_queue *pq)
{
    const struct tpacket_block_desc *block = block_of(pq);
    uint64_t at = load_relaxed(&block->hdr.bh1.offset_to_first_pkt);
    uint32_t left = load_relaxed(&block->hdr.bh1.num_pkts), next;
    for (; left && at != pq->at; left--) {
        const struct tpacket3_hdr *header = (const void *)((const uint8_t *)block + at);
        if (at + sizeof *header > pq->block_size || at % 4)
            return UINT32_MAX;
        next = load_relaxed(&header->tp_next_offset);
        at = next && next < pq->block_size ? at + next : pq->block_size;
    }
    return at == pq->at ? left : UINT32_MAX;
}

void packet_revive(struct packet_queue *pq)
{
    uint32_t left;
    pq->segments.left = 0;
    pq->poll_at = 0;
    if (pq->block >= pq->blocks || pq->giving > pq->blocks) { /* something wrote over them */
        queue_fault(&pq->q, FAULT_RING);
        return;
    }
    if (pq->giving) {
        pq->block = pq->giving - 1;
        block_give_back(pq);
    }
    if (!pq->left)
        return;
    left = left_from(pq);
    if (left > pq->left) /* its packets can't be located any more */
        left = 0;
    if (pq->counted > left)
        queue_drop(&pq->q, DROP_WORKER_LOST, pq->counted - left);
    pq->left = pq->counted = left;
    if (!left)
        block_give_back(pq);
}
