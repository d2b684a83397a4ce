/* SPDX-License-Identifier: Apache-2.0
 *
 * Machine code that was made at run time: where it begins. Structs in shared memory may hold such
 * an address, and others may write anything there; so an address is called only if this process
 * itself has noted it, in memory that it shares with nobody. */
#ifndef USPNET_CODE_H
#define USPNET_CODE_H
#include "cpu.h"

// [python]
/* Notes that code begins here, in memory that is executable, and that nobody can write. Returns -1
 * when there is no room for it: thousands are noted. */
int code_add(const uint8_t *start);
/* Forgets it, before the memory is unmapped. Nothing runs it. */
void code_remove(const uint8_t *start);
/* Is it noted? */
int code_known(const uint8_t *start);
// [c]

#endif
