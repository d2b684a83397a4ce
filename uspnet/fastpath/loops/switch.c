// SPDX-License-Identifier: Apache-2.0
/* switch: a learning bridge. A packet leaves by the port behind which its destination was seen last
 * as a source, in the same VLAN; groups, and addresses that are not known, by all others.
 *
 * The table has a fixed number of places; an address lies in one of the PROBES places from its hash
 * on. Nothing is ever removed: places of aged addresses are used again.
 * Reference: IEEE 802.1Q-2018, 8.6 to 8.8. */
#include "../splitmix.h"
#include "ways.h"

// [python]
struct mac_entry {
    uint64_t key; /* 0: free; else see key_of() */
    uint32_t seen;
    uint32_t port;
};

struct switch_loop {
    struct ways_loop w;
    struct mac_entry *macs;
    uint32_t n_macs;
    uint32_t age;        /* units after which an address is forgotten */
    uint64_t unit;       /* ticks; `seen` is in these */
    uint64_t seed;       /* of the hash: nobody outside can aim at one place */
    uint64_t gap, slack; /* storm limit in ticks: between two packets, and ahead of time; 0: none */
    uint64_t due[16];    /* by port: when the next packet to flood is within the limit */
    uint64_t moved, flooded, unlearned;
};
void loop_switch(struct worker *w);
uint32_t macs_known(const struct mac_entry *macs, uint32_t n, uint32_t age, uint64_t unit);
// [c]

enum { PROBES = 64, ADDRESS = 6, TAGGED_BYTES = 16 };
enum { TYPE_VLAN = 0x8100, TYPE_SERVICE_VLAN = 0x88A8 };
static const uint64_t USED = 1ULL << 63;
static const uint64_t PAUSE = 0x010000C28001; /* 01:80:C2:00:00:01 */

/* The VLAN by the outer tag, 0 without one, where a key has it. */
static uint64_t vlan_bits(const uint8_t *frame, uint32_t length)
{
    uint16_t type, tag;
    memcpy(&type, frame + 2 * ADDRESS, sizeof type);
    if (length < TAGGED_BYTES || (be16toh(type) != TYPE_VLAN && be16toh(type) != TYPE_SERVICE_VLAN))
        return 0;
    memcpy(&tag, frame + 2 * ADDRESS + 2, sizeof tag);
    return (uint64_t)(be16toh(tag) & 0xFFF) << 48;
}

static int is_group(uint64_t address) { return address & 1; }

/* 01:80:C2:00:00:01 to 0F: between neighbours, never forwarded. 00 is the spanning tree's, which we
 * don't speak: those around us find loops only if it passes. */
static int is_link_local(uint64_t address)
{
    return (address & 0xF0FFFFFFFFFF) == 0x0000C28001 && address >> 40 != 0;
}

static int is_aged(const struct mac_entry *e, uint32_t now, uint32_t age)
{
    return now - e->seen > age;
}

static uint32_t in_units(uint64_t ticks, uint64_t unit)
{
    return (uint32_t)(ticks / (unit + !unit));
}

/* The place of an address, or NULL; then *room is one for it, or NULL. */
static struct mac_entry *find(const struct switch_loop *s, uint64_t key, uint32_t now,
                              struct mac_entry **room)
{
    uint64_t hash = splitmix(key ^ s->seed) >> 32;
    uint32_t at = (uint32_t)(hash * s->n_macs >> 32), probes = least(PROBES, s->n_macs);
    *room = NULL;
    for (uint32_t i = 0; i < probes; i++, at = at + 1 < s->n_macs ? at + 1 : 0) {
        struct mac_entry *e = &s->macs[at];
        if (e->key == key)
            return e;
        if (!*room && (!e->key || is_aged(e, now, s->age)))
            *room = e;
        if (!e->key)
            break;
    }
    return NULL;
}

static void learn(struct switch_loop *s, uint64_t key, uint32_t port, uint32_t now)
{
    struct mac_entry *room, *e = find(s, key, now, &room);
    if (likely(e && e->port == port && e->seen == now))
        return;
    if (!e && !room) {
        s->unlearned++;
        return;
    }
    if (!e)
        e = room;
    else if (e->port != port && !is_aged(e, now, s->age))
        s->moved++;
    *e = (struct mac_entry){.key = key, .seen = now, .port = port};
}

