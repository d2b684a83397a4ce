// SPDX-License-Identifier: Apache-2.0
/* Interrupts of NIC queues: asleep, a worker waits on an eventfd that the kernel signals. */
#include "nic.h"

#include <unistd.h>

/* Forgets earlier wake-ups. It does not block. */
void vector_forget(const struct queue *q)
{
    uint64_t past;
    (void)!read(q->wake_fd, &past, sizeof past);
}

/* Lets the queue's interrupt through, or holds it back, by one store. After letting it through the
 * caller looks at its ring once more. No wake-up is lost between the two: a device remembers what
 * happened while it was held back, and speaks up as soon as it may. Nor does the store have to
 * arrive before that look. What such a memory may cost is one wake-up without work. */
void vector_arm(const struct queue *q, const struct vector *v, int on)
{
    static const uint64_t one = 1;
    if (!on) {
        doorbell_store(&v->mask, v->mask_value);
        if (v->cause.mmio) /* read, so that it is cleared before the ring is looked at again */
            (void)*(volatile uint32_t *)v->cause.mmio;
        return;
    }
    vector_forget(q);
    doorbell_store(&v->unmask, v->unmask_value);
    if (v->cause.mmio)
        (void)!write(v->line_fd, &one, sizeof one);
}
