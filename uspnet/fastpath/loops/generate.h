/* SPDX-License-Identifier: Apache-2.0
 *
 * The generate loop, of which sign.c is a part. Fences as in fastpath.h. */
#ifndef USPNET_GENERATE_H
#define USPNET_GENERATE_H
#include "measure.h"
#include "pace.h"

// [python]
enum { REUSED_TEMPLATES = 64 };

struct generate_loop {
    struct worker w;
    const struct frame_template *templates;
    uint32_t n_templates;
    uint32_t n_order;      /* packets of a cycle */
    const uint32_t *order; /* template of each packet of a cycle; NULL: templates in turn */
    uint32_t stamp_at;     /* offset of the 18-byte signature in every frame; 0: none */
    uint64_t *turn;        /* packets begun by all workers; only with several templates */
    uint64_t secret;       /* random for each run; XORed with the time in a signature */
    struct pace *pace;     /* when packets are due; NULL: as soon as there is room */
    double seconds;        /* of the run; 0: no limit */
    uint64_t offered;
    struct stream *streams; /* one for each lane; sequence numbers continue */
    struct sent_log *logs;  /* one for each lane; NULL: lost packets are not made once more */
    uint32_t first_stream;  /* number of streams[0] */
    struct field *fields;   /* list of what varies from packet to packet; may be NULL */
    struct measure_loop *inline_receiver; /* runs in this thread; may be NULL */
    uint32_t copies; /* buffers are written for each packet; else once, and stay as they are */
    uint32_t head;   /* copies: the bytes that are written each time; several templates: 0: all */
    const struct frame_template *filler; /* what buffers have behind those, whatever is sent */
    uint8_t *holds; /* the template in each buffer of the pool + 1, of REUSED_TEMPLATES at most; 0:
                       not known. NULL: nobody keeps that */
    uint32_t dry;   /* nothing waits: packets go to a file, and when they are due is their stamp */
};
void loop_generate(struct worker *w);
// [c]

/* The template of a packet, by its place in the cycle. */
static inline const struct frame_template *template_at(const struct generate_loop *g, uint32_t at)
{
    return &g->templates[g->order ? g->order[at] : at];
}

/* For a loop that has others of these in it (profile.c): the packets of lane 0. */
void generate_fill(struct generate_loop *g, struct exit *e, uint32_t n);
uint32_t generate_due(struct generate_loop *g, uint64_t elapsed, uint64_t *waiting);
uint32_t generate_now(struct generate_loop *g, uint64_t *waiting);
uint32_t generate_held(struct generate_loop *g);

/* reuse.c: gives n packets their templates, from place `at` of the cycle on. */
void generate_reuse(struct generate_loop *g, struct exit *e, uint32_t n, uint32_t at);
void generate_sign(struct generate_loop *g, struct exit *e, uint32_t stream, uint32_t n,
                   uint32_t at);
void generate_log(struct generate_loop *g, struct exit *e, uint32_t stream, uint32_t n,
                  uint32_t place);
void sign_again(const struct frame_template *t, uint8_t *frame, uint32_t stamp_at,
                struct signature s);

#endif
