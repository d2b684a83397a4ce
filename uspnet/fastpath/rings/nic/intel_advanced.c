// SPDX-License-Identifier: Apache-2.0
/* intel_advanced: advanced receive and transmit descriptors of the 82576 and later NICs (82576EB
 * datasheet, §7.1.5 and §7.2.2). A frame takes one buffer: the device is set up to drop longer
 * ones. Receive: we write the buffer's address and 0; the device writes back packet type and RSS
 * hash, and in `word` status, errors, length and VLAN tag. Transmit: the address, and in `word`
 * length, command and status. */
#include "intel.h"

// [python]
uint32_t intel_advanced_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t intel_advanced_tx(struct queue *q, struct packet *packets, uint32_t n);
int intel_advanced_arm(struct queue *q, int on);
// [c]

enum {
    RX_DONE = 1 << 0,    /* DD */
    RX_LAST = 1 << 1,    /* EOP */
    RX_CHECKED = 3 << 5, /* L4CS and IPCS: the checksums that the device verified */
    RX_TCP_UDP = 3 << 8, /* packet type, in the first half */
    RX_L4E = 1 << 29,    /* wrong TCP or UDP checksum */
    RX_IPE = 1 << 30,    /* wrong IPv4 checksum */
};
static const uint64_t TX_LENGTHS = 1ull << 46 | 1; /* PAYLEN and DTALEN: packet and buffer */

/* --- receive -------------------------------------------------------------------------------- */

/* Is it a complete frame that fits the buffer, with none of the error bits in `bad`? */
static inline int good(const struct intel_queue *r, uint64_t word, uint32_t length, uint32_t bad)
{
    uint32_t state = (uint32_t)word & (RX_DONE | RX_LAST | bad);
    return state == (RX_DONE | RX_LAST) && length - FRAME_SHORTEST <= r->limit - FRAME_SHORTEST &&
           !r->skipping;
}

/* The checksum errors that count: of checksums that the device verified, except SCTP's. MEASURED:
 * QEMU's 82576 reports that one as wrong when a short frame was padded. */
static uint32_t checked(uint64_t first, uint64_t word)
{
    return (uint32_t)(word & RX_CHECKED) << 24 & (first & RX_TCP_UDP ? RX_L4E | RX_IPE : RX_IPE);
}

/* The drop reason of a frame that is not good(). */
static enum drop_reason reason(const struct intel_queue *r, uint64_t word, uint32_t length,
                               uint32_t bad)
{
    uint32_t errors = (uint32_t)word & bad;
    if (!(word & RX_LAST))
        return DROP_TOO_LONG; /* it goes on in another buffer */
    if (errors & ~(uint32_t)(RX_L4E | RX_IPE))
        return DROP_BAD_FRAME;
    return errors ? DROP_BAD_CHECKSUM : rx_wrong_length(r->q.pool, length);
}

/* Examines a frame that is not good() under the full error mask. Returns 1 when only an unverified
 * checksum is flagged; otherwise drops the frame, once for all of its pieces. */
static uint32_t refuse(struct intel_queue *r, uint64_t first, uint64_t word, uint32_t length)
{
    uint32_t unchecked = (RX_L4E | RX_IPE) & ~checked(first, word);
    uint32_t bad = r->rx_error_mask & ~unchecked;
    if (good(r, word, length, bad))
        return 1;
    if (!r->skipping)
        queue_drop(&r->q, reason(r, word, length, bad), 1);
    r->skipping = !(word & RX_LAST);
    return 0;
}

/* Validates what the device wrote into a slot. Returns 1 for a complete, valid frame. */
static inline uint32_t accept_frame(struct intel_queue *r, uint32_t slot, uint64_t word)
{
    uint32_t length = (uint16_t)(word >> 32);
    return likely(good(r, word, length, r->rx_error_mask)) ||
           refuse(r, load_relaxed(&r->ring[slot].address), word, length);
}

uint32_t intel_advanced_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct intel_queue *r = (struct intel_queue *)q;
    struct stack *stack = q->stack;
    uint32_t next = r->next, mask = r->size - 1, got = 0;
    uint32_t end = next + least(n, stack->top);
    uint64_t bytes = 0;
    for (; next != end; next++) {
        uint32_t slot = next & mask, index = r->buffers[slot], length;
        uint64_t word = load_acquire(&r->ring[slot].word); /* then the frame */
        if (!(word & RX_DONE))
            break;
        length = (uint16_t)(word >> 32);
        if (likely(accept_frame(r, slot, word))) {
            packets[got++] = (struct packet){index, cache_offset(index), (uint16_t)length};
            bytes += length;
            index = stack->free[stack->top - got]; /* else the slot's buffer is reused */
        }
        intel_post(r, slot, index);
    }
    if (next == r->next)
        return 0;
    r->next = next;
    stack->top -= got;
    intel_announce(r);
    queue_count(q, got, bytes);
    return got;
}

int intel_advanced_arm(struct queue *q, int on)
{
    const struct intel_queue *r = (const struct intel_queue *)q;
    vector_arm(q, &r->vector, on);
    return load_relaxed(&r->ring[intel_slot(r, r->next)].word) & RX_DONE;
}

/* --- transmit ------------------------------------------------------------------------------- */

uint32_t intel_advanced_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct intel_queue *r = (struct intel_queue *)q;
    uint32_t first = r->next, next = first, mask = r->size - 1, flying = first - r->clean, done;
    uint64_t bytes = 0;
    if (unlikely(!doorbell_ready(&r->bell)))
        return 0;
    if (flying >= TX_LAZY || flying + n > mask)
        flying = intel_clean(r);
    n = least(n, mask - flying); /* one slot stays free: head == tail means empty */
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        uint32_t slot = next & mask, length = p.length;
        if (unlikely(length - SEND_MIN > r->limit - SEND_MIN)) {
            queue_refuse_packet(q, packets[done], tx_wrong_length(length, SEND_MIN));
            continue;
        }
        r->buffers[slot] = p.index;
        r->ring[slot].address = dma_address(q, r->dma_base, p.index, p.offset);
        r->ring[slot].word = r->tx_flags | length * TX_LENGTHS;
        bytes += length;
        next++;
    }
    if (next == first)
        return done;
    intel_send(r, next);
    queue_count(q, next - first, bytes);
    return done;
}
