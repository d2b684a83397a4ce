/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates of frames to send, and signatures: 18 bytes, which is the payload of a 60-byte UDP/IPv4
 * frame, in host byte order, since sender and receiver are the same process. Fences as in
 * fastpath.h. */
#ifndef USPNET_TEMPLATE_H
#define USPNET_TEMPLATE_H
#include "worker.h"

// [python]
/* Which checksum covers a signature. ADD: an Internet checksum that fields have changed before. */
enum check { CHECK_NONE, CHECK_SUM, CHECK_CRC, CHECK_ADD };

/* A frame to send, and the checksum in it that depends on the signature. */
struct frame_template {
    const uint8_t *frame; /* complete, without FCS */
    uint32_t length;
    uint16_t check;      /* enum check */
    uint16_t check_at;   /* offset of the checksum in the frame */
    uint32_t base;       /* SUM: of all but the signature; CRC: with a signature of zeros */
    uint16_t zero;       /* SUM, ADD: the value that is sent for a checksum of 0 */
    uint16_t turned;     /* SUM, ADD: the signature is at an odd offset: bytes are swapped */
    const uint32_t *crc; /* CRC: contribution of each byte of the signature, [18][256] */
};

/* A field that varies from packet to packet: fields/<name>.c has a struct that begins with this
 * one. `apply` writes it into n packets that nobody else holds, and may move and lengthen them
 * within their buffers; or sets the length to 0 where it can't, and a replay skips the packet. */
struct field {
    void (*apply)(struct field *f, const struct pool *pool, struct packet *p, uint32_t n);
    struct field *next; /* or NULL */
};
// [c]

/* Applies fields to n packets, which had the lengths `was`. Returns how many have none now. */
static inline uint32_t fields_apply(struct field *fields, const struct pool *pool, struct packet *p,
                                    uint32_t n, uint16_t *was)
{
    uint32_t unmade = 0;
    for (uint32_t i = 0; i < n; i++)
        was[i] = p[i].length;
    for (struct field *f = fields; f; f = f->next)
        f->apply(f, pool, p, n);
    for (uint32_t i = 0; i < n; i++)
        unmade += !p[i].length;
    return unmade;
}

enum { SIGNATURE = 0x75, SIGNATURE_BYTES = 18 };

struct signature {
    uint8_t magic, stream;
    uint64_t number; /* in its stream */
    uint64_t time;   /* CLOCK_MONOTONIC in ns when it was due or, unpaced, made; XOR the secret */
} __attribute__((packed));

/* fields/program.c: which of its values the packet of a turn gets by a program's index. */
uint64_t program_choice(const struct field *f, uint32_t index, uint64_t turn);

_Static_assert(sizeof(struct signature) == SIGNATURE_BYTES, "what Python leaves room for");

#endif
