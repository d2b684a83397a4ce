// SPDX-License-Identifier: Apache-2.0
/* pcap: a file that comes through a pipe, as a window in private memory. */
#include "pcap_parts.h"

#include <errno.h>
#include <unistd.h>

enum { FILL = 256 << 10, CHEAP = 4096 }; /* bytes per read; bytes that may always be moved */

/* Moves the rest to the start of the window, if it is short or there is no room behind it. */
static void make_room(struct pcap_source *s)
{
    uint64_t left = s->size - s->at, wanted = s->need > FILL ? s->need : FILL;
    if (s->at == 0 || (left > CHEAP && s->at + wanted <= PCAP_WINDOW))
        return;
    memmove((uint8_t *)s->base, s->base + s->at, left);
    s->passed += s->at;
    s->at = 0;
    s->size = left;
}

int pcap_fill(struct pcap_source *s)
{
    uint64_t room;
    ssize_t got;
    make_room(s);
    room = PCAP_WINDOW - s->size;
    got = read(s->stream_fd, (uint8_t *)s->base + s->size, room < FILL ? room : FILL);
    if (got > 0) {
        s->size += (uint64_t)got;
        return 1;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    s->live = 0;
    return 1;
}
