// SPDX-License-Identifier: Apache-2.0
/* virtq: the slow paths of the driver, for both formats (§ of VIRTIO 1.2): frames in several
 * buffers, invalid frames, and chains that are used out of order. */
#include "virtq_chain.h"

static int refuse(struct virtq_queue *v, uint32_t index, enum drop_reason reason)
{
    queue_refuse(&v->q, index, reason);
    return 0;
}

/* Begins a frame that takes several buffers (§5.1.6.4). */
static int begin(struct virtq_queue *v, struct packet *p, uint32_t pieces)
{
    if (pieces == 0 || pieces > v->chains)
        return refuse(v, p->index, DROP_BAD_CHAIN);
    v->left = pieces - 1;
    return frame_join(&v->q, &v->part, p, DROP_NONE, 0, 0);
}

/* Appends a piece of `length` bytes, which has no net header. */
static int join(struct virtq_queue *v, struct packet *p, uint32_t length)
{
    enum drop_reason wrong = length > v->limit ? DROP_BAD_LENGTH : DROP_NONE;
    *p = (struct packet){p->index, cache_offset(p->index), (uint16_t)length};
    return frame_join(&v->q, &v->part, p, wrong, pool_room(v->q.pool) - VIRTQ_NET_HEADER,
                      --v->left == 0);
}

/* Validates what the device wrote into buffer p->index, `length` bytes with the net header.
 * Returns 1 when *p is a complete, valid frame. */
static inline int accept_frame(struct virtq_queue *v, struct packet *p, uint32_t length)
{
    uint32_t pieces;
    if (unlikely(v->left))
        return join(v, p, length);
    if (unlikely(!virtq_all_fit(v, &length, 1)))
        return refuse(v, p->index,
                      length < VIRTQ_NET_HEADER + FRAME_SHORTEST ? DROP_TOO_SHORT
                                                                 : DROP_BAD_LENGTH);
    virtq_handles(p, &p->index, &length, 1);
    if (!v->merges)
        return 1;
    pieces = virtq_pieces(v, *p);
    return likely(pieces == 1) ? 1 : begin(v, p, pieces);
}

uint32_t virtq_accept(struct virtq_queue *v, struct packet *packets, const uint32_t *buffers,
                      const uint32_t *lengths, uint32_t n, uint32_t *bytes)
{
    uint32_t got = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct packet p = {buffers[i], 0, 0};
        if (likely(accept_frame(v, &p, lengths[i]))) {
            sum += p.length;
            packets[got++] = p;
        }
    }
    *bytes = sum;
    return got;
}

/* Frees the buffers of used chains, when the reported one is not that at `clean`: with
 * VIRTIO_F_IN_ORDER it is the last of a batch (§2.7.9, §2.8.9) of at most `most`. Returns how many
 * chains; 0 after a fault. */
uint32_t virtq_sent(struct virtq_queue *v, uint32_t id, uint32_t most)
{
    uint32_t mask = v->chains - 1, n = v->in_order ? ((id - v->clean) & mask) + 1 : 1, index;
    if (n > most || id > mask) {
        queue_fault(&v->q, FAULT_RING);
        return 0;
    }
    for (uint32_t i = n; i-- > 0;) {
        if (!virtq_take(v, (id - i) & mask, &index))
            return 0;
        stack_give(v->q.stack, index);
    }
    return n;
}

/* Copies the packets that the device can send to `good`, and drops the others. Returns how many. */
uint32_t virtq_sift(struct virtq_queue *v, struct packet *good, const struct packet *p, uint32_t n,
                    uint32_t *bytes)
{
    uint32_t found = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].length < FRAME_SHORTEST || p[i].length > v->limit) {
            queue_refuse_packet(&v->q, p[i], tx_wrong_length(p[i].length, FRAME_SHORTEST));
            continue;
        }
        *bytes += p[i].length;
        good[found++] = p[i];
    }
    return found;
}

/* Resets a ring of either format: no chain is in flight. */
void virtq_begin_fill(struct virtq_queue *v)
{
    v->next = v->clean = v->published = v->left = v->part.open = 0;
    v->buffer = v->q.pool ? v->q.pool->size : 0; /* a control queue has none */
    memset(v->buffers, 0xFF, v->chains * sizeof *v->buffers);
}

void virtq_empty(struct virtq_queue *v)
{
    for (uint32_t id = 0; id < v->chains; id++) {
        if (v->buffers[id] != VIRTQ_NONE)
            stack_return(v->q.stack, v->buffers[id]);
        v->buffers[id] = VIRTQ_NONE;
    }
    if (v->part.open)
        stack_return(v->q.stack, v->part.frame.index);
    v->next = v->clean = v->left = v->part.open = 0;
}

/* --- wake-ups --------------------------------------------------------------------------------- */

/* Enables or disables the device's notifications in *flags. The barrier orders this store before
 * the caller's next check of the ring; the device publishes first, then checks the flags. */
void virtq_ask_notice(const struct queue *q, uint16_t *flags, int on)
{
    if (on)
        vector_forget(q);
    store_relaxed(flags, on ? 0 : VIRTQ_QUIET);
    device_full_barrier();
}
