// SPDX-License-Identifier: Apache-2.0
/* Register accesses for Python: each call is exactly one load or store of 1, 2 or 4 bytes. */
#include "nic.h"

// [python]
uint32_t mmio_read(const volatile void *at, uint32_t bytes);
void mmio_write(volatile void *at, uint32_t value, uint32_t bytes);
// [c]

uint32_t mmio_read(const volatile void *at, uint32_t bytes)
{
    uint32_t value = bytes == 1   ? *(const volatile uint8_t *)at
                     : bytes == 2 ? *(const volatile uint16_t *)at
                                  : *(const volatile uint32_t *)at;
    __sync_synchronize(); /* the register before memory that the device has written */
    return value;
}

void mmio_write(volatile void *at, uint32_t value, uint32_t bytes)
{
    device_write_barrier();
    if (bytes == 1)
        *(volatile uint8_t *)at = (uint8_t)value;
    else if (bytes == 2)
        *(volatile uint16_t *)at = (uint16_t)value;
    else
        *(volatile uint32_t *)at = value;
}
