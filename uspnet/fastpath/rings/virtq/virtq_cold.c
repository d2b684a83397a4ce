// SPDX-License-Identifier: Apache-2.0
/* What both formats of virtqueues share at the driver's end (§ of VIRTIO 1.2) where it need not be
 * quick: frames in several buffers, what is wrong, what comes back in another order. */
#include "virtq_chain.h"

static int refuse(struct virtq_queue *v, uint32_t index, enum drop_reason reason)
{
    queue_refuse(&v->q, index, reason);
    return 0;
}

/* The first piece of a frame that takes several buffers (§5.1.6.4). */
static int begin(struct virtq_queue *v, struct packet *p, uint32_t pieces)
{
    if (pieces == 0 || pieces > v->chains)
        return refuse(v, p->index, DROP_BAD_CHAIN);
    v->left = pieces - 1;
    return frame_join(&v->q, &v->part, p, DROP_NONE, 0, 0);
}

/* A further piece of `length` bytes, without a header. */
static int join(struct virtq_queue *v, struct packet *p, uint32_t length)
{
    enum drop_reason wrong = length > v->limit ? DROP_BAD_LENGTH : DROP_NONE;
    *p = (struct packet){p->index, cache_offset(p->index), (uint16_t)length};
    return frame_join(&v->q, &v->part, p, wrong, pool_room(v->q.pool) - VIRTQ_NET_HEADER,
                      --v->left == 0);
}

/* Checks what the device wrote into buffer p->index, `length` bytes with the net header. Returns 1
 * when *p is a whole, good frame. */
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

/* Takes back what was sent: a chain that is not the one at `clean`. An in-order device reports
 * only the last of a batch (§2.7.9, §2.8.9), at most `most`. Returns how many they were; 0 after a
 * fault. */
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

/* Copies those of n packets that the device can send, counts the others and keeps their buffers. */
uint32_t virtq_sift(struct virtq_queue *v, struct packet *good, const struct packet *p, uint32_t n,
                    uint32_t *bytes)
{
    uint32_t found = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].length < FRAME_SHORTEST || p[i].length > v->limit) {
            queue_refuse(&v->q, p[i].index, tx_wrong_length(p[i].length, FRAME_SHORTEST));
            continue;
        }
        *bytes += p[i].length;
        good[found++] = p[i];
    }
    return found;
}

/* What both formats begin with: no chain is out. */
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
            stack_give(v->q.stack, v->buffers[id]);
        v->buffers[id] = VIRTQ_NONE;
    }
    if (v->part.open)
        stack_give(v->q.stack, v->part.frame.index);
    v->next = v->clean = v->left = v->part.open = 0;
}

/* --- while a worker sleeps -------------------------------------------------------------------- */

/* Says in *flags, ours, whether the device shall notify us. It must be able to see that before we
 * look at the ring once more: its own end does the same the other way round. */
void virtq_ask_notice(const struct queue *q, uint16_t *flags, int on)
{
    if (on)
        vector_forget(q);
    store_relaxed(flags, on ? 0 : VIRTQ_QUIET);
    device_full_barrier();
}
