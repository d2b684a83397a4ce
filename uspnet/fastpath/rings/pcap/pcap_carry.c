// SPDX-License-Identifier: Apache-2.0
/* pcap: copies blocks and options from pcapng to pcapng, converted to our byte order. A block is
 * copied into the sink's memory first and converted there, since the file's owner may change the
 * file. */
#include "pcap_parts.h"

enum {
    OPTION_USERAPPL = 4, /* shb_userappl: replaced by our own */
    OPTION_FLAGS = 2,    /* epb_flags */
    OPTION_FCSLEN = 13,  /* if_fcslen: removed, as is the FCS */
    FCS_BITS = 15 << 5,
    SNAPLEN_ALL = PCAP_LONGEST,
};
enum { IDB_FIXED = 8, SHB_FIXED = 16, ISB_FIXED = 12 };

static void put32(uint8_t *at, uint32_t v) { memcpy(at, &v, sizeof v); }

static uint32_t look32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

static uint16_t look16(const uint8_t *at, int swapped)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return swapped ? __builtin_bswap16(v) : v;
}

/* Swaps the bytes of each word of `width` bytes; 0: text, or data without a byte order. */
static void swap_words(uint8_t *at, uint32_t n, uint32_t width)
{
    if (width == 0 || n % width)
        return;
    for (; n; n -= width, at += width) {
        for (uint32_t i = 0; i < width / 2; i++) {
            uint8_t kept = at[i];
            at[i] = at[width - 1 - i];
            at[width - 1 - i] = kept;
        }
    }
}

/* The width in bytes of the words in an option's value. */
static uint32_t width_of(uint32_t block, uint16_t code)
{
    switch (block) {
    case BLOCK_EPB: /* flags, losses, packet id, queue */
        return code == 2 || code == 6 ? 4 : code == 4 || code == 5 ? 8 : 0;
    case BLOCK_IDB: /* speeds, offset; time zone */
        return code == 8 || code == 14 || code == 16 || code == 17 ? 8 : code == 10 ? 4 : 0;
    case BLOCK_ISB: /* start and end in halves; counts */
        return code == 2 || code == 3 ? 4 : code >= 4 && code <= 8 ? 8 : 0;
    default:
        return 0;
    }
}

static int is_custom(uint16_t code)
{
    return (code & 0x7FFF) == 2988 || (code & 0x7FFF) == 2989 || (code & 0x7FFF) == 19372 ||
           (code & 0x7FFF) == 19373;
}

static int is_dropped(uint32_t block, uint16_t code)
{
    return (block == BLOCK_SHB && code == OPTION_USERAPPL) ||
           (block == BLOCK_IDB && code == OPTION_FCSLEN);
}

/* One option's value, in place. */
static void adapt(uint32_t block, uint16_t code, uint8_t *value, uint16_t size, int swapped)
{
    if (swapped)
        swap_words(value, is_custom(code) && size >= 4 ? 4 : size,
                   is_custom(code) ? 4 : width_of(block, code));
    if (block == BLOCK_EPB && code == OPTION_FLAGS && size == 4)
        put32(value, look32(value) & ~(uint32_t)FCS_BITS);
}

uint32_t pcap_options(uint32_t block, uint8_t *at, uint32_t n, int swapped)
{
    uint32_t in = 0, out = 0;
    while (in + 4 <= n) {
        uint16_t code = look16(at + in, swapped), size = look16(at + in + 2, swapped);
        if (code == 0 || pad4(size) > n - in - 4)
            break;
        if (!is_dropped(block, code)) {
            memmove(at + out, at + in, 4 + pad4(size));
            memcpy(at + out, &code, sizeof code);
            memcpy(at + out + 2, &size, sizeof size);
            adapt(block, code, at + out + 4, size, swapped);
            out += 4 + pad4(size);
        }
        in += 4 + pad4(size);
    }
    if (out == 0)
        return 0;
    put32(at + out, 0); /* opt_endofopt */
    return out + 4;
}

/* --- blocks --------------------------------------------------------------------------------- */

/* A Section Header Block with the source's options, except shb_userappl. Returns the new length. */
static uint32_t section(const struct pcap_sink *k, uint8_t *body, uint32_t length, int swapped)
{
    uint32_t n = pcap_options(BLOCK_SHB, body + SHB_FIXED, length - SHB_FIXED, swapped);
    uint8_t *at = body + SHB_FIXED + (n ? n - 4 : 0);
    const uint16_t version[2] = {1, 0};
    put32(body, ORDER_MAGIC);
    memcpy(body + 4, version, sizeof version);
    memset(body + 8, 0xFF, 8); /* section length: unspecified */
    memcpy(at, k->application, k->application_bytes);
    at += k->application_bytes;
    put32(at, 0);
    return (uint32_t)(at - body) + 4;
}

