/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers that are changed: VLAN tags, which are put into frames and taken out of them, and
 * checksums. */
#ifndef USPNET_HEADERS_H
#define USPNET_HEADERS_H
#include "fastpath.h"

enum { TYPE_AT = 12, TAG_BYTES = 4 };

static inline uint16_t be16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static inline int is_tag(uint32_t type)
{
    return type == 0x8100 || type == 0x88A8 || type == 0x9100;
}

/* Does the frame have a tag, and a type behind it? */
static inline int is_tagged(const uint8_t *frame, uint32_t length)
{
    return length >= TYPE_AT + TAG_BYTES + 2 && is_tag(be16(frame + TYPE_AT));
}

/* Makes room for a tag behind the MAC addresses, before the frame or behind it. Returns 0: there
 * is none. */
static inline int insert_tag(const struct pool *pool, struct packet *p)
{
    uint8_t *at = packet_data(pool, *p);
    if (p->length > UINT16_MAX - TAG_BYTES)
        return 0;
    if (p->offset >= TAG_BYTES) {
        memmove(at - TAG_BYTES, at, TYPE_AT);
        p->offset -= TAG_BYTES;
    } else if ((uint32_t)p->offset + p->length + TAG_BYTES <= pool->size) {
        memmove(at + TYPE_AT + TAG_BYTES, at + TYPE_AT, p->length - TYPE_AT);
    } else {
        return 0;
    }
    p->length += TAG_BYTES;
    at = packet_data(pool, *p) + TYPE_AT;
    memcpy(at, "\x81\0\0", TAG_BYTES);
    return 1;
}

static inline void remove_tag(const struct pool *pool, struct packet *p)
{
    uint8_t *at = packet_data(pool, *p);
    memmove(at + TAG_BYTES, at, TYPE_AT);
    p->offset += TAG_BYTES;
    p->length -= TAG_BYTES;
}

/* A sum of 16-bit words is a checksum in either byte order (RFC 1071). */
static inline uint64_t halves(uint32_t word) { return (word & UINT16_MAX) + (word >> 16); }

/* Adds to the sum behind a checksum. `zero`: what is sent for 0. */
static inline void check_correct(uint8_t *at, uint64_t sum, uint16_t zero)
{
    uint16_t check;
    memcpy(&check, at, sizeof check);
    sum += (uint16_t)~check;
    while (sum >> 16)
        sum = (sum & UINT16_MAX) + (sum >> 16);
    check = (uint16_t)~sum;
    check = check ? check : zero;
    memcpy(at, &check, sizeof check);
}

#endif
