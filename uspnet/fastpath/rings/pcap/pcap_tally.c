// SPDX-License-Identifier: Apache-2.0
/* pcap: what the packets of a file add up to. */
#include "pcap_parts.h"

#include "pcap_tally.h"

enum { FIRST_BIN_NS = 1000 };

static uint32_t size_class(uint32_t bytes)
{
    uint32_t class = 0;
    for (uint32_t above = 20; class < TALLY_SIZES - 1 && bytes >= above; above *= 2)
        class++;
    return class;
}

/* Makes the bins reach a time, by joining pairs of them. */
static void stretch(struct pcap_tally *t, uint64_t after)
{
    while (after / t->bin_ns >= TALLY_BINS) {
        for (uint32_t i = 0; i < TALLY_BINS; i++) {
            int second = i >= TALLY_BINS / 2;
            t->bin_packets[i] = second ? 0 : t->bin_packets[2 * i] + t->bin_packets[2 * i + 1];
            t->bin_bytes[i] = second ? 0 : t->bin_bytes[2 * i] + t->bin_bytes[2 * i + 1];
        }
        t->bin_ns *= 2;
    }
}

static void count_time(struct pcap_tally *t, uint64_t ns, uint32_t bytes)
{
    uint64_t after;
    uint32_t bin;
    if (!t->bin_ns) {
        t->bin_ns = FIRST_BIN_NS;
        t->bins_from_ns = t->first_ns = t->last_ns = t->before_ns = ns;
    }
    t->disordered += ns < t->before_ns;
    t->before_ns = ns;
    t->first_ns = ns < t->first_ns ? ns : t->first_ns;
    t->last_ns = ns > t->last_ns ? ns : t->last_ns;
    after = ns > t->bins_from_ns ? ns - t->bins_from_ns : 0;
    stretch(t, after);
    bin = (uint32_t)(after / t->bin_ns);
    t->bin_packets[bin]++;
    t->bin_bytes[bin] += bytes;
}

void pcap_tally(struct pcap_tally *t, const struct found *f, uint32_t interface)
{
    uint32_t id = least(interface, PCAP_INTERFACES - 1);
    if (!t->packets || f->wire < t->shortest)
        t->shortest = f->wire;
    t->longest = f->wire > t->longest ? f->wire : t->longest;
    t->packets++;
    t->bytes += f->wire;
    t->captured += f->length;
    t->cut += is_truncated(f) != 0;
    t->sizes[size_class(f->wire)]++;
    t->of_interface[id]++;
    t->cut_of_interface[id] += is_truncated(f) != 0;
    if (f->ns == STAMP_UNKNOWN)
        t->timeless++;
    else
        count_time(t, f->ns, f->wire);
}
