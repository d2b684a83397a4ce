// SPDX-License-Identifier: Apache-2.0
/* pcap: looks at each packet of a file, for programs that show or count them. */
#include "pcap_look.h"

#include "pcap_parts.h"

/* The interface of the packet at an offset that was just parsed. */
static uint32_t interface_of(const struct pcap_source *s, uint64_t at)
{
    int swapped = (int)s->swapped;
    uint32_t type, id = 0;
    if (s->format != PCAP_NG)
        return 0;
    type = field32(swapped, s->base + at);
    if (type == BLOCK_EPB)
        id = field32(swapped, s->base + at + 8);
    else if (type == BLOCK_PACKET)
        id = field16(swapped, s->base + at + 8);
    return id < s->n_interfaces ? id : 0; /* the file may be changed meanwhile */
}

/* Does the filter for its link type accept the packet? -1: there is none. */
static int accepts(struct pcap_look *l, uint32_t link_type, const struct found *f)
{
    if (!l->filtered)
        return 1;
    for (uint32_t i = 0; i < l->n_links && i < LOOK_LINKS; i++)
        if (l->links[i] == link_type)
            return filter_accepts(l->filters[i], f->data, f->length, f->wire);
    l->link_type = link_type;
    return -1;
}

static int has_room(struct pcap_look *l, const struct found *f)
{
    if (l->flows && !pcap_flows_ready(l->flows))
        return 0;
    for (uint32_t i = 0; i < l->n_slices; i++)
        if (!pcap_flows_ready(&l->slices[i].flows))
            return 0;
    if (l->columns && l->columns->n == COLUMNS_ROOM)
        return 0;
    return !l->bursts || f->ns == STAMP_UNKNOWN || pcap_bursts_ready(l->bursts, f->ns);
}

static void count(struct pcap_look *l, uint64_t at, uint32_t link_type, uint32_t interface,
                  const struct found *f)
{
    struct pcap_source *s = l->source;
    if (l->tally)
        pcap_tally(l->tally, f, interface);
    if (l->flows)
        pcap_flows_add(l->flows, s, link_type, f);
    if (l->bursts && f->ns != STAMP_UNKNOWN)
        pcap_bursts_add(l->bursts, f->ns, f->wire, s->number);
    if (l->columns)
        pcap_columns_add(l->columns, s, at, link_type, interface, f);
    for (uint32_t i = 0; i < l->n_slices; i++) {
        struct pcap_slice *slice = &l->slices[i];
        if (s->number < slice->first || s->number > slice->last)
            continue;
        slice->bytes += f->wire;
        pcap_flows_add(&slice->flows, s, link_type, f);
    }
}

/* Handles the packet that began at an offset. Returns how many were accepted: 0 or 1. */
static uint32_t look_at(struct pcap_look *l, uint64_t at, const struct found *f,
                        struct pcap_seen *seen)
{
    struct pcap_source *s = l->source;
    uint32_t id = interface_of(s, at), link_type = s->interfaces[id].link_type;
    int accepted = accepts(l, link_type, f);
    if (accepted <= 0) {
        s->at = accepted < 0 ? at : s->at;
        l->halt = accepted < 0 ? LOOK_LINK : LOOK_STEPS;
        s->number += accepted == 0;
        return 0;
    }
    if (!has_room(l, f)) {
        s->at = at;
        l->halt = LOOK_ROOM;
        return 0;
    }
    s->number++;
    l->left--;
    count(l, at, link_type, l->interfaces + id, f);
    if (seen)
        *seen = (struct pcap_seen){
            .data = f->data,
            .length = f->length,
            .wire = f->wire,
            .ns = f->ns,
            .number = s->number,
            .interface = l->interfaces + id,
            .link_type = link_type,
        };
    return 1;
}

/* Notes a block without a packet, or a classic file's header, that began at an offset. */
static void pass_block(struct pcap_look *l, uint64_t at, uint32_t interfaces)
{
    struct pcap_source *s = l->source;
    int swapped = (int)s->swapped;
    l->block = (struct pcap_block){.at = s->base + at,
                                   .bytes = (uint32_t)(s->at - at),
                                   .swapped = s->swapped};
    if (s->at == at)
        return; /* the kind of file is known now, and nothing else */
    if (s->format == PCAP_NG)
        l->block.type = field32(swapped, l->block.at);
    if (l->block.type == BLOCK_SHB) {
        l->interfaces += l->section++ ? interfaces : 0;
    }
    if (l->blocks)
        l->halt = LOOK_BLOCK;
}

uint32_t pcap_look(struct pcap_look *l, struct pcap_seen *seen, uint32_t n, uint32_t steps)
{
    struct pcap_source *s = l->source;
    uint32_t got = 0;
    l->halt = LOOK_STEPS;
    while (got < n && steps-- && l->halt == LOOK_STEPS) {
        uint64_t at = s->at;
        uint32_t interfaces = s->n_interfaces;
        struct found f;
        enum step step = STEP_END;
        f.origin.kept = 0;
        if (l->left)
            step = pcap_step(s, &f);
        if (step == STEP_PACKET || step == STEP_FOREIGN)
            got += look_at(l, at, &f, seen ? seen + got : NULL);
        else if (step == STEP_OTHER)
            pass_block(l, at, interfaces);
        else if (step == STEP_END)
            l->halt = LOOK_END;
        else if (step == STEP_FAULT)
            l->halt = LOOK_FAULT;
        else if (got && seen) /* what was seen is in the window that is to be filled */
            break;
        else if (!pcap_fill(s))
            l->halt = LOOK_WAIT;
        if (holds_pages(s))
            pcap_give_back(s);
    }
    if (load_acquire(&s->q.fault) == FAULT_MEMORY) { /* zeros were read instead */
        l->halt = LOOK_FAULT;
        return 0;
    }
    return got;
}
