/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the capture file reader know of each other.
 */
#ifndef USPNET_PCAP_PARTS_H
#define USPNET_PCAP_PARTS_H
#include "pcap.h"

/* pcap_parse.c: one record or block on. STEP_FAULT leaves `at` at the trouble, and sets why;
 * STEP_WAIT and STEP_HOLD leave it where it was, until the stream or the sink have moved. */
enum step { STEP_PACKET, STEP_FOREIGN, STEP_OTHER, STEP_END, STEP_FAULT, STEP_WAIT, STEP_HOLD };

struct found {
    const uint8_t *data;
    uint32_t length;
    uint32_t wire;  /* its length on the wire */
    uint64_t ns;    /* since 1970; STAMP_UNKNOWN */
    uint32_t front; /* bytes of `header` that go in front of the data */
    uint8_t header[14];
    struct origin origin; /* all but `length`, when the source has a sink */
};

enum step pcap_step(struct pcap_source *s, struct found *f);
void pcap_rewind(struct pcap_source *s);

/* Each is read once, whatever the file's owner does meanwhile. */
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

/* A block's length with its padding, which some programs don't count. */
static inline uint64_t padded(uint32_t length) { return ((uint64_t)length + 3) & ~3ull; }

static inline enum step pcap_bad(struct pcap_source *s, enum pcap_why why)
{
    s->why = why;
    return STEP_FAULT;
}

/* `need` bytes from `at` on are not all there: a stream may still bring them. */
static inline enum step pcap_short(struct pcap_source *s, uint64_t need)
{
    if (!s->live)
        return pcap_bad(s, PCAP_CUT);
    if (need > PCAP_WINDOW)
        return pcap_bad(s, PCAP_LENGTH);
    s->need = need;
    return STEP_WAIT;
}

/* pcap_open.c: the classic file header, or nothing of a pcapng file; STEP_OTHER when well.
 * header: does the header of a classic file stand there, in 16 bytes or more? */
enum step pcap_open(struct pcap_source *s);
int pcap_header(const uint8_t *at);

/* pcap_describe.c: a section's header, whose byte order is that of all that follows; and an
 * interface's block, which the table gets. STEP_OTHER when well. */
enum step pcap_section(struct pcap_source *s, const uint8_t *at, uint64_t left);
enum step pcap_interface(struct pcap_source *s, const uint8_t *body, uint32_t length);

/* pcap_stream.c: more of the stream, or its end. Returns 0: neither now. */
int pcap_fill(struct pcap_source *s);

/* pcap_time.c */
void pcap_resolution(struct pcap_interface *i, uint8_t value);
uint64_t pcap_time(const struct pcap_interface *i, uint64_t ticks);

/* pcap_link.c: puts an Ethernet header in place of the packet's own; 0: there is none for it. */
int pcap_make_ethernet(const struct pcap_source *s, uint32_t link_type, struct found *f);

/* pcap_carry.c: from pcapng to pcapng. carry: takes over a block without a packet, or returns 0:
 * not now. begin: writes the header for a source that has none of its own. options: makes n
 * bytes of options our own, in place; returns the bytes left, at most n + 4. */
int pcap_carry(struct pcap_sink *k, const struct pcap_source *s, uint32_t type, const uint8_t *body,
               uint32_t length);
int pcap_begin(struct pcap_sink *k);
uint32_t pcap_options(uint32_t block, uint8_t *at, uint32_t n, int swapped);

#endif
