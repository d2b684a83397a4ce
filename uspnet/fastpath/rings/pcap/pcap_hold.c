// SPDX-License-Identifier: Apache-2.0
/* pcap, sink: the writer's side while packets are held in memory until a trigger (pcap_hold.h). */
#include "pcap_hold.h"

static uint64_t sum_of(uint64_t ns, uint64_t more)
{
    return ns + more < ns ? UINT64_MAX : ns + more;
}

/* Counts the packets of n bytes of records as untriggered, and frees their room. Returns the
 * latest time among them. */
static uint64_t discard(struct pcap_ring *r, const uint8_t *from, uint32_t n)
{
    struct pcap_positions *at = r->positions;
    uint64_t latest = 0, packets = 0, octets = 0;
    for (uint32_t done = 0; done < n;) {
        struct pcap_record found = pcap_record_at(r, from + done, n - done);
        if (!found.size)
            break;
        done += found.size;
        packets += found.is_packet;
        octets += found.length;
        if (found.is_packet && found.ns > latest)
            latest = found.ns;
    }
    store_relaxed(&at->untriggered, at->untriggered + packets);
    store_relaxed(&at->untriggered_bytes, at->untriggered_bytes + octets);
    pcap_release(r, n);
    return latest;
}

static void make_room(struct pcap_held *held)
{
    struct pcap_positions *at = held->ring->positions;
    uint32_t bytes;
    uint8_t *from;
    while ((uint32_t)(at->scanned >> 32) - (uint32_t)(pcap_taken(held->ring) >> 32) >= held->most &&
           (bytes = pcap_peek(held->ring, &from))) {
        uint64_t latest = discard(held->ring, from, bytes);
        if (latest > held->lost_ns)
            held->lost_ns = latest;
    }
}

/* Looks at records up to the first that triggers. Returns whether there is one. */
static int look_at(struct pcap_hold *h, struct pcap_ring *r, const uint8_t *from, uint32_t n,
                   uint64_t *ns)
{
    for (uint32_t done = 0; done < n;) {
        struct pcap_record found = pcap_record_at(r, from + done, n - done);
        if (!found.size)
            return 0;
        done += found.size;
        if (!found.is_packet)
            continue;
        h->seen = 1;
        if (found.ns > h->newest_ns)
            h->newest_ns = found.ns;
        if (h->on && filter_accepts(h->on, found.data, found.caplen, found.length)) {
            *ns = found.ns;
            return 1;
        }
    }
    return 0;
}

/* Looks at what is new in a ring: one lap at most, since others wait. */
static int look(struct pcap_hold *h, struct pcap_held *held, uint64_t *ns)
{
    struct pcap_positions *at = held->ring->positions;
    uint64_t position = at->scanned;
    uint32_t bytes;
    uint8_t *from;
    for (uint32_t i = 0; i < held->ring->n_chunks; i++) {
        if (!(bytes = pcap_peek_at(held->ring, &position, &from)))
            break;
        if (look_at(h, held->ring, from, bytes, ns))
            return 1;
        position += bytes;
        store_release(&at->scanned, position);
        make_room(held);
    }
    return 0;
}

static void trigger(struct pcap_hold *h, uint64_t ns)
{
    uint64_t lost = 0;
    h->triggered = 1;
    h->from_ns = ns > h->before_ns ? ns - h->before_ns : 0;
    h->until_ns = sum_of(ns, h->after_ns);
    for (uint32_t i = 0; i < h->n; i++) {
        struct pcap_held *held = &h->rings[i];
        held->settled = h->apart ? UINT64_MAX : load_acquire(&held->ring->positions->published);
        if (held->lost_ns > lost)
            lost = held->lost_ns;
    }
    if (h->from_ns && lost >= h->from_ns)
        store_relaxed(&h->shared->held_ns, lost);
    store_release(&h->shared->triggered_ns, ns ? ns : 1);
}

/* Has somebody asked for a trigger, and of what time? The newest packet's is known with the first
 * one. */
static int is_due(const struct pcap_hold *h, uint64_t *ns)
{
    *ns = load_relaxed(&h->shared->asked_ns);
    if (*ns != UINT64_MAX)
        return *ns != 0;
    *ns = h->newest_ns;
    return h->seen != 0;
}

void pcap_hold_look(struct pcap_hold *h)
{
    uint64_t first = UINT64_MAX, ns;
    int found = 0;
    if (h->triggered)
        return;
    for (uint32_t i = 0; i < h->n; i++) {
        if (!look(h, &h->rings[i], &ns))
            continue;
        found = 1;
        if (ns < first)
            first = ns;
    }
    if (found)
        trigger(h, first);
    else if (is_due(h, &ns))
        trigger(h, ns);
}

static void note_passed(struct pcap_hold *h, struct pcap_held *held)
{
    held->passed = 1;
    for (uint32_t i = 0; i < h->n; i++)
        if (!h->rings[i].passed)
            return;
    store_release(&h->shared->passed, 1);
}

/* Is this record to be written? What is no packet is, as without a trigger. */
static int is_asked_for(struct pcap_hold *h, struct pcap_held *held, const struct pcap_record *r)
{
    if (!r->is_packet)
        return 1;
    if (r->ns > h->until_ns && !held->passed)
        note_passed(h, held);
    return r->ns >= h->from_ns && r->ns <= h->until_ns;
}

/* Returns the bytes of records that have the same answer as the first, *asked. */
static uint32_t alike(struct pcap_hold *h, struct pcap_held *held, const uint8_t *from, uint32_t n,
                      int *asked)
{
    uint32_t done = 0;
    while (done < n) {
        struct pcap_record found = pcap_record_at(held->ring, from + done, n - done);
        int this = is_asked_for(h, held, &found);
        if (!done)
            *asked = this;
        else if (this != *asked)
            break;
        if (!found.size)
            return n;
        done += found.size;
    }
    return done;
}

uint32_t pcap_hold_peek(struct pcap_hold *h, uint32_t ring, uint8_t **from)
{
    struct pcap_held *held = &h->rings[ring];
    uint32_t bytes;
    h->waits = 0;
    if (!h->triggered)
        return 0;
    while ((bytes = pcap_peek(held->ring, from))) {
        int asked;
        if (h->until_ns == UINT64_MAX && pcap_taken(held->ring) >= held->settled)
            return bytes;
        bytes = alike(h, held, *from, bytes, &asked);
        if (asked)
            return bytes;
        if ((h->waits = held->ring->staged))
            return 0;
        discard(held->ring, *from, bytes);
    }
    return 0;
}

uint32_t pcap_hold_sleep(struct pcap_hold *h, struct pcap_ring *rings, uint32_t n)
{
    uint64_t ns;
    int awake;
    if (h->triggered)
        return pcap_sleep(h->shared, rings, n);
    if (!pcap_sleep(h->shared, &rings[n - 1], 1))
        return 0;
    awake = is_due(h, &ns);
    for (uint32_t i = 0; i < h->n; i++)
        awake |= load_acquire(&rings[i].positions->published) != rings[i].positions->scanned;
    if (awake)
        store_relaxed(&h->shared->asleep, 0);
    return !awake;
}

void pcap_hold_end(struct pcap_hold *h)
{
    uint32_t bytes;
    uint8_t *from;
    for (uint32_t i = 0; i < h->n && !h->triggered; i++)
        while ((bytes = pcap_peek(h->rings[i].ring, &from)))
            discard(h->rings[i].ring, from, bytes);
}
