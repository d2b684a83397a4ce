// SPDX-License-Identifier: Apache-2.0
/* counter_byte: a byte that counts packets. */
#include "loops/template.h"

// [python]
struct counter_byte_field {
    struct field f;
    uint32_t at; /* bytes from the frame's start */
    uint8_t next;
};
void field_counter_byte(struct field *f, const struct pool *pool, struct packet *p, uint32_t n);
// [c]

void field_counter_byte(struct field *f, const struct pool *pool, struct packet *p, uint32_t n)
{
    struct counter_byte_field *c = (struct counter_byte_field *)f;
    for (uint32_t i = 0; i < n; i++)
        if (c->at < p[i].length)
            packet_data(pool, p[i])[c->at] = c->next++;
}
