// SPDX-License-Identifier: Apache-2.0
/* generate: several templates, whose buffers come back as they were sent. Each packet gets one that
 * still has its template, as far as there are such among those of its burst: bursts are alike, and
 * so few are written. As with copies of one frame, a peer that writes into memory which it was to
 * read gets what it wrote; it could do so after they are written, too. */
#include "generate.h"

/* The buffers of a burst by what they have: chains of their places + 1, which end with 0. */
struct reusable {
    struct packet packets[BURST_MAX];
    uint8_t last[REUSED_TEMPLATES + 1], before[BURST_MAX];
};

static inline void sort(struct reusable *r, const struct generate_loop *g, const struct packet *p,
                        uint32_t n)
{
    memset(r->last, 0, sizeof r->last);
    memcpy(r->packets, p, n * sizeof *p);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *last = &r->last[g->holds[p[i].index]];
        r->before[i] = *last;
        *last = (uint8_t)(i + 1);
    }
}

/* Takes a buffer from a chain that is not empty. */
static inline struct packet take(struct reusable *r, uint32_t holds)
{
    uint32_t place = r->last[holds] - 1u;
    r->last[holds] = r->before[place];
    return r->packets[place];
}

/* Writes what is to be sent into a buffer that had something else. */
static void overwrite(const struct generate_loop *g, const struct pool *pool, struct packet *p,
                      uint32_t holds)
{
    const struct frame_template *t = &g->templates[holds - 1];
    p->length = (uint16_t)t->length;
    memcpy(packet_data(pool, *p), t->frame, g->head ? g->head : t->length);
    g->holds[p->index] = (uint8_t)holds;
}

void generate_reuse(struct generate_loop *g, struct exit *e, uint32_t n, uint32_t at)
{
    struct packet *p = e->burst.packets;
    struct reusable r;
    uint8_t others[BURST_MAX], holds[BURST_MAX];
    uint32_t n_others = 0, chain = 0;
    sort(&r, g, p, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct frame_template *t = template_at(g, at);
        uint32_t has = (uint32_t)(t - g->templates) + 1;
        at = at + 1 < g->n_order ? at + 1 : 0;
        if (likely(r.last[has])) {
            p[i] = take(&r, has);
            p[i].length = (uint16_t)t->length;
        } else {
            holds[n_others] = (uint8_t)has;
            others[n_others++] = (uint8_t)i;
        }
    }
    for (uint32_t i = 0; i < n_others; i++) {
        while (!r.last[chain])
            chain++;
        p[others[i]] = take(&r, chain);
        overwrite(g, e->tx->pool, &p[others[i]], holds[i]);
    }
}
