/* SPDX-License-Identifier: Apache-2.0
 *
 * Interfaces between the files of the capture file reader.

 */
#ifndef USPNET_PCAP_PARTS_H
#define USPNET_PCAP_PARTS_H
#include "pcap.h"

/* pcap_parse.c: parses one record or block. STEP_FAULT leaves `at` at it and sets `why`.
 * STEP_WAIT (more of the stream is needed) and STEP_HOLD (the sink is full) leave `at`
 * unchanged. */
enum step { STEP_PACKET, STEP_FOREIGN, STEP_OTHER, STEP_END, STEP_FAULT, STEP_WAIT, STEP_HOLD };

struct found {
    const uint8_t *data;
    uint32_t length;
    uint32_t wire;  /* length on the wire */
    uint64_t ns;    /* since 1970; STAMP_UNKNOWN */
    uint32_t front; /* bytes of `header` to put in front of the data */
    uint8_t header[14];
    struct origin origin; /* all but `length`, when the source has a sink */
};

static inline int is_truncated(const struct found *f) { return f->wire > f->length; }

/* The length that the packet is delivered with: truncated ones may be padded. */
static inline uint32_t found_length(const struct pcap_source *s, const struct found *f)
{
    if (likely(!is_truncated(f)) || s->when_truncated != PCAP_PAD || !f->length)
        return f->front + f->length;
    return f->front + least(f->wire, UINT32_MAX - f->front);
}

enum step pcap_step(struct pcap_source *s, struct found *f);
void pcap_rewind(struct pcap_source *s); /* pcap_read.c */
/* pcap_plain.c. take_plain: of a file that is_plain, copies up to n packets of at most `room` bytes
 * into these buffers, up to the first one that pcap_step() has to look at. Returns how many. */
int pcap_is_plain(const struct pcap_source *s);
uint32_t pcap_take_plain(struct pcap_source *s, const uint32_t *index, struct packet *packets,
                         uint32_t n, uint32_t room, uint64_t *bytes);
/* pcap_pages.c: call it when more than PCAP_HELD bytes before `at` were read. */
void pcap_give_back(struct pcap_source *s);
static inline int holds_pages(const struct pcap_source *s) { return s->at - s->behind > PCAP_HELD; }
/* pcap_revive.c: notes what is needed if the process ends before `at` moves behind this block. */
void pcap_note_begin(struct pcap_source *s);

/* Volatile loads: each field is read once, since the file's owner may change it. */
typedef uint16_t __attribute__((may_alias, aligned(1))) loose16;
typedef uint32_t __attribute__((may_alias, aligned(1))) loose32;
typedef uint64_t __attribute__((may_alias, aligned(1))) loose64;

static inline uint16_t field16(int swapped, const uint8_t *at)
{
    uint16_t v = *(const volatile loose16 *)at;
    return swapped ? __builtin_bswap16(v) : v;
}

static inline uint32_t field32(int swapped, const uint8_t *at)
{
    uint32_t v = *(const volatile loose32 *)at;
    return swapped ? __builtin_bswap32(v) : v;
}

static inline uint64_t field64(int swapped, const uint8_t *at)
{
    uint64_t v = *(const volatile loose64 *)at;
    return swapped ? __builtin_bswap64(v) : v;
}

/* A block's length with padding, which some programs don't include. */
static inline uint64_t padded(uint32_t length) { return ((uint64_t)length + 3) & ~3ull; }

static inline enum step pcap_bad(struct pcap_source *s, enum pcap_why why)
{
    s->why = why;
    return STEP_FAULT;
}

/* Fewer than `need` bytes follow `at`: waits for a stream, else the file is truncated. */
static inline enum step pcap_short(struct pcap_source *s, uint64_t need)
{
    if (!s->live)
        return pcap_bad(s, PCAP_CUT);
    if (need > PCAP_WINDOW)
        return pcap_bad(s, PCAP_LENGTH);
    s->need = need;
    return STEP_WAIT;
}

/* pcap_open.c. open: parses a classic file's header, or recognizes pcapng; STEP_OTHER: success.
 * header: are these 16 bytes or more the header of a classic file? */
enum step pcap_open(struct pcap_source *s);
int pcap_header(const uint8_t *at);

/* pcap_describe.c: parses a Section Header Block, which sets the byte order, and an Interface
 * Description Block, which is added to the table. STEP_OTHER: success. */
enum step pcap_section(struct pcap_source *s, const uint8_t *at, uint64_t left);
enum step pcap_interface(struct pcap_source *s, const uint8_t *body, uint32_t length);

/* pcap_stream.c: reads more of the stream, or its end. Returns 0: nothing yet. move: completes
 * `move`. unread: 0: a read() that was interrupted took something out of the stream. */
int pcap_fill(struct pcap_source *s);
void pcap_move(struct pcap_source *s);
int pcap_unread(const struct pcap_source *s);

/* pcap_time.c */
void pcap_resolution(struct pcap_interface *i, uint8_t value);
uint64_t pcap_time(const struct pcap_interface *i, uint64_t ticks);

/* pcap_link.c: replaces the packet's link header by an Ethernet header; 0: it has no EtherType. */
int pcap_make_ethernet(const struct pcap_source *s, uint32_t link_type, struct found *f);

/* pcap_carry.c, from pcapng to pcapng. carry: copies a block without a packet; 0: no room now.
 * begin: writes the file header for a source that has none; 0: no room now. options: converts n
 * bytes of options in place; returns their new length, at most n + 4. */
int pcap_carry(struct pcap_sink *k, const struct pcap_source *s, uint32_t type, const uint8_t *body,
               uint32_t length);
int pcap_begin(struct pcap_sink *k);
uint32_t pcap_options(uint32_t block, uint8_t *at, uint32_t n, int swapped);

/* The bytes of a packet up to the end of its transport header, or of what it has instead: of what
 * is neither IP nor ARP, the Ethernet header with its tags. */
uint32_t pcap_headers(const uint8_t *frame, uint32_t length);

#endif
