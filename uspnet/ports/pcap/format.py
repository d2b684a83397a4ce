# SPDX-License-Identifier: Apache-2.0
"""What stands around the packets of a capture file: headers, statistics, errors.

Block and option names are those of draft-ietf-opsawg-pcapng. All numbers are in host byte order.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import struct
from collections.abc import Mapping, Sequence

from uspnet import __version__
from uspnet.errors import DeviceFault, NoDevice, NoMemory, NotPermitted, Usage, UspnetError

LINK_ETHERNET = 1
NANOSECONDS = b"\x09"  # if_tsresol: 10^-9
SECTION, INTERFACE, STATISTICS = 0x0A0D0D0A, 1, 5
SHB_HARDWARE, SHB_OS, SHB_USERAPPL = 2, 3, 4
IF_NAME, IF_DESCRIPTION, IF_IPV4ADDR, IF_IPV6ADDR, IF_MACADDR = 2, 3, 4, 5, 6
IF_SPEED, IF_TSRESOL, IF_FILTER, IF_OS, IF_TSOFFSET, IF_HARDWARE = 8, 9, 11, 12, 14, 15
COMMENT = 1  # of any block
TEXT_MAX = 65_535  # bytes of an option
ISB_STARTTIME, ISB_ENDTIME, ISB_IFRECV, ISB_IFDROP = 2, 3, 4, 5
ISB_FILTERACCEPT, ISB_OSDROP, ISB_USRDELIV = 6, 7, 8
PROGRAM = f"uspnet {__version__}".encode()
MAGIC = {"pcap": 0xA1B2C3D4, "nsecpcap": 0xA1B23C4D}


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _block(kind: int, body: bytes, options: list[tuple[int, bytes]]) -> bytes:
    body += b"".join(_option(code, value) for code, value in options) + _option(0, b"")
    length = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + length + body + length


def header(kind: str, snaplen: int, interfaces: bytes, comments: Sequence[str] = ()) -> bytes:
    """Return a file's first headers. `interfaces`: the description blocks, of a pcapng file."""
    if kind in MAGIC:
        return struct.pack("=IHHiIII", MAGIC[kind], 2, 4, 0, 0, snaplen, LINK_ETHERNET)
    system = os.uname()
    options = [
        (SHB_HARDWARE, hardware().encode()),
        (SHB_OS, f"{system.sysname} {system.release}".encode()),
        *_program(comments),
    ]
    section = struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1)  # -1: the length isn't known yet
    return _block(SECTION, section, options) + interfaces


def interface(snaplen: int, options: list[tuple[int, bytes]]) -> bytes:
    """Return the Interface Description Block of Ethernet, with times in ns."""
    link = struct.pack("=HHI", LINK_ETHERNET, 0, snaplen)
    return _block(INTERFACE, link, [*options, (IF_TSRESOL, NANOSECONDS)])


@functools.cache
def hardware() -> str:
    """Return the machine's processor."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({os.uname().machine})"
    return os.uname().machine


def application(comments: Sequence[str] = ()) -> bytes:
    """Return the section header's options that name the program, and have our comments."""
    return b"".join(_option(code, value) for code, value in _program(comments))


def _program(comments: Sequence[str]) -> list[tuple[int, bytes]]:
    said = [(COMMENT, text.encode(errors="replace")[:TEXT_MAX]) for text in comments]
    return [(SHB_USERAPPL, PROGRAM), *said]


def statistics(
    interface: int, start_ns: int, end_ns: int, counts: Mapping[int, int], comment: str = ""
) -> bytes:
    """Return an Interface Statistics Block. `counts`: packets from the start to the end, by the
    options' codes.
    """

    def halves(ns: int) -> bytes:
        return struct.pack("=II", ns >> 32, ns & 0xFFFFFFFF)

    options = [
        *([(COMMENT, comment.encode(errors="replace")[:TEXT_MAX])] if comment else []),
        (ISB_STARTTIME, halves(start_ns)),
        (ISB_ENDTIME, halves(end_ns)),
        *((code, struct.pack("=Q", number % (1 << 64))) for code, number in counts.items()),
    ]
    return _block(STATISTICS, struct.pack("=I", interface) + halves(end_ns), options)


def file_error(path: str, error: OSError) -> UspnetError:
    """Return the error for a failed system call on a file, with a hint."""
    text = f"{path}: {os.strerror(error.errno or 0)}"
    match error.errno:
        case errno.ENOENT:
            return NoDevice(text, "check the path; directories are not made")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return NotPermitted(text, "choose a place that you may use, or change its permissions")
        case errno.EISDIR:
            return Usage(text, "name a file in it")
        case errno.ENXIO:
            return NoDevice(f"{path} is a socket, or a device that is not there", "name a file")
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return DeviceFault(text, "free some space, or choose another place for the file")
        case errno.EMFILE | errno.ENFILE:
            return NoMemory(text, "raise the limit: ulimit -n")
        case _:
            return DeviceFault(text, "choose another place for the file")
