// SPDX-License-Identifier: Apache-2.0
/* pcap: parses a file before the job starts, for its longest packet and whether any is usable. */
#include "pcap_parts.h"

uint32_t pcap_survey(struct pcap_source *s, uint32_t n)
{
    struct found f;
    uint32_t length;
    while (n--) {
        enum step step = pcap_step(s, &f);
        if (holds_pages(s))
            pcap_give_back(s);
        if (step == STEP_PACKET || step == STEP_FOREIGN) {
            s->number++;
            s->foreign += step == STEP_FOREIGN;
        }
        if (step == STEP_PACKET) {
            s->usable = 1;
            length = found_length(s, &f);
            length = length > UINT16_MAX ? f.front + f.length : length; /* can't be padded */
            s->longest = length > s->longest ? length : s->longest;
        } else if (step == STEP_END || step == STEP_FAULT) {
            if (step == STEP_FAULT && s->number == 0)
                return 0;
            s->why = PCAP_WELL; /* deliver the packets before it first; the fault will recur */
            pcap_rewind(s);
            s->pass = 0;
            return 0;
        }
    }
    return 1;
}
