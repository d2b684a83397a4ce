// SPDX-License-Identifier: Apache-2.0
/* intel_legacy: legacy receive and transmit descriptors of the 8254x and 82574 (8254x Software
 * Developer's Manual, 317453, §3.2.3 and §3.3.3). `word` holds length, checksum, status or command,
 * errors and VLAN tag. A received frame may take several buffers. */
#include "intel.h"

// [python]
uint32_t intel_legacy_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t intel_legacy_tx(struct queue *q, struct packet *packets, uint32_t n);
int intel_legacy_arm(struct queue *q, int on);
// [c]

enum {
    RX_DONE = 1 << 0,      /* DD, §3.2.3.1 */
    RX_LAST = 1 << 1,      /* EOP */
    RX_CHECKSUMS = 3 << 5, /* errors TCPE and IPE, §3.2.3.2 */
};

/* --- receive -------------------------------------------------------------------------------- */

/* The drop reason of one descriptor, by its error bits and its length; DROP_NONE: it is valid. */
static enum drop_reason wrong_piece(const struct intel_queue *r, uint64_t word)
{
    uint32_t errors = (uint32_t)(word >> 40 & r->rx_error_mask);
    if (errors & ~(uint32_t)RX_CHECKSUMS)
        return DROP_BAD_FRAME;
    if (errors)
        return DROP_BAD_CHECKSUM;
    return (uint16_t)word > r->limit ? rx_wrong_length(r->q.pool, (uint16_t)word) : DROP_NONE;
}

/* Handles a piece of a frame, or an invalid frame. Returns 1 when *p is a complete, valid frame. */
static __attribute__((noinline)) int take_piece(struct intel_queue *r, struct packet *p,
                                                uint64_t word)
{
    int last = (int)(word >> 32) & RX_LAST;
    p->length = (uint16_t)word;
    return frame_join(&r->q, &r->part, p, wrong_piece(r, word), pool_room(r->q.pool), last);
}

/* Validates what the device wrote into a slot. Returns 1 when *p is a complete, valid frame. */
static inline int accept_frame(struct intel_queue *r, struct packet *p, uint64_t word)
{
    uint32_t length = (uint16_t)word, last = (uint32_t)(word >> 32) & RX_LAST;
    uint32_t bad = (uint32_t)(word >> 40 & r->rx_error_mask) || length > r->limit;
    p->length = bad ? 0 : (uint16_t)length;
    if (unlikely(r->part.open || !last || p->length < FRAME_SHORTEST))
        return take_piece(r, p, word);
    return 1;
}

static inline int received(const struct intel_queue *r)
{
    return load_relaxed(&r->ring[intel_slot(r, r->next)].word) >> 32 & RX_DONE;
}

int intel_legacy_arm(struct queue *q, int on)
{
    const struct intel_queue *r = (const struct intel_queue *)q;
    vector_arm(q, &r->vector, on);
    return received(r);
}

uint32_t intel_legacy_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct intel_queue *r = (struct intel_queue *)q;
    uint32_t fresh[BURST_MAX], taken, used, got = 0;
    uint64_t bytes = 0;
    if (!received(r))
        return 0;
    taken = stack_take(q->stack, fresh, n);
    for (used = 0; used < taken; used++) {
        uint32_t slot = intel_slot(r, r->next);
        uint64_t word = load_acquire(&r->ring[slot].word); /* then the frame */
        struct packet p = {r->buffers[slot], cache_offset(r->buffers[slot]), 0};
        if (!(word >> 32 & RX_DONE))
            break;
        intel_post(r, slot, fresh[used]);
        r->next++;
        if (likely(accept_frame(r, &p, word))) {
            bytes += p.length;
            packets[got++] = p;
        }
    }
    for (uint32_t i = used; i < taken; i++)
        stack_give(q->stack, fresh[i]);
    intel_announce(r);
    queue_count(q, got, bytes);
    return got;
}

/* --- transmit ------------------------------------------------------------------------------- */

uint32_t intel_legacy_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct intel_queue *r = (struct intel_queue *)q;
    uint32_t first = r->next, flying = first - r->clean, done = 0, sent = 0;
    uint64_t bytes = 0;
    if (unlikely(!doorbell_ready(&r->bell)))
        return 0;
    if (flying >= TX_LAZY || flying + n >= r->size)
        flying = intel_clean(r);
    for (; done < n && flying + sent < r->size - 1; done++) {
        struct packet p = packets[done];
        uint32_t slot = intel_slot(r, first + sent);
        if (unlikely(p.length < SEND_MIN || p.length > r->limit)) {
            queue_refuse_packet(q, packets[done], tx_wrong_length(p.length, SEND_MIN));
            continue;
        }
        r->buffers[slot] = p.index;
        r->ring[slot].address = dma_address(q, r->dma_base, p.index, p.offset);
        r->ring[slot].word = r->tx_flags | p.length;
        bytes += p.length;
        sent++;
    }
    if (sent == 0)
        return done;
    intel_send(r, first + sent);
    queue_count(q, sent, bytes);
    return done;
}
