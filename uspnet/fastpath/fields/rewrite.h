/* SPDX-License-Identifier: Apache-2.0
 *
 * What is rewritten in packets (rewrite.c), and made wrong in them. Fences as in fastpath.h. */
#ifndef USPNET_REWRITE_H
#define USPNET_REWRITE_H
#include "headers.h"
#include "loops/template.h"

// [python]
/* Addresses within `from` become `to`, and keep their other bits. Words in memory order. */
struct rewrite_net {
    uint32_t words;            /* 1: IPv4, 4: IPv6 */
    uint32_t from[4], mask[4]; /* an address is within when (address & mask) == from */
    uint32_t to[4], keep[4];
};

struct rewrite_port {
    uint16_t from, to; /* in network byte order */
};

/* The outermost header of a kind. */
enum rewrite_layer { REWRITE_MAC, REWRITE_VLAN, REWRITE_IP, REWRITE_IP6, REWRITE_TCP, REWRITE_UDP };
/* What of a transport's checksum is about a field of IP's header: nothing, or an address. */
enum rewrite_cover { REWRITE_NO_ADDRESS, REWRITE_SRC, REWRITE_DST };

/* A field of a header: words of 16 bits, each of which becomes `to | (word & keep)`. */
struct rewrite_set {
    uint32_t layer;          /* enum rewrite_layer */
    uint32_t cover;          /* enum rewrite_cover */
    uint32_t at, words;      /* offset in the header; up to 8 */
    uint16_t to[8], keep[8]; /* in memory order */
    uint64_t packets;        /* that had the field */
};

/* A field of a header that is made wrong when all else is done: bits of a word of 16 bits. */
enum rewrite_how { REWRITE_PUT, REWRITE_ADD, REWRITE_SPOIL }; /* SPOIL: of a checksum, by 1 */
struct rewrite_wrong {
    uint32_t layer;        /* enum rewrite_layer */
    uint32_t how;          /* enum rewrite_how */
    uint32_t at;           /* the word's offset in the header */
    uint32_t value, mask;  /* in the word */
    uint32_t check, times; /* the header's checksum is there, and has the word so often; or 0 */
    uint64_t packets;      /* that had the field */
};

/* The outermost VLAN tag: as it is; with another ID, or a new one; taken away. */
enum rewrite_tag { REWRITE_TAG_KEEP, REWRITE_TAG_SET, REWRITE_TAG_REMOVE };

struct rewrite_field {
    struct field f;
    const struct rewrite_net *nets; /* the first one that fits counts */
    const struct rewrite_port *ports;
    struct rewrite_set *sets; /* after the tables; by layer */
    uint32_t n_nets, n_ports, n_sets;
    uint32_t deep;   /* something behind the MAC addresses and tags is replaced */
    uint32_t tag;    /* enum rewrite_tag */
    uint32_t vlan;   /* SET: the VLAN ID */
    uint64_t seen;   /* packets */
    uint64_t tagged; /* packets that were given their tag, or had one that was taken away */

    /* One of `every` packets is made wrong, and nothing else happens to it. 0: none is. */
    struct rewrite_wrong *wrongs;
    uint32_t n_wrongs, every;
    uint32_t runt;  /* what is left of the packet, in bytes; 0: all */
    uint64_t runts; /* packets that were longer */
};
void field_rewrite(struct field *f, const struct pool *pool, struct packet *p, uint32_t n);
// [c]

/* Makes a field wrong, and has the header's own checksum follow it. UDP's is 0: there is none. */
static inline void make_wrong(const struct rewrite_wrong *x, uint8_t *header, uint32_t n)
{
    uint8_t *at = header + x->at, *check = header + x->check;
    uint32_t was = be16(at), now = x->how == REWRITE_ADD ? was + x->value : x->value;
    uint16_t old, made;
    memcpy(&old, at, sizeof old);
    if (x->how == REWRITE_SPOIL) {
        memcpy(&made, "\0\1", sizeof made);
        check_correct(at, made, UINT16_MAX);
        return;
    }
    now = (now & x->mask) | (was & ~x->mask);
    at[0] = (uint8_t)(now >> 8);
    at[1] = (uint8_t)now;
    memcpy(&made, at, sizeof made);
    if (x->times && n >= x->check + 2 && (x->layer != REWRITE_UDP || be16(check)))
        check_correct(check, x->times * ((uint64_t)(uint16_t)~old + made),
                      x->layer == REWRITE_UDP ? UINT16_MAX : 0);
}

/* Makes fields wrong of a layer's header, of which there are n bytes. */
static inline void rewrite_spoil(const struct rewrite_field *g, uint32_t layer, uint8_t *header,
                                 uint32_t n)
{
    for (uint32_t k = 0; k < g->n_wrongs; k++) {
        struct rewrite_wrong *x = &g->wrongs[k];
        if (x->layer != layer || x->at + 2 > n)
            continue;
        make_wrong(x, header, n);
        x->packets++;
    }
}

#endif
