// SPDX-License-Identifier: Apache-2.0
/* packet, receive: TPACKET_V3. The kernel fills blocks of a shared ring with frames of any
 * length, and passes a block on when it is full or a millisecond old. */
#include "packet.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

// [python]
uint32_t packet_rx(struct queue *q, struct packet *packets, uint32_t n);
// [c]

/* A packet as it is in the ring. */
struct frame {
    const uint8_t *data;
    uint64_t ns; /* since 1970 */
    uint32_t length, tag;
    struct virtio_net_hdr left_undone;
};

/* Is there a packet to take? Moves on to the next block when the kernel has passed it on. While
 * the kernel fills a block, it writes to the cache line of the status with every packet; so the
 * status is checked only every poll_ns. */
static int block_ready(struct packet_queue *pq)
{
    if (likely(pq->left))
        return 1;
    if (pq->poll_ns && clock_ns(CLOCK_MONOTONIC) < pq->poll_at)
        return 0;
    for (uint32_t i = 0; i < pq->blocks; i++) { /* blocks may be empty */
        struct tpacket_hdr_v1 *bh = &block_of(pq)->hdr.bh1;
        /* Acquire: the status before the contents of the block. */
        if (!(load_acquire(&bh->block_status) & TP_STATUS_USER)) {
            pq->poll_at = pq->poll_ns ? clock_ns(CLOCK_MONOTONIC) + pq->poll_ns : 0;
            return 0;
        }
        pq->at = load_relaxed(&bh->offset_to_first_pkt);
        pq->counted = load_relaxed(&bh->num_pkts);
        keep_order(); /* where there are packets, `at` says where */
        pq->left = pq->counted;
        if (likely(pq->left))
            return 1;
        block_give_back(pq);
    }
    return 0;
}

/* The VLAN tag that the kernel has removed from the frame, in network order. */
static uint32_t taken_tag(const struct tpacket3_hdr *header, uint32_t status)
{
    uint32_t tpid = status & TP_STATUS_VLAN_TPID_VALID ? header->hv1.tp_vlan_tpid : ETH_P_8021Q;
    return htonl(tpid << 16 | (header->hv1.tp_vlan_tci & 0xFFFF));
}

/* Adds an Ethernet header to an IP packet, over the kernel's own header, which has been read. 0:
 * it is not an IP packet. */
static int add_ethernet(const struct packet_queue *pq, struct frame *f)
{
    uint32_t version = f->length ? f->data[0] >> 4 : 0;
    uint16_t type = htons(version == 4 ? ETH_P_IP : ETH_P_IPV6);
    uint8_t *to = (uint8_t *)f->data - ETH_HLEN;
    if (version != 4 && version != 6)
        return 0;
    memcpy(to, pq->macs, sizeof pq->macs);
    memcpy(to + sizeof pq->macs, &type, sizeof type);
    f->data = to;
    f->length += ETH_HLEN;
    f->left_undone.csum_start += ETH_HLEN;
    return 1;
}

/* Validates the next packet of the block, and moves behind it. 0: there was none, or it was
 * dropped. */
