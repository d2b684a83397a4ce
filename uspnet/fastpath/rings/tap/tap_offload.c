// SPDX-License-Identifier: Apache-2.0
/* tap with offloads, receive: the kernel leaves checksums to us, and packets of up to 64 KiB to be
 * segmented. A virtio header in front of each says so. */
#include "tap.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <sys/uio.h>

// [python]
uint32_t tap_offload_rx(struct queue *q, struct packet *packets, uint32_t n);
/* After the loops, or the process of the queue's worker, have ended: gives up the packet that was
 * being segmented. Returns how many frames of it are lost. */
uint32_t tap_give_up(struct tap_queue *tap);
// [c]

enum { NOTHING = -1, DROPPED, TAKEN };

static int drop(struct tap_queue *tap, enum drop_reason reason)
{
    queue_drop(&tap->q, reason, 1);
    return DROPPED;
}

/* Writes the next segment into the packet's buffer. */
static int take_segment(struct tap_queue *tap, struct packet *p)
{
    p->length = (uint16_t)segments_next(&tap->segments, packet_data(tap->q.pool, *p));
    return TAKEN;
}

/* Begins to segment a packet whose first `room` bytes were read into the packet's buffer. */
static int take_first(struct tap_queue *tap, struct packet *p, const struct virtio_net_hdr *v,
                      uint32_t length, uint32_t room)
{
    enum drop_reason reason;
    memcpy(tap->large, packet_data(tap->q.pool, *p), least(length, room));
    if (!segments_start(&tap->segments, tap->large, length, room, v, &reason)) {
        tap->segments.left = 0;
        return drop(tap, reason);
    }
    return take_segment(tap, p);
}

/* Reads the next packet into the buffer, and what has no room there into `large` behind a gap of
 * that size, where the rest of a packet to be segmented belongs. */
static int take_packet(struct tap_queue *tap, struct packet *p)
{
    struct virtio_net_hdr v = {0};
    uint32_t room = least(pool_room(tap->q.pool), TAP_LARGE / 2), length;
    uint8_t *to = packet_data(tap->q.pool, *p);
    struct iovec parts[] = {{&v, sizeof v}, {to, room}, {tap->large + room, TAP_LARGE - room}};
    ssize_t bytes = readv(tap->fd, parts, 3);
    if (bytes <= 0) {
        if (bytes < 0)
            tap_fault(&tap->q, errno);
        return NOTHING;
    }
    if (unlikely(bytes < (ssize_t)(sizeof v + FRAME_SHORTEST)))
        return drop(tap, DROP_TOO_SHORT);
    length = (uint32_t)bytes - sizeof v;
    if (unlikely(length >= TAP_LARGE)) /* it may have been truncated */
        return drop(tap, DROP_TOO_LONG);
    if (v.gso_type != VIRTIO_NET_HDR_GSO_NONE)
        return take_first(tap, p, &v, length, room);
    if (unlikely(length > room))
        return drop(tap, DROP_TOO_LONG);
    if (v.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !checksum_complete(to, length, &v))
        return drop(tap, DROP_BAD_CHECKSUM);
    p->length = (uint16_t)length;
    return TAKEN;
}

uint32_t tap_offload_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct tap_queue *tap = (struct tap_queue *)q;
    uint32_t got = 0, index;
    int what = DROPPED;
    while (got < n && what != NOTHING && stack_take(q->stack, &index, 1)) {
        struct packet p = {index, cache_offset(index), 0};
        what = tap->segments.left ? take_segment(tap, &p) : take_packet(tap, &p);
        if (likely(what == TAKEN)) {
            queue_count(q, 1, p.length); /* what was read is counted, wherever this ends */
            packets[got++] = p;
        } else {
            stack_give(q->stack, index);
        }
    }
    return got;
}

uint32_t tap_give_up(struct tap_queue *tap)
{
    uint32_t left = least(tap->segments.left, TAP_LARGE), size = tap->segments.size;
    tap->segments.left = 0;
    return left && size ? (left - 1) / size + 1 : 0;
}
