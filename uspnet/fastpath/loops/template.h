/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames to send, and the signature of a numbered one: 18 bytes, what a 60-byte UDP/IPv4 frame has
 * room for. Host byte order: sender and receiver are the same process.
 * Above the "[c]" fence as in fastpath.h: what Python sees, too. */
#ifndef USPNET_TEMPLATE_H
#define USPNET_TEMPLATE_H
#include "worker.h"

// [python]
/* Which checksum covers a signature, and how it follows. */
enum check { CHECK_NONE, CHECK_SUM, CHECK_CRC };

/* A frame to be sent, and the one checksum in it that a signature changes. */
struct frame_template {
    const uint8_t *frame; /* complete, without FCS */
    uint32_t length;
    uint16_t check;      /* enum check */
    uint16_t check_at;   /* offset of the checksum in the frame */
    uint32_t base;       /* SUM: the sum of all it covers but the signature; CRC: under zeros */
    uint16_t zero;       /* SUM: what stands for a checksum of 0 */
    uint16_t turned;     /* SUM: the signature and `base` have their bytes swapped */
    const uint32_t *crc; /* CRC: what each byte of the signature changes, [18][256] */
};

/* Something that differs from packet to packet: fields/<name>.c has a struct of its own that begins
 * with this one. `apply` writes it into n packets, made of their templates; nothing else has. */
struct field {
    void (*apply)(struct field *f, const struct pool *pool, const struct packet *p, uint32_t n);
    struct field *next; /* or NULL */
};
// [c]

enum { SIGNATURE = 0x75, SIGNATURE_BYTES = 18 };

struct signature {
    uint8_t magic, stream;
    uint64_t number; /* in its stream */
    uint64_t time;   /* CLOCK_MONOTONIC in ns when the burst was sent, exclusive or the secret */
} __attribute__((packed));

_Static_assert(sizeof(struct signature) == SIGNATURE_BYTES, "what Python leaves room for");

#endif
