# SPDX-License-Identifier: Apache-2.0
"""The C fast path, as cffi shows it: `ffi` for memory, `lib` for functions and constants."""

from uspnet.fastpath._fastpath import ffi, lib

__all__ = ["ffi", "lib"]