static uint32_t interface(const struct pcap_sink *k, const struct pcap_source *s, uint8_t *body,
                          uint32_t length)
{
    uint16_t link = look16(body, (int)s->swapped);
    uint32_t snaplen = look32(body + 4);
    if (s->swapped)
        snaplen = __builtin_bswap32(snaplen);
    if (s->make_ethernet && pcap_can_make(link)) {
        link = LINK_ETHERNET;
        snaplen = snaplen && snaplen < SNAPLEN_ALL ? snaplen + 14 : snaplen;
    }
    if (k->snaplen < SNAPLEN_ALL && (snaplen == 0 || k->snaplen < snaplen))
        snaplen = k->snaplen;
    put32(body, 0);
    memcpy(body, &link, sizeof link);
    put32(body + 4, snaplen);
    return IDB_FIXED +
           pcap_options(BLOCK_IDB, body + IDB_FIXED, length - IDB_FIXED, (int)s->swapped);
}

/* Name Resolution Block: records of type (2), length (2) and value, then options. */
static uint32_t names(uint8_t *body, uint32_t length)
{
    uint32_t at = 0;
    while (at + 4 <= length) {
        uint16_t type = look16(body + at, 1), size = look16(body + at + 2, 1);
        memcpy(body + at, &type, sizeof type);
        memcpy(body + at + 2, &size, sizeof size);
        at += 4;
        if (type == 0)
            break;
        if (pad4(size) > length - at)
            return 0;
        at += pad4(size);
    }
    return at + pcap_options(BLOCK_NRB, body + at, length - at, 1);
}

/* Decryption Secrets Block: type (4), length (4), secrets, options. */
static uint32_t secrets(uint8_t *body, uint32_t length)
{
    uint32_t at;
    if (length < 8)
        return 0;
    swap_words(body, 8, 4);
    if (look32(body + 4) > length - 8)
        return 0;
    at = 8 + pad4(look32(body + 4));
    return at < length ? at + pcap_options(BLOCK_DSB, body + at, length - at, 1) : length;
}

/* Converts a copied body. Returns its new length; 0: it is malformed, and omitted. */
static uint32_t convert(const struct pcap_sink *k, const struct pcap_source *s, uint32_t type,
                        uint8_t *body, uint32_t length)
{
    int swapped = (int)s->swapped;
    switch (type) {
    case BLOCK_SHB:
        return section(k, body, length, swapped);
    case BLOCK_IDB:
        return interface(k, s, body, length);
    case BLOCK_ISB:
        if (swapped)
            swap_words(body, ISB_FIXED, 4);
        return ISB_FIXED + pcap_options(type, body + ISB_FIXED, length - ISB_FIXED, swapped);
    case BLOCK_NRB:
        return swapped ? names(body, length) : length;
    case BLOCK_DSB:
        return swapped ? secrets(body, length) : length;
    case BLOCK_CUSTOM:
        if (swapped)
            swap_words(body, 4, 4); /* the enterprise number; the rest is private data */
        return length;
    default:
        return length;
    }
}

/* The length of a block type's fixed part; UINT32_MAX: the type is not copied. */
static uint32_t fixed(uint32_t type)
{
    switch (type) {
    case BLOCK_SHB:
        return SHB_FIXED;
    case BLOCK_IDB:
        return IDB_FIXED;
    case BLOCK_ISB:
        return ISB_FIXED;
    case BLOCK_NRB:
    case BLOCK_DSB:
    case BLOCK_CUSTOM:
        return 4;
    case BLOCK_JOURNAL:
        return 0;
    default:
        return UINT32_MAX;
    }
}

int pcap_carry(struct pcap_sink *k, const struct pcap_source *s, uint32_t type, const uint8_t *body,
               uint32_t length)
{
    uint32_t more = BLOCK_LEAST + 4; /* 4: the end of the options */
    uint8_t *to;
    if (type == BLOCK_SHB)
        more += k->application_bytes;
    if (length < fixed(type))
        return 1;
    if (s->holding)
        return 0; /* earlier packets must be written first */
    if (length + 4ull + more > PCAP_ROOM) {
        k->left_out++;
        if (type != BLOCK_SHB && type != BLOCK_IDB)
            return 1;
        length = fixed(type); /* without options: packets refer to it */
    }
    to = pcap_reserve(k, pad4(length) + more);
    if (!to)
        return 0;
    memcpy(to + 8, body, length);
    put32(to + 8 + length, 0); /* padding that was not counted */
    length = pad4(convert(k, s, type, to + 8, length));
    if (length == 0 && type != BLOCK_JOURNAL)
        return 1;
    put32(to, type);
    put32(to + 4, length + BLOCK_LEAST);
    put32(to + 8 + length, length + BLOCK_LEAST);
    pcap_commit(k, length + BLOCK_LEAST);
    k->begun = 1;
    return 1;
}

int pcap_begin(struct pcap_sink *k)
{
    uint8_t *to;
    if (k->begun)
        return 1;
    to = pcap_reserve(k, k->header_bytes);
    if (!to)
        return 0;
    memcpy(to, k->header, k->header_bytes);
    pcap_commit(k, k->header_bytes);
    k->begun = 1;
    return 1;
}
