/* SPDX-License-Identifier: Apache-2.0
 *
 * Single chains of a virtqueue, for the driver (§ of VIRTIO 1.2): ownership, and handles of
 * received frames. virtq_driver.h handles bursts of them, virtq_cold.c the slow paths. */
#ifndef USPNET_VIRTQ_CHAIN_H
#define USPNET_VIRTQ_CHAIN_H
#include "virtq.h"

void virtq_begin_fill(struct virtq_queue *v);
uint32_t virtq_accept(struct virtq_queue *v, struct packet *packets, const uint32_t *buffers,
                      const uint32_t *lengths, uint32_t n, uint32_t *bytes);
uint32_t virtq_sent(struct virtq_queue *v, uint32_t id, uint32_t most);
uint32_t virtq_sift(struct virtq_queue *v, struct packet *good, const struct packet *p, uint32_t n,
                    uint32_t *bytes);
void virtq_ask_notice(const struct queue *q, uint16_t *flags, int on);

/* Takes the buffer of a used chain. An id that the device doesn't own is a fault. */
static inline int virtq_take(struct virtq_queue *v, uint32_t id, uint32_t *index)
{
    if (unlikely(id >= v->chains || v->buffers[id] == VIRTQ_NONE)) {
        queue_fault(&v->q, FAULT_RING);
        return 0;
    }
    *index = v->buffers[id];
    v->buffers[id] = VIRTQ_NONE;
    return 1;
}

/* Are all n lengths, net header included, valid for a frame in one buffer? */
static inline int virtq_all_fit(const struct virtq_queue *v, const uint32_t *lengths, uint32_t n)
{
    uint32_t least_bytes = VIRTQ_NET_HEADER + FRAME_SHORTEST, most = v->limit - least_bytes,
             bad = 0;
    for (uint32_t i = 0; i < n; i++)
        bad |= lengths[i] - least_bytes > most;
    return !bad;
}

/* Makes handles of n frames. No offload is negotiated, so the net header of a frame in one
 * buffer is not read, and the packets' memory is not touched. Returns bytes. */
static inline uint32_t virtq_handles(struct packet *packets, const uint32_t *restrict buffers,
                                     const uint32_t *restrict lengths, uint32_t n)
{
    typedef uint32_t __attribute__((may_alias)) half; /* of a handle: two stores instead of three */
    half *restrict out = (half *)packets;
    uint32_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t length = lengths[i] - VIRTQ_NET_HEADER, offset = cache_offset(buffers[i]);
        out[2 * i] = buffers[i];
        out[2 * i + 1] = (offset + VIRTQ_NET_HEADER) | length << 16;
        bytes += length;
    }
    return bytes;
}

/* num_buffers of a frame's first buffer (§5.1.6.4). */
static inline uint32_t virtq_pieces(const struct virtq_queue *v, struct packet p)
{
    uint16_t pieces;
    memcpy(&pieces, packet_data(v->q.pool, p) - VIRTQ_NET_HEADER + VIRTQ_MERGED_AT, 2);
    return pieces;
}

#endif
