// SPDX-License-Identifier: Apache-2.0
/* pcap: source and sink after the process of their worker has ended at any instruction. */
#include "pcap_parts.h"

void pcap_note_begin(struct pcap_source *s)
{
    s->begun = (struct pcap_begun){
        .published = s->sink ? s->sink->ring.positions->published : 0,
        .n_interfaces = s->n_interfaces,
        .sections = s->sections,
        .swapped = s->swapped,
    };
    keep_order();
    s->begun.at = s->at + 1;
    keep_order();
}

/* A part of the stream is lost: what follows can't be parsed. */
static void tear(struct pcap_source *s)
{
    s->why = PCAP_TORN;
    queue_fault(&s->q, FAULT_MALFORMED);
    store_release(&s->q.ended, 1);
}

/* Makes a stream's window whole. While its contents overlap with where they are moved to, that
 * can't be completed; and a read() that has taken something does not say how much. */
static void revive_window(struct pcap_source *s)
{
    if (s->stream_fd < 0) /* a file, which is mapped as it is */
        return;
    if (s->size > PCAP_WINDOW || s->move.bytes > PCAP_WINDOW ||
        s->move.from > PCAP_WINDOW - s->move.bytes) {
        s->size = s->at = s->move.from = 0; /* something wrote over them */
        tear(s);
    }
    if (s->move.from >= s->move.bytes && s->move.from)
        pcap_move(s);
    if (s->move.from ||
        (s->reading && (PCAP_WINDOW - s->size < sizeof s->canary || !pcap_unread(s))))
        tear(s);
    s->move.from = s->reading = 0;
}

/* Forgets a block that was not completed, so that it is parsed again. */
static void revive_block(struct pcap_source *s)
{
    if (s->begun.at != s->at + 1)
        return;
    s->n_interfaces = s->begun.n_interfaces;
    s->sections = s->begun.sections;
    s->swapped = s->begun.swapped;
    s->carried = s->sink && s->sink->ring.positions->published != s->begun.published;
}

void pcap_revive(struct pcap_source *s)
{
    revive_block(s); /* before the window moves `at` */
    revive_window(s);
    if (s->holding)
        queue_drop(&s->q, DROP_WORKER_LOST, least(s->holding, BURST_MAX));
    s->holding = 0;
}

int pcap_sink_revive(struct pcap_sink *s)
{
    const struct pcap_positions *at = s->ring.positions;
    uint64_t published = load_acquire(&at->published), written = load_acquire(&at->written);
    if ((uint32_t)published > PCAP_ROOM || published < written ||
        (published >> 32) - (written >> 32) >= s->ring.n_chunks)
        return -1;
    s->number = (uint32_t)(published >> 32);
    s->fill = (uint32_t)published;
    s->announced = 0;
    s->begun |= published != 0;
    return 0;
}
