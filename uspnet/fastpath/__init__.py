# SPDX-License-Identifier: Apache-2.0
"""The C fast path, as cffi shows it: `ffi` for memory, `lib` for functions and constants.

`c` has the types of C's structs, for annotations only: `c.VirtqQueue` is `struct virtq_queue`, a
pointer to one, or an array of them. They exist in the stub that tools/stubs.py makes, not at run
time.
"""

from uspnet.fastpath import _fastpath as c
from uspnet.fastpath._fastpath import ffi, lib

__all__ = ["c", "ffi", "lib"]
