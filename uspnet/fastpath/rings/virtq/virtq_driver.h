/* SPDX-License-Identifier: Apache-2.0
 *
 * virtq: receive, transmit and reclaim of the driver (§ of VIRTIO 1.2), as templates that are
 * compiled once for each format; a format is a struct of seven functions.
 *
 * A burst is processed in steps, each over all of its chains. Most devices use chains in the order
 * of their ids, so ownership is checked for runs of ids at a time; chains that are used in another
 * order are handled one by one. */
#ifndef USPNET_VIRTQ_DRIVER_H
#define USPNET_VIRTQ_DRIVER_H
#include "virtq_chain.h"

#define VIRTQ_INLINE static inline __attribute__((always_inline))

/* A ring format. Positions count chains; `per_chain`: descriptors in a chain. No run of chains
 * crosses the end of the ring. */
struct virtq_format {
    /* The number of used chains, at most `most`, from the one at `clean` on while their ids are
     * those of their positions. Their buffers may be read afterwards. */
    uint32_t (*in_order_run)(const struct virtq_queue *v, uint32_t most, uint32_t per_chain);
    /* Was a chain used at this position? Sets its id, or an id out of range. */
    int (*used)(const struct virtq_queue *v, uint32_t position, uint32_t per_chain, uint32_t *id);
    /* The bytes that the device wrote into each of n chains, from the one at `clean` on. */
    void (*lengths)(const struct virtq_queue *v, uint32_t *restrict lengths, uint32_t n);
    /* Puts n receive buffers into the ring, with consecutive ids. */
    void (*place)(struct virtq_queue *v, uint32_t position, uint32_t id,
                  const uint32_t *restrict fresh, uint32_t n);
    /* Puts n packets into the ring; ids are those of the positions. */
    void (*send)(struct virtq_queue *v, uint32_t position, const struct packet *restrict packets,
                 uint32_t n);
    /* Makes all chains before `next` available, and notifies the device. */
    void (*publish)(struct virtq_queue *v);
    uint32_t (*clean)(struct virtq_queue *v);
};

/* A DMA address; `size`: of a pool buffer. */
static inline uint64_t virtq_address(uint64_t dma_base, uint32_t size, uint32_t index,
                                     uint32_t offset)
{
    return dma_base + (uint64_t)index * size + offset;
}

/* A doorbell's value. `at`: the next available index, sent along if NOTIFICATION_DATA was
 * negotiated (§4.1.5.2). */
static inline uint32_t virtq_notify_value(const struct virtq_queue *v, uint32_t at)
{
    return v->notification_data ? at << 16 | v->number : v->number;
}

/* Rings the doorbell unless the device has disabled it in *flags. §2.7.13.4.1 and §2.8.21.4.1:
 * the driver must perform a suitable memory barrier before reading those flags, or a
 * notification may be missed. */
static inline void virtq_notify(struct virtq_queue *v, const uint16_t *flags, uint32_t at)
{
    device_full_barrier();
    if (!(load_relaxed(flags) & VIRTQ_QUIET))
        doorbell_ring(&v->q, &v->bell, virtq_notify_value(v, at));
}

/* --- ownership ------------------------------------------------------------------------------- */

/* Takes the buffers of n used chains with consecutive ids; all of them, or none after a fault. */
static inline int virtq_take_run(struct virtq_queue *v, uint32_t id, uint32_t n,
                                 uint32_t *restrict out)
{
    uint32_t *restrict buffers = v->buffers + id, missing = 0;
    for (uint32_t i = 0; i < n; i++)
        missing |= buffers[i] == VIRTQ_NONE;
    if (unlikely(missing)) {
        queue_fault(&v->q, FAULT_RING);
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        out[i] = buffers[i];
        buffers[i] = VIRTQ_NONE;
    }
    return 1;
}

/* --- receive --------------------------------------------------------------------------------- */

static inline int virtq_all_whole(const struct virtq_queue *v, const struct packet *packets,
                                  uint32_t n)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < n; i++)
        bad |= virtq_pieces(v, packets[i]) != 1;
    return !bad;
}

/* Takes the buffers of used chains, at most n. The ids of the first in_order_run are those of their
 * positions; the others are stored in `ids`. */
VIRTQ_INLINE uint32_t virtq_returned(struct virtq_queue *v, uint32_t n, uint32_t *buffers,
                                     uint32_t in_order_run, uint32_t *ids,
                                     const struct virtq_format *format)
{
    uint32_t used = in_order_run;
    if (unlikely(!virtq_take_run(v, v->clean & (v->chains - 1), in_order_run, buffers)))
        return 0;
    for (; used < n; used++)
        if (!format->used(v, v->clean + used, 1, &ids[used]) ||
            unlikely(!virtq_take(v, ids[used], &buffers[used])))
            break;
    return used;
}

/* Replaces the buffer of each used chain. Chains are made available again only here, after all ids
 * were checked, so that a chain used twice in a burst is detected. */
VIRTQ_INLINE void virtq_refill(struct virtq_queue *v, const uint32_t *fresh, uint32_t in_order_run,
                               uint32_t n, const uint32_t *ids, const struct virtq_format *format)
{
    uint32_t from = v->next, at = from & (v->chains - 1);
    memcpy(v->buffers + at, fresh, in_order_run * sizeof *fresh);
    if (likely(in_order_run))
        format->place(v, from, at, fresh, in_order_run);
    for (uint32_t i = in_order_run; i < n; i++) {
        v->buffers[ids[i]] = fresh[i];
        format->place(v, from + i, ids[i], fresh + i, 1);
    }
    v->next = from + n;
    format->publish(v);
}