static inline int next_frame(struct packet_queue *pq, struct frame *f)
{
    const uint8_t *block = (const uint8_t *)block_of(pq);
    const struct tpacket3_hdr *header = (const void *)(block + pq->at);
    uint64_t start = pq->at, mac;
    uint32_t status, next;
    if (unlikely(start + sizeof *header > pq->block_size || start % 4)) {
        queue_drop(&pq->q, DROP_BAD_LENGTH, pq->left); /* the rest of the block can't be located */
        pq->left = 1;
        return 0;
    }
    status = load_relaxed(&header->tp_status);
    f->length = load_relaxed(&header->tp_snaplen);
    mac = load_relaxed(&header->tp_mac);
    next = load_relaxed(&header->tp_next_offset);
    pq->at = next && next < pq->block_size ? pq->at + next : pq->block_size;
    if (unlikely(!(status & TP_STATUS_USER)))
        return 0; /* an empty slot; the kernel has counted the packet as missed */
    if (unlikely(mac < sizeof *header || start + mac + f->length > pq->block_size)) {
        queue_drop(&pq->q, DROP_BAD_LENGTH, 1);
        return 0;
    }
    f->data = block + start + mac;
    f->ns = (uint64_t)header->tp_sec * 1000000000u + header->tp_nsec;
    f->tag = unlikely(status & TP_STATUS_VLAN_VALID) ? taken_tag(header, status) : 0;
    memcpy(&f->left_undone, f->data - sizeof f->left_undone, sizeof f->left_undone);
    if (unlikely(f->length < load_relaxed(&header->tp_len))) { /* truncated to fit a block */
        queue_drop(&pq->q, f->left_undone.gso_type ? DROP_JOINED : DROP_TOO_LONG, 1);
        return 0;
    }
    if (unlikely(pq->ifindex) && !add_ethernet(pq, f)) {
        queue_drop(&pq->q, DROP_NOT_IP, 1);
        return 0;
    }
    if (unlikely(f->length < FRAME_SHORTEST))
        queue_drop(&pq->q, DROP_TOO_SHORT, 1);
    return f->length >= FRAME_SHORTEST;
}

/* Inserts a VLAN tag into a frame that begins TAG bytes after `to`. */
static void put_tag(uint8_t *to, uint32_t tag)
{
    memmove(to, to + TAG, MACS);
    memcpy(to + MACS, &tag, TAG);
}

/* Writes the next segment of a GSO packet into buffer `index`. */
static void take_segment(struct packet_queue *pq, uint32_t index, struct packet *packet)
{
    uint32_t shift = pq->tag ? TAG : 0;
    uint8_t *to;
    *packet = (struct packet){index, cache_offset(index), 0};
    to = packet_data(pq->q.pool, *packet);
    packet->length = (uint16_t)(segments_next(&pq->segments, to + shift) + shift);
    if (shift)
        put_tag(to, pq->tag);
}

/* Copies the next packet of the block, or its first segment, into buffer `index`. 0: it was
 * dropped. */
