// SPDX-License-Identifier: Apache-2.0
/* pcap: counts packets by flow. */
#include "pcap_parts.h"

#include "pcap_flows.h"

void pcap_take_key(struct flow_key *k, const struct pcap_source *s, uint32_t link_type,
                   const struct found *found)
{
    struct found f = *found;
    *k = (struct flow_key){0};
    if (link_type == LINK_ETHERNET)
        flow_of_frame(k, f.data, f.length);
    else if (pcap_make_ethernet(s, link_type, &f))
        flow_take(k, flow_be16(f.header + 12), (struct rest){f.data, f.length});
}

static int is_free(const struct pcap_flow *f) { return !(f->packets[0] | f->packets[1]); }

/* Finds the flow with this key, or the free slot where it belongs. NULL: there is no room. */
static struct pcap_flow *find(struct pcap_flows *t, const struct flow_ends *k)
{
    uint32_t at = flow_ends_hash(k, t->seed) & (t->slots - 1);
    while (!is_free(&t->at[at])) {
        if (!memcmp(&t->at[at].ends, k, sizeof *k))
            return &t->at[at];
        at = (at + 1) & (t->slots - 1);
    }
    return t->used < t->slots / 2 ? &t->at[at] : NULL;
}

void pcap_flows_add(struct pcap_flows *t, const struct pcap_source *s, uint32_t link_type,
                    const struct found *f)
{
    struct flow_key said;
    struct pcap_flow made = {0}, *flow;
    uint32_t side;
    pcap_take_key(&said, s, link_type, f);
    side = flow_ends_of(&made.ends, &said);
    flow = find(t, &made.ends);
    if (!flow) {
        t->beyond++;
        return;
    }
    if (is_free(flow)) {
        made.begun_by = (uint8_t)side;
        made.first_ns = made.last_ns = f->ns;
        *flow = made;
        t->used++;
    }
    flow->packets[side]++;
    flow->bytes[side] += f->wire;
    if (f->ns == STAMP_UNKNOWN)
        return;
    flow->first_ns = f->ns < flow->first_ns ? f->ns : flow->first_ns;
    if (flow->last_ns == STAMP_UNKNOWN || f->ns > flow->last_ns)
        flow->last_ns = f->ns;
}

void pcap_flows_move(struct pcap_flows *t, struct pcap_flow *at, uint32_t slots)
{
    struct pcap_flow *before = t->at;
    uint32_t n = t->slots;
    t->at = at;
    t->slots = slots;
    for (uint32_t i = 0; i < n; i++)
        if (!is_free(&before[i]))
            *find(t, &before[i].ends) = before[i];
}

static uint64_t weight(const struct pcap_flow *f, int by_packets)
{
    return by_packets ? f->packets[0] + f->packets[1] : f->bytes[0] + f->bytes[1];
}

/* Does flow a come before b? Equal ones are in the order of their keys. */
static int before(const struct pcap_flow *a, const struct pcap_flow *b, int by_packets)
{
    uint64_t x = weight(a, by_packets), y = weight(b, by_packets);
    if (x == y)
        x = weight(a, !by_packets), y = weight(b, !by_packets);
    return x != y ? x > y : memcmp(&a->ends, &b->ends, sizeof a->ends) < 0;
}

uint32_t pcap_flows_top(const struct pcap_flows *t, uint32_t *slots, uint32_t n, int by_packets)
{
    uint32_t found = 0;
    for (uint32_t i = 0; n && i < t->slots; i++) {
        uint32_t at = found;
        if (is_free(&t->at[i]))
            continue;
        if (found == n && !before(&t->at[i], &t->at[slots[n - 1]], by_packets))
            continue;
        if (found == n)
            at = n - 1;
        else
            found++;
        for (; at && before(&t->at[i], &t->at[slots[at - 1]], by_packets); at--)
            slots[at] = slots[at - 1];
        slots[at] = i;
    }
    return found;
}
