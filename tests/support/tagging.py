# SPDX-License-Identifier: Apache-2.0
"""VLAN tags as VLAN interfaces and NICs have them: beside the frame (skb->vlan_tci), not in it. No
driver for VLANs is needed: an eBPF program tags what an interface sends.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct

import pytest

from uspnet.kernel import bpf
from uspnet.kernel.bpf import instruction

SCHED_CLS, TCX_EGRESS, VLAN_PUSH = 3, 47, 18
SO_MARK = 36


def _program():
    """Tags a frame by its mark, which is TPID << 16 | TCI; 0: it gets none."""
    return b"".join(
        [
            instruction(0x61, 3, 1, 8),  # r3 = its mark
            instruction(0x16, 3, off=4),  # if r3 == 0 goto the end
            instruction(0xBC, 2, 3),  # r2 = r3
            instruction(0x74, 2, imm=16),  # r2 >>= 16
            instruction(0xDC, 2, imm=16),  # r2 = htons(r2)
            instruction(0x85, imm=VLAN_PUSH),  # which takes the lower half of r3
            instruction(0xB7, 0, imm=-1),  # TCX_NEXT
            instruction(0x95),
        ]
    )


def _load():
    code = ctypes.create_string_buffer(_program())
    licence = ctypes.create_string_buffer(bpf.LICENSE)
    words = (SCHED_CLS, len(_program()) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    return bpf._bpf(bpf.PROG_LOAD, struct.pack("=IIQQ", *words))


class Tagger:
    """A raw socket on an interface of a namespace whose frames get tags beside them."""

    def __init__(self, namespace, ifname):
        self.namespace, self.socket = namespace, namespace.socket(ifname)
        with namespace.entered():
            index = socket.if_nametoindex(ifname)
        try:
            program = _load()
            try:
                words = struct.pack("=IIII", program, index, TCX_EGRESS, 0)
                with namespace.entered():
                    self.link = bpf._bpf(bpf.LINK_CREATE, words)
            finally:
                os.close(program)
        except OSError as error:
            pytest.skip(f"no eBPF program for what is sent (Linux 6.6): {error.strerror}")

    def send(self, frame, tag=b""):
        """Sends a frame. `tag`: TPID and TCI, beside it. Returns it as it is on the wire."""
        mark = int.from_bytes(tag)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", mark))
        self.socket.send(frame)
        return frame[:12] + tag + frame[12:]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.link)
