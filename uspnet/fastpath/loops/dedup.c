// SPDX-License-Identifier: Apache-2.0
/* dedup: the packets behind `capture --dedup`. */
#include "dedup.h"
#include "flow.h"
#include "worker.h"

enum { HEAD = 64, MACS = 12 }; /* what is ignored lies in the head, whatever tags there are */

_Static_assert(FRAME_SHORTEST + TAGS_MAX * 4 + 12 <= HEAD, "the head");

/* Of all bytes of a packet but those that are ignored. */
struct digest {
    uint64_t mark, place;
};

static INLINE uint64_t fold(uint64_t x, uint64_t y)
{
    unsigned __int128 product = (unsigned __int128)x * y;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static INLINE void add_words(struct digest *h, const uint64_t *secret, const uint8_t *from)
{
    uint64_t words[2];
    memcpy(words, from, sizeof words);
    h->mark = fold(h->mark ^ words[0], words[1] ^ secret[0]);
    h->place = fold(h->place ^ words[1], words[0] ^ secret[1]);
}

static INLINE void add(struct digest *h, const uint64_t *secret, const uint8_t *from, uint32_t n)
{
    uint8_t rest[16] = {0};
    for (; n >= sizeof rest; n -= sizeof rest, from += sizeof rest)
        add_words(h, secret, from);
    if (n) {
        memcpy(rest, from, n);
        add_words(h, secret, rest);
    }
}

/* Sets what is ignored to 0. */
static void blank(uint32_t ignored, uint8_t *head, uint32_t n)
{
    struct rest r = {head, n};
    struct flow_key key = {0};
    uint16_t type;
    uint8_t *ip;
    if (n < FRAME_SHORTEST)
        return;
    if (ignored & DEDUP_MAC)
        memset(head, 0, MACS);
    if (!(ignored & DEDUP_TTL))
        return;
    rest_skip(&r, FRAME_SHORTEST);
    type = flow_take_tags(&key, flow_be16(head + MACS), &r);
    ip = head + (n - r.n);
    if (type == FLOW_IPV4 && r.n >= 12 && ip[0] >> 4 == 4)
        ip[8] = ip[10] = ip[11] = 0;
    else if (type == FLOW_IPV6 && r.n >= 8 && ip[0] >> 4 == 6)
        ip[7] = 0;
}

static struct digest digest_of(const struct dedup *d, const uint8_t *frame, uint32_t length)
{
    struct digest h = {d->secret[2] ^ length, d->secret[3]};
    uint32_t n = 0;
    if (d->ignored) {
        uint8_t head[HEAD];
        n = least(length, HEAD);
        memcpy(head, frame, n);
        blank(d->ignored, head, n);
        add(&h, d->secret, head, n);
    }
    add(&h, d->secret, frame + n, length - n);
    h.place = fold(h.place ^ d->secret[0], h.mark ^ d->secret[3]);
    h.mark |= 1; /* 0: none */
    return h;
}

static int is_near(const struct dedup *d, const struct seen_packet *seen, uint64_t now)
{
    return (now > seen->last ? now - seen->last : seen->last - now) <= d->window;
}

/* The places in which a packet may be. */
static INLINE struct seen_packet *places(const struct dedup *d, const struct digest *h)
{
    return &d->seen[h->place & (d->n_seen - 1) & ~(uint64_t)(DEDUP_PLACES - 1)];
}

/* Is the packet none that was seen? Those of several ports don't come in the order of their
 * times. */
static int is_new(struct dedup *d, const struct digest *h, uint64_t now)
{
    struct seen_packet *at = places(d, h), *oldest = at;
    for (uint32_t i = 0; i < DEDUP_PLACES; i++) {
        if (at[i].mark == h->mark) {
            int near = is_near(d, &at[i], now);
            if (!near || now > at[i].last)
                at[i].last = now;
            return !near;
        }
        if (oldest->mark && (!at[i].mark || at[i].last < oldest->last))
            oldest = &at[i];
    }
    d->forgotten += oldest->mark && is_near(d, oldest, now);
    *oldest = (struct seen_packet){h->mark, now};
    return 1;
}

uint64_t dedup_burst(struct dedup *d, const struct queue *rx, const struct burst *b, uint32_t n)
{
    struct digest digests[BURST_MAX];
    uint64_t fresh = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct packet p = b->packets[i];
        digests[i] = digest_of(d, packet_data(rx->pool, p), p.length);
        __builtin_prefetch(places(d, &digests[i]), 1);
        __builtin_prefetch(places(d, &digests[i]) + DEDUP_PLACES / 2, 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (is_new(d, &digests[i], rx->stamps ? b->stamps[i] : 0)) {
            fresh |= 1ull << i;
            continue;
        }
        d->packets++;
        d->bytes += burst_wire(rx, b, i);
    }
    return fresh;
}
