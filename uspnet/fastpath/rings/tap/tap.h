/* SPDX-License-Identifier: Apache-2.0
 *
 * tap: the kernel's network stack through /dev/net/tun, one system call a packet.
 * Reference: Linux Documentation/networking/tuntap.rst. */
#ifndef USPNET_TAP_H
#define USPNET_TAP_H
#include "rings/offload.h"

// [python]
enum { TAP_LARGE = 65536 + 256 }; /* bytes of the largest packet that the kernel joins, and more */

struct tap_queue {
    struct queue q;
    int32_t fd;               /* of /dev/net/tun, not blocking */
    uint8_t *large;           /* rx with offloads: TAP_LARGE bytes for a packet of several frames */
    struct segments segments; /* rx with offloads: such a packet that is being segmented */
};
// [c]

/* Sets the fault for an error that is not transient. */
void tap_fault(struct queue *q, int error);

/* Whether a frame that the kernel has refused with EINVAL is too short for it, or what else. */
static inline enum drop_reason tap_refusal(uint32_t length)
{
    return length < FRAME_SHORTEST ? DROP_TOO_SHORT : DROP_REFUSED;
}

#endif
