/* SPDX-License-Identifier: Apache-2.0
 *
 * Forwarding among several ports: which exit of a lane leads to which port. Fences as in
 * fastpath.h. */
#ifndef USPNET_WAYS_H
#define USPNET_WAYS_H
#include "forward.h"

#include <endian.h>

// [python]
enum { WAYS_MAX = 16, NO_EXIT = 255 };

/* Of one lane. Ports are numbered as on the command line. */
struct ways {
    uint32_t port;     /* that it receives from */
    uint32_t other;    /* where packets go of which nothing else is said */
    uint32_t mirror;   /* the exit for copies of all packets, or NO_EXIT */
    uint8_t exits[16]; /* the exit that leads to each port, or NO_EXIT */
};

/* The struct of a mode's loop begins with this one. */
struct ways_loop {
    struct forward_loop f;
    struct ways *ways; /* one a lane */
    uint32_t n_ways;
};
// [c]

/* The MAC address in the eight bytes from here on; its first byte is the lowest. */
static inline uint64_t mac_at(const uint8_t *from)
{
    uint64_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    return le64toh(bytes) & 0xFFFFFFFFFFFF;
}

/* The ways of a lane. Python makes as many as there are lanes. */
static inline const struct ways *lane_ways(const struct ways_loop *w, const struct lane *lane)
{
    uint32_t number = (uint32_t)(lane - w->f.w.lanes);
    return &w->ways[number < w->n_ways ? number : 0];
}

/* The exit to a port; NULL: packets of this lane can't leave by that. */
static inline struct exit *way_to(struct lane *lane, const struct ways *ways, uint32_t port)
{
    uint32_t number = port < WAYS_MAX ? ways->exits[port] : NO_EXIT;
    return number < lane->n_exits ? &lane->exits[number] : NULL;
}

/* The same, but NULL too if nothing can leave there now. */
static inline struct exit *open_way_to(struct lane *lane, const struct ways *ways, uint32_t port)
{
    struct exit *e = way_to(lane, ways, port);
    return e && !load_relaxed(&e->tx->closed) ? e : NULL;
}

/* Copies of the first n packets of a lane leave by its mirror, if it has one. */
static inline void mirror(struct ways_loop *w, struct lane *lane, const struct ways *ways,
                          uint32_t n)
{
    if (likely(ways->mirror >= lane->n_exits))
        return;
    for (uint32_t i = 0; i < n; i++)
        lane_copy(&w->f, lane, &lane->exits[ways->mirror], i);
}

#endif
