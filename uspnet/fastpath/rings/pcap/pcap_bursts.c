// SPDX-License-Identifier: Apache-2.0
/* pcap: how the packets of a file came in bursts: the most in any window of time, the longest run,
 * and the queue before a link. */
#include "pcap_tally.h"

enum { FRAMING = 24, SHORTEST = 84 }; /* FCS, preamble and gap; bytes on layer 1 */

static struct pcap_arrival *arrival(const struct pcap_bursts *b, uint64_t n)
{
    return &b->ring[n & (b->slots - 1)];
}

/* Takes out of a window what has left it. */
static void pass(struct pcap_bursts *b, struct pcap_window *w, uint64_t now)
{
    while (w->tail < b->head) {
        const struct pcap_arrival *oldest = arrival(b, w->tail);
        if (now - oldest->ns < w->ns)
            break;
        w->packets--;
        w->bytes -= oldest->bytes;
        w->tail++;
    }
}

/* The windows grow longer; the longest that is known has the oldest arrival. */
static struct pcap_window *longest_window(struct pcap_bursts *b)
{
    for (uint32_t i = BURST_WINDOWS; i > 0; i--)
        if (!b->windows[i - 1].lost)
            return &b->windows[i - 1];
    return NULL;
}

int pcap_bursts_ready(struct pcap_bursts *b, uint64_t ns)
{
    uint64_t now = ns > b->now_ns ? ns : b->now_ns;
    struct pcap_window *w;
    for (uint32_t i = 0; i < BURST_WINDOWS; i++)
        if (!b->windows[i].lost)
            pass(b, &b->windows[i], now);
    while ((w = longest_window(b)) && b->head - w->tail >= b->slots) {
        if (b->slots < b->most_slots)
            return 0;
        w->lost = 1;
    }
    return 1;
}

static void add_to_window(struct pcap_bursts *b, struct pcap_window *w, uint32_t bytes,
                          uint64_t number)
{
    w->packets++;
    w->bytes += bytes;
    w->most_packets = w->packets > w->most_packets ? w->packets : w->most_packets;
    if (w->bytes <= w->most_bytes)
        return;
    w->most_bytes = w->bytes;
    w->at_ns = arrival(b, w->tail)->ns;
    w->first = arrival(b, w->tail)->number;
    w->last = number;
}

static void add_to_run(struct pcap_bursts *b, uint64_t now, uint32_t bytes, uint64_t number)
{
    struct pcap_run *r = &b->run;
    if (!r->packets || now - b->now_ns > b->gap_ns)
        *r = (struct pcap_run){.from_ns = now, .first = number};
    r->packets++;
    r->bytes += bytes;
    r->to_ns = now;
    if (r->packets > b->longest.packets)
        b->longest = *r;
}

static void add_to_queue(struct pcap_bursts *b, uint64_t now, uint32_t bytes, uint64_t number)
{
    unsigned __int128 passed = (unsigned __int128)(b->head ? now - b->now_ns : 0) * 1000;
    b->wait_ps = passed < b->wait_ps ? b->wait_ps - (uint64_t)passed : 0;
    b->wait_ps += (uint64_t)((unsigned __int128)bytes * 8 * 1000000000000ull / b->link_bps);
    if (b->wait_ps > b->longest_wait_ps) {
        b->longest_wait_ps = b->wait_ps;
        b->queue_at_ns = now;
        b->queue_number = number;
    }
}

void pcap_bursts_add(struct pcap_bursts *b, uint64_t ns, uint32_t wire, uint64_t number)
{
    uint64_t now = ns > b->now_ns ? ns : b->now_ns;
    uint32_t bytes = wire > UINT32_MAX - FRAMING ? UINT32_MAX : wire + FRAMING;
    bytes = bytes < SHORTEST ? SHORTEST : bytes;
    if (b->link_bps)
        add_to_queue(b, now, bytes, number);
    add_to_run(b, now, bytes, number);
    *arrival(b, b->head) = (struct pcap_arrival){.ns = now, .number = number, .bytes = bytes};
    b->head++;
    b->now_ns = now;
    for (uint32_t i = 0; i < BURST_WINDOWS; i++)
        if (!b->windows[i].lost)
            add_to_window(b, &b->windows[i], bytes, number);
}

void pcap_bursts_move(struct pcap_bursts *b, struct pcap_arrival *ring, uint64_t slots)
{
    struct pcap_window *w = longest_window(b);
    for (uint64_t n = w ? w->tail : b->head; n < b->head; n++)
        ring[n & (slots - 1)] = *arrival(b, n);
    b->ring = ring;
    b->slots = slots;
}
