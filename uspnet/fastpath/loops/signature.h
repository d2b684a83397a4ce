/* SPDX-License-Identifier: Apache-2.0
 *
 * The signature of a numbered packet: 18 bytes, what a 60-byte UDP/IPv4 frame has room for. Host
 * byte order: sender and receiver are the same process. */
#ifndef USPNET_SIGNATURE_H
#define USPNET_SIGNATURE_H
#include "worker.h"

enum { SIGNATURE = 0x75, SIGNATURE_BYTES = 18 };

struct signature {
    uint8_t magic, stream;
    uint64_t number; /* in its stream */
    uint64_t time;   /* CLOCK_MONOTONIC in ns when the burst was sent, exclusive or the secret */
} __attribute__((packed));

_Static_assert(sizeof(struct signature) == SIGNATURE_BYTES, "what Python leaves room for");

#endif
