// SPDX-License-Identifier: Apache-2.0
/* Interrupts of receive queues. A sleeping worker polls the eventfd that the kernel signals. */
#include "nic.h"

#include <unistd.h>

/* Clears the eventfd. Does not block. */
void vector_forget(const struct queue *q)
{
    uint64_t past;
    (void)!read(q->wake_fd, &past, sizeof past);
}

/* Unmasks or masks the queue's interrupt with one store. After unmasking, the caller checks the
 * ring again. No wake-up is lost: the device latches causes while masked and raises on unmask,
 * so the unmask may stay posted. Worst case: one spurious wake-up. */
void vector_arm(const struct queue *q, const struct vector *v, int on)
{
    static const uint64_t one = 1;
    if (!on) {
        doorbell_store(&v->mask, v->mask_value);
        if (v->cause.mmio) /* deassert INTx before the ring is checked again */
            (void)*(volatile uint32_t *)v->cause.mmio;
        return;
    }
    vector_forget(q);
    doorbell_store(&v->unmask, v->unmask_value);
    if (v->cause.mmio)
        (void)!write(v->line_fd, &one, sizeof one);
}
