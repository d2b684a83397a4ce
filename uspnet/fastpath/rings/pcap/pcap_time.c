// SPDX-License-Identifier: Apache-2.0
/* pcap: time stamps of pcapng: units of any power of ten or two, and a signed offset. */
#include "pcap_parts.h"

enum { NS = 1000000000 };

static uint64_t power_of_ten(uint32_t n)
{
    uint64_t value = 1;
    while (n--)
        value *= 10;
    return value;
}

/* if_tsresol: a power of ten, or of two with the top bit set. */
void pcap_resolution(struct pcap_interface *i, uint8_t value)
{
    uint32_t power = value & 127;
    i->times = i->divisor = 1;
    i->shift = 0;
    if (value & 128) {
        i->times = NS;
        i->shift = power;
    } else if (power <= 9) {
        i->times = power_of_ten(9 - power);
    } else if (power <= 9 + 19) {
        i->divisor = power_of_ten(power - 9);
    } else { /* 2^64 of such units are less than 1 ns */
        i->times = 0;
    }
}

uint64_t pcap_time(const struct pcap_interface *i, uint64_t ticks)
{
    unsigned __int128 part = (unsigned __int128)ticks * i->times;
    __int128 ns;
    if (i->divisor != 1)
        part /= i->divisor;
    ns = (__int128)(part >> i->shift) + (__int128)i->offset * NS;
    return ns < 0 || ns >= STAMP_UNKNOWN ? STAMP_UNKNOWN : (uint64_t)ns;
}
