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
    s->move = (struct pcap_move){0, left, s->passed + s->at};
    keep_order();
    s->move.from = s->at;
    pcap_move(s);
}

void pcap_move(struct pcap_source *s)
{
    keep_order();
    memmove((uint8_t *)s->base, s->base + s->move.from, s->move.bytes);
    keep_order();
    s->passed = s->move.passed;
    s->at = 0;
    s->size = s->move.bytes;
    keep_order();
    s->move.from = 0;
}

/* Is there still what pcap_fill() has put behind the contents? */
int pcap_unread(const struct pcap_source *s)
{
    return !memcmp(s->base + s->size, &s->canary, sizeof s->canary);
}

int pcap_fill(struct pcap_source *s)
{
    uint64_t room;
    ssize_t got;
    make_room(s);
    room = PCAP_WINDOW - s->size;
    s->canary = (s->canary ^ ticks()) * 0x9e3779b97f4a7c15ull; /* not what the stream has there */
    if (room >= sizeof s->canary)
        memcpy((uint8_t *)s->base + s->size, &s->canary, sizeof s->canary);
    keep_order();
    s->reading = 1;
    got = read(s->stream_fd, (uint8_t *)s->base + s->size, room < FILL ? room : FILL);
    if (got > 0)
        s->size += (uint64_t)got;
    keep_order();
    s->reading = 0;
    if (got > 0)
        return 1;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    s->live = 0;
    return 1;
}