/* Takes at most n used chains, up to the end of the ring, and replaces their buffers: a receive
 * ring is always full. */
VIRTQ_INLINE uint32_t virtq_receive(struct virtq_queue *v, struct packet *packets, uint32_t n,
                                    const struct virtq_format *format)
{
    uint32_t fresh[BURST_MAX], ids[BURST_MAX], buffers[BURST_MAX], lengths[BURST_MAX];
    uint32_t in_order_run, used, got, bytes = 0;
    int plain;
    n = stack_take(v->q.stack, fresh, least(n, v->chains - (v->clean & (v->chains - 1))));
    in_order_run = format->in_order_run(v, n, 1);
    used = virtq_returned(v, n, buffers, in_order_run, ids, format);
    format->lengths(v, lengths, used);
    if (unlikely(used < n)) /* return the buffers that are not needed */
        for (uint32_t i = used; i < n; i++)
            stack_give(v->q.stack, fresh[i]);
    if (unlikely(!used))
        return 0;
    v->clean += used;
    virtq_refill(v, fresh, in_order_run, used, ids, format);
    got = used;
    plain = !v->left && virtq_all_fit(v, lengths, used);
    if (likely(plain)) {
        bytes = virtq_handles(packets, buffers, lengths, used);
        plain = !v->merges || virtq_all_whole(v, packets, used);
    }
    if (unlikely(!plain)) /* one by one */
        got = virtq_accept(v, packets, buffers, lengths, used, &bytes);
    queue_count(&v->q, got, bytes);
    return got;
}

/* --- transmit -------------------------------------------------------------------------------- */

/* Frees the buffers of used chains, at most `most`. Returns the packets still in flight. */
VIRTQ_INLINE uint32_t virtq_reclaim(struct virtq_queue *v, uint32_t most,
                                    const struct virtq_format *format)
{
    struct stack *s = v->q.stack;
    if (unlikely(most > v->chains || !stack_has_room(s, most))) {
        queue_fault(&v->q, FAULT_RING);
        return 0;
    }
    while (most) {
        uint32_t at = v->clean & (v->chains - 1), id;
        uint32_t n = format->in_order_run(v, least(most, v->chains - at), 2);
        if (likely(n)) {
            if (unlikely(!virtq_take_run(v, at, n, s->free + s->top)))
                break;
            s->top += n;
        } else if (!format->used(v, v->clean, 2, &id) || !(n = virtq_sent(v, id, most))) {
            break;
        }
        v->clean += n;
        most -= n;
    }
    return least(v->next - v->clean, v->chains);
}

/* The packets that can be sent in one run, at most n: limited by free chains, by the end of the
 * ring, and by chains that a device which completes out of order still owns. */
static inline uint32_t virtq_room(const struct virtq_queue *v, uint32_t n)
{
    uint32_t at = v->next & (v->chains - 1), flying = v->next - v->clean, held = 0, free = 0;
    const uint32_t *buffers = v->buffers + at;
    n = least(n, least(v->chains - at, v->chains - flying));
    for (uint32_t i = 0; i < n; i++)
        held |= ~buffers[i];
    if (likely(!held))
        return n;
    while (buffers[free] == VIRTQ_NONE)
        free++;
    return free;
}

/* Sends one run. Returns the packets accepted, those dropped included. */
VIRTQ_INLINE uint32_t virtq_send(struct virtq_queue *v, const struct packet *packets, uint32_t n,
                                 const struct virtq_format *format)
{
    struct packet sifted[BURST_MAX];
    uint32_t *restrict buffers = v->buffers + (v->next & (v->chains - 1)), good, wrong = 0;
    uint32_t done = virtq_room(v, n), most = v->limit - FRAME_SHORTEST, bytes = 0;
    for (uint32_t i = 0; i < done; i++) {
        wrong |= (uint32_t)packets[i].length - FRAME_SHORTEST > most;
        bytes += packets[i].length;
    }
    good = done;
    if (unlikely(wrong)) {
        good = virtq_sift(v, sifted, packets, done, &bytes);
        packets = sifted;
    }
    for (uint32_t i = 0; i < good; i++)
        buffers[i] = packets[i].index;
    if (likely(good))
        format->send(v, v->next, packets, good);
    v->next += good;
    queue_count(&v->q, good, bytes);
    return done;
}

VIRTQ_INLINE uint32_t virtq_transmit(struct virtq_queue *v, const struct packet *packets,
                                     uint32_t n, const struct virtq_format *format)
{
    uint32_t from = v->next, flying = from - v->clean, done;
    if (flying >= least(TX_LAZY, v->chains / 2) || flying + n > v->chains)
        format->clean(v);
    done = virtq_send(v, packets, n, format);
    if (unlikely(done < n)) { /* end of the ring, ring full, or a chain still in flight */
        format->clean(v);
        done += virtq_send(v, packets + done, n - done, format);
    }
    if (v->next != from)
        format->publish(v);
    return done;
}

#endif