/* May another packet of this port be flooded? */
static int within_limit(struct switch_loop *s, uint32_t port, uint64_t now)
{
    uint64_t *due = &s->due[port % WAYS_MAX];
    if (!s->gap)
        return 1;
    if (*due < now || *due - now > s->slack + s->gap)
        *due = now;
    if (*due - now > s->slack)
        return 0;
    *due += s->gap;
    return 1;
}

/* `nowhere`: the reason where no other port is open. */
static void flood(struct switch_loop *s, struct lane *lane, const struct ways *ways, uint32_t i,
                  uint64_t now, enum drop_reason nowhere)
{
    struct forward_loop *f = &s->w.f;
    struct exit *last = NULL;
    if (!within_limit(s, ways->port, now)) {
        lane_discard(f, lane, i, DROP_POLICED);
        return;
    }
    for (uint32_t port = 0; port < WAYS_MAX; port++) {
        struct exit *e = port == ways->port ? NULL : open_way_to(lane, ways, port);
        if (e && last)
            lane_copy(f, lane, last, i);
        if (e)
            last = e;
    }
    if (!last) {
        lane_discard(f, lane, i, nowhere);
        return;
    }
    s->flooded++;
    lane_put(lane, last, i);
}

static void pass(struct switch_loop *s, struct lane *lane, const struct ways *ways, uint32_t i,
                 uint64_t now)
{
    struct packet p = lane->received.packets[i];
    const uint8_t *frame = packet_data(lane->rx->pool, p);
    uint64_t to, from, vlan;
    uint32_t units = in_units(now, s->unit);
    struct mac_entry *known, *room;
    if (unlikely(p.length < FRAME_SHORTEST)) {
        lane_discard(&s->w.f, lane, i, DROP_BAD_SOURCE);
        return;
    }
    to = mac_at(frame);
    from = mac_at(frame + ADDRESS);
    if (unlikely(!from || is_group(from))) {
        lane_discard(&s->w.f, lane, i, DROP_BAD_SOURCE);
        return;
    }
    vlan = vlan_bits(frame, p.length) | USED;
    if (likely(to != PAUSE)) /* which the neighbour's MAC sends, not a station */
        learn(s, from | vlan, ways->port, units);
    if (unlikely(is_link_local(to))) {
        lane_discard(&s->w.f, lane, i, DROP_LINK_LOCAL);
        return;
    }
    known = is_group(to) ? NULL : find(s, to | vlan, units, &room);
    if (!known || is_aged(known, units, s->age)) {
        flood(s, lane, ways, i, now, DROP_NO_ROUTE);
        return;
    }
    if (known->port == ways->port) {
        lane_discard(&s->w.f, lane, i, DROP_SAME_PORT);
        return;
    }
    struct exit *e = way_to(lane, ways, known->port);
    if (unlikely(!e))
        lane_discard(&s->w.f, lane, i, DROP_NO_ROUTE);
    else if (unlikely(load_relaxed(&e->tx->closed)) && !exit_waits(&s->w.f, lane, e))
        flood(s, lane, ways, i, now, DROP_DOWN); /* who was behind it may be elsewhere now */
    else
        lane_put(lane, e, i);
}

static void bridge(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    struct switch_loop *s = (struct switch_loop *)f;
    const struct ways *ways = lane_ways(&s->w, lane);
    uint64_t now = ticks();
    mirror(&s->w, lane, ways, n);
    for (uint32_t i = 0; i < n; i++)
        pass(s, lane, ways, i, now);
}

void loop_switch(struct worker *w) { forward_run(w, NULL, bridge); }

/* The addresses that are not aged now. */
uint32_t macs_known(const struct mac_entry *macs, uint32_t n, uint32_t age, uint64_t unit)
{
    uint32_t known = 0, now = in_units(ticks(), unit);
    for (uint32_t i = 0; i < n; i++)
        known += macs[i].key && !is_aged(&macs[i], now, age);
    return known;
}
