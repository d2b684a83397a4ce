// SPDX-License-Identifier: Apache-2.0
/* vmxnet3, transmit (vmxnet3.h): one descriptor a frame; the last one of a burst requests a
 * completion (CQ). */
#include "vmxnet3.h"

enum {
    SLOT = 0xFFF, /* §Vmxnet3_TxCompDesc: txdIdx */
};
static const uint64_t TX_GENERATION = 1ull << 14, TX_REPORT = 1ull << 45; /* §Vmxnet3_TxDesc: cq */

/* Completions are for the last slot of each burst, or for every slot; earlier slots are done,
 * too. */
uint32_t vmxnet3_clean(struct vmxnet3_queue *v)
{
    struct vmxnet3_ring *ring = v->rings;
    struct vmxnet3_completion c;
    uint32_t flying = ring->fill - ring->next;
    if (unlikely(flying > ring->size || !stack_has_room(v->q.stack, flying))) {
        queue_fault(&v->q, FAULT_RING);
        return 0;
    }
    for (uint32_t i = 0; i < ring->size && vmxnet3_completed(v, &c); i++) {
        int32_t ahead = vmxnet3_distance(ring, (uint32_t)c.low & SLOT);
        if (unlikely(ahead < 0))
            queue_fault(&v->q, FAULT_RING);
        for (uint32_t left = (uint32_t)(ahead + 1), run; left; left -= run) {
            run = least(left, vmxnet3_run(ring->next, ring->size));
            stack_give_all(v->q.stack, ring->buffers + vmxnet3_slot(ring, ring->next), run);
            ring->next += run;
        }
    }
    return ring->fill - ring->next;
}

/* Drops frames of a length that the device can't send, and closes the gaps. Returns how many are
 * left. */
static inline uint32_t sift(struct queue *q, struct packet *packets, uint32_t n, uint32_t longest)
{
    const uint16_t range = (uint16_t)(longest - FRAME_SHORTEST);
    uint16_t bad = 0;
    uint32_t good = 0;
    for (uint32_t i = 0; i < n; i++) /* without a branch, to be vectorized */
        bad |= (uint16_t)(packets[i].length - FRAME_SHORTEST) > range;
    if (likely(!bad))
        return n;
    for (uint32_t i = 0; i < n; i++) {
        if (packets[i].length < FRAME_SHORTEST || packets[i].length > longest)
            queue_refuse_packet(q, packets[i], tx_wrong_length(packets[i].length, FRAME_SHORTEST));
        else
            packets[good++] = packets[i];
    }
    return good;
}

/* Passes n frames to the device; the ring may not wrap within n. Returns their bytes. */
static inline uint64_t give_run(struct vmxnet3_queue *restrict v,
                                const struct packet *restrict packets, uint32_t n, uint64_t flags)
{
    struct vmxnet3_ring *ring = v->rings;
    const uint64_t base = v->dma_base, buffer = v->q.pool->size;
    struct vmxnet3_descriptor *d = ring->slots + vmxnet3_slot(ring, ring->fill);
    uint32_t *restrict buffers = ring->buffers + vmxnet3_slot(ring, ring->fill);
    uint64_t bytes = 0;
    flags |= v->tx_flags | (vmxnet3_generation(ring->fill, ring->size) ? TX_GENERATION : 0);
    for (uint32_t i = 0; i < n; i++, d++) {
        const struct packet p = packets[i];
        buffers[i] = p.index;
        d->address = base + p.index * buffer + p.offset;
        store_release(&d->word, flags | p.length); /* passes it to the device */
        bytes += p.length;
    }
    ring->fill += n;
    return bytes;
}

uint32_t vmxnet3_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct vmxnet3_queue *v = (struct vmxnet3_queue *)q;
    struct vmxnet3_ring *ring = v->rings;
    uint32_t flying = ring->fill - ring->next, good, run;
    uint64_t bytes = 0;
    if (unlikely(!doorbell_ready(&ring->bell)))
        return 0;
    if (flying >= TX_LAZY || flying + n >= ring->size)
        flying = vmxnet3_clean(v);
    n = least(n, ring->size - 1 - flying);
    good = sift(q, packets, n, ring->limit);
    if (good == 0)
        return n;
    for (uint32_t done = 0; done < good - 1; done += run) {
        run = least(good - 1 - done, vmxnet3_run(ring->fill, ring->size));
        bytes += give_run(v, packets + done, run, 0);
    }
    bytes += give_run(v, packets + good - 1, 1, TX_REPORT);
    doorbell_ring(q, &ring->bell, vmxnet3_slot(ring, ring->fill));
    queue_count(q, good, bytes);
    return n;
}