static int packet_take(struct packet_queue *pq, uint32_t index, struct packet *packet)
{
    enum drop_reason reason = DROP_TOO_LONG;
    uint32_t shift, room;
    struct frame f;
    uint8_t *to;
    if (!next_frame(pq, &f))
        return 0;
    pq->stamp = f.ns;
    shift = f.tag ? TAG : 0;
    room = pool_room(pq->q.pool) - shift;
    if (unlikely(f.left_undone.gso_type != VIRTIO_NET_HDR_GSO_NONE)) {
        pq->tag = f.tag;
        if (segments_start(&pq->segments, f.data, f.length, room, &f.left_undone, &reason)) {
            take_segment(pq, index, packet);
            return 1;
        }
        queue_drop(&pq->q, reason, 1);
        return 0;
    }
    if (unlikely(f.length > room)) {
        queue_drop(&pq->q, DROP_TOO_LONG, 1);
        return 0;
    }
    *packet = (struct packet){index, cache_offset(index), (uint16_t)(f.length + shift)};
    to = packet_data(pq->q.pool, *packet);
    memcpy(to + shift, f.data, f.length);
    if (unlikely(f.left_undone.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
        !checksum_complete(to + shift, f.length, &f.left_undone)) {
        queue_drop(&pq->q, DROP_BAD_CHECKSUM, 1);
        return 0;
    }
    if (unlikely(shift))
        put_tag(to, f.tag);
    return 1;
}

/* The length of a frame that only has to be copied: whole, with nothing taken out of it or left
 * undone. 0: it is none, or lies outside of the block. */
static inline uint32_t plain_length(const struct packet_queue *pq, uint64_t start,
                                    const struct tpacket3_hdr *header, const uint8_t **data)
{
    uint32_t length = load_relaxed(&header->tp_snaplen), mac = load_relaxed(&header->tp_mac);
    uint32_t status = load_relaxed(&header->tp_status);
    struct virtio_net_hdr undone;
    if (unlikely((status & (TP_STATUS_USER | TP_STATUS_VLAN_VALID)) != TP_STATUS_USER) ||
        unlikely(length < FRAME_SHORTEST || length != load_relaxed(&header->tp_len)) ||
        unlikely(mac < sizeof *header || start + mac + length > pq->block_size))
        return 0;
    *data = (const uint8_t *)header + mac;
    memcpy(&undone, *data - sizeof undone, sizeof undone);
    if (unlikely(undone.gso_type != VIRTIO_NET_HDR_GSO_NONE) ||
        unlikely(undone.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return 0;
    return length;
}

/* Copies up to n frames of the block, as long as they are plain, and not its last one. Returns how
 * many. */
static NOINLINE uint32_t take_plain(struct packet_queue *pq, struct packet *packets,
                                    uint64_t *stamps, uint32_t n, uint64_t *bytes)
{
    const uint8_t *block = (const uint8_t *)block_of(pq), *data;
    const struct pool *pool = pq->q.pool;
    const uint32_t *free = pq->q.stack->free + pq->q.stack->top;
    uint32_t got = 0, at = pq->at, block_size = pq->block_size, room = pool_room(pool);
    uint64_t sum = 0;
    for (n = least(least(n, pq->q.stack->top), pq->left - 1); got < n; got++) {
        const struct tpacket3_hdr *header = (const void *)(block + at);
        uint32_t length, next, index;
        if (unlikely(at + sizeof *header > block_size || at % 4))
            break;
        length = plain_length(pq, at, header, &data);
        next = load_relaxed(&header->tp_next_offset);
        if (unlikely(!length || length > room || !next || next >= block_size))
            break;
        index = *--free;
        packets[got] = (struct packet){index, cache_offset(index), (uint16_t)length};
        memcpy(packet_data(pool, packets[got]), data, length);
        if (stamps)
            stamps[got] = (uint64_t)header->tp_sec * 1000000000u + header->tp_nsec;
        sum += length;
        at += next;
    }
    pq->q.stack->top -= got;
    pq->at = at;
    keep_order(); /* packet_revive() believes `at` */
    pq->left -= got;
    *bytes += sum;
    return got;
}

/* Counts packets that were taken out of the block. */
static void count(struct packet_queue *pq, uint32_t packets, uint64_t bytes)
{
    queue_count(&pq->q, packets, bytes);
    keep_order();
    pq->counted = pq->left;
}

uint32_t packet_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct packet_queue *pq = (struct packet_queue *)q;
    uint64_t bytes = 0;
    uint32_t got = 0, counted = 0, index;
    while (got < n && block_ready(pq)) {
        int taken = 1;
        if (likely(!pq->segments.left && !pq->ifindex))
            got +=
                take_plain(pq, packets + got, q->stamps ? q->stamps + got : NULL, n - got, &bytes);
        if (likely(got == n))
            break;
        if (unlikely(!stack_take(q->stack, &index, 1)))
            break;
        if (unlikely(pq->segments.left))
            take_segment(pq, index, &packets[got]);
        else
            taken = packet_take(pq, index, &packets[got]);
        if (likely(taken)) {
            if (q->stamps)
                q->stamps[got] = pq->stamp;
            bytes += packets[got++].length;
        } else {
            stack_give(q->stack, index);
        }
        if (unlikely(pq->segments.left))
            continue;
        if (likely(pq->left > 1)) {
            pq->left--;
        } else {
            count(pq, got - counted, bytes);
            counted = got;
            bytes = 0;
            block_give_back(pq);
        }
    }
    count(pq, got - counted, bytes);
    return got;
}
