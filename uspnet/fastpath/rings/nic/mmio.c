// SPDX-License-Identifier: Apache-2.0
/* Registers of a mapped device, for Python: each call is exactly one access of that width. */
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
    __sync_synchronize(); /* memory that the device wrote before is read after */
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
