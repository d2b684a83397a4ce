// SPDX-License-Identifier: Apache-2.0
/* pcap: gives back the pages of a mapped file that were read, so that a process needs no more
 * memory for a large file than for a small one. Who needs one of them again gets it again. */
#include "pcap_parts.h"

#include <sys/mman.h>

void pcap_give_back(struct pcap_source *s)
{
    uint64_t to = s->at & ~(uint64_t)(PCAP_HELD - 1);
    if (s->mapped && to > s->behind)
        madvise((uint8_t *)s->base + s->behind, to - s->behind, MADV_DONTNEED);
    s->behind = to;
}
