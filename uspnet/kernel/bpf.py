# SPDX-License-Identifier: Apache-2.0
"""The kernel's eBPF by bpf(2): a map of AF_XDP sockets, the XDP program that steers frames to them,
and the link that attaches it. All of it ends with its descriptors, however the process ends.

Reference: Linux include/uapi/linux/bpf.h; Documentation/bpf/map_xskmap.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from uspnet.sandbox import calls

MAP_CREATE, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, PROG_LOAD, LINK_CREATE = 0, 2, 3, 5, 28
MAP_TYPE_XSKMAP = 17
PROG_TYPE_XDP = 6
ATTACH_XDP = 37
FLAG_HAS_FRAGS, FLAG_DEVICE_BOUND = 1 << 5, 1 << 6
MODES = {"generic": 1 << 1, "native": 1 << 2}  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
XDP_PASS = 2
REDIRECT_MAP = 51  # bpf_redirect_map()
PSEUDO_MAP_FD = 1
LICENSE = b"Dual BSD/GPL\0"
LOG_BYTES = 1 << 16
ATTR_BYTES = 128  # of union bpf_attr, as far as any of these commands reads it

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    """Do bpf(2). Raises OSError."""
    attr = ctypes.create_string_buffer(attributes.ljust(ATTR_BYTES, b"\0"), ATTR_BYTES)
    number = calls.number("bpf", platform.machine())
    found = int(_libc.syscall(number, command, ctypes.byref(attr), ATTR_BYTES))
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def instruction(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """Return one instruction (struct bpf_insn)."""
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


def redirecting(map_fd: int, context: int) -> bytes:
    """Return the instructions that redirect a frame to the socket of its receive queue. r0 is what
    is to become of it then: XDP_PASS where there is none. `context`: the register that has it.
    """
    return b"".join(
        [
            instruction(0x61, 2, context, 16),  # r2 = its rx_queue_index
            instruction(0x18, 1, PSEUDO_MAP_FD, 0, map_fd),  # r1 = the map
            instruction(0),
            instruction(0xB7, 3, imm=XDP_PASS),  # r3: what to do without a socket
            instruction(0x85, imm=REDIRECT_MAP),
        ]
    )


def steering(map_fd: int, context: int = 1) -> bytes:
    """Return the program that redirects a frame to the socket of its receive queue, and passes it
    to the kernel's stack where there is none. `context`: the register that has it.
    """
    return redirecting(map_fd, context) + instruction(0x95)


def create_socket_map(entries: int) -> int:
    """Return the descriptor of a new map of AF_XDP sockets, by queue. Raises OSError."""
    return _bpf(MAP_CREATE, struct.pack("=5I", MAP_TYPE_XSKMAP, 4, 4, entries, 0))


def load(program: bytes, *, frags: bool, device: int = 0) -> int:
    """Return the descriptor of an XDP program. `frags`: it handles frames in several pieces.
    `device`: the index of the only interface that it is for, of which it may ask. Raises OSError.
    """
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(LICENSE)
    # prog_type insn_cnt insns license log_level log_size log_buf kern_version prog_flags
    # prog_name[16] prog_ifindex expected_attach_type
    words = (PROG_TYPE_XDP, len(program) // 8, _address(code), _address(licence))
    flags = FLAG_HAS_FRAGS * frags | FLAG_DEVICE_BOUND * bool(device)
    attributes = struct.pack("=IIQQ", *words)
    attributes += struct.pack("=IIQII16sII", 0, 0, 0, 0, flags, b"uspnet", device, ATTACH_XDP)
    return _bpf(PROG_LOAD, attributes)


def attach(program: int, ifindex: int, mode: str) -> int:
    """Return the descriptor of a link: the program is attached until that is closed. `mode`:
    "native" or "generic". Raises OSError.
    """
    return _bpf(LINK_CREATE, struct.pack("=IIII", program, ifindex, ATTACH_XDP, MODES[mode]))


def set_socket(map_fd: int, queue: int, fd: int) -> None:
    """Steer a queue's frames to a socket. Raises OSError."""
    _element(MAP_UPDATE_ELEM, map_fd, queue, fd)


def clear_socket(map_fd: int, queue: int) -> None:
    """Pass a queue's frames to the kernel's stack. Raises OSError."""
    try:
        _element(MAP_DELETE_ELEM, map_fd, queue)
    except OSError as error:
        if error.errno != errno.ENOENT:  # it went with its interface
            raise


def _element(command: int, map_fd: int, key: int, value: int | None = None) -> None:
    memory = ctypes.create_string_buffer(struct.pack("=II", key, value or 0), 8)
    at = _address(memory)
    _bpf(command, struct.pack("=IIQQQ", map_fd, 0, at, 0 if value is None else at + 4, 0))
