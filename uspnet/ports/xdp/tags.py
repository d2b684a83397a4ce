# SPDX-License-Identifier: Apache-2.0
"""VLAN tags that a NIC has taken out of frames, put back by the XDP program: a job gets frames as
they were on the wire, and its filter sees them so.

The kernel has such a tag beside the frame. A program may ask for it where the driver says so, from
Linux 6.8 on, and is bound to the device then. What is passed to the kernel's stack has to be as it
came: its tag is taken out again.

References: Linux Documentation/networking/xdp-rx-metadata.rst; net/core/xdp.c.
"""

from __future__ import annotations

from uspnet.kernel import btf, netdev
from uspnet.kernel.bpf import XDP_PASS, instruction, redirecting
from uspnet.packets.filter import ebpf
from uspnet.packets.filter.ebpf import CONTEXT, FRAME, PACKET
from uspnet.packets.filter.made import Filter

ASK = "bpf_xdp_metadata_rx_vlan_tag"
ADJUST_HEAD, PSEUDO_KFUNC = 44, 2
TAG, HEAD = 4, 16  # bytes: of a tag, and of two MAC addresses and a tag
# On the stack, below the memory of filters, which has 64 bytes; DONE: the tag is in the frame.
TPID, TCI, DONE = -72, -70, -76
LOAD_4, LOAD_2, STORE_4, STORE_2, STORE_K_4 = 0x61, 0x69, 0x63, 0x6B, 0x62
MOVE, MOVE_K, ADD_K, TO_BIG, CALL, EXIT = 0xBF, 0xB7, 0x07, 0xDC, 0x85, 0x95
IF_EQUAL_K, IF_OTHER_K, IF_UP_TO = 0x15, 0x55, 0xBD

PASS = [instruction(MOVE_K, 0, imm=XDP_PASS), instruction(EXIT)]
HAS_ROOM = [  # or it is the kernel's. r7 = the frame
    instruction(LOAD_4, PACKET, CONTEXT, 0),
    instruction(LOAD_4, 3, CONTEXT, 4),  # its end
    instruction(MOVE, 2, PACKET),
    instruction(ADD_K, 2, imm=HEAD),
    instruction(IF_UP_TO, 2, 3, len(PASS)),
    *PASS,
]

LOST = "VLAN tags that the NIC takes out of frames are lost"


def remedy(ifname: str) -> str:
    """Return what to type where they are lost."""
    return f"ethtool -K {ifname} rxvlan off; for a veth: txvlan off, at its other end"


def offered(ifindex: int) -> bool:
    """Return whether the driver of an interface tells tags."""
    return any(each.tags for each in netdev.features(ifindex).values())


def asking() -> int:
    """Return the number of the function that tells tags; 0: this kernel has none."""
    return btf.function(ASK)


def program(map_fd: int, only: Filter | None, ask: int) -> bytes:
    """Return the program that puts tags back, and redirects what `only` accepts to the socket of
    its receive queue. `ask`: see `asking`.
    """
    to_socket = [
        redirecting(map_fd, CONTEXT),
        instruction(IF_EQUAL_K, 0, off=1, imm=XDP_PASS),  # the queue has no socket
        instruction(EXIT),
        *_take_out(),
    ]
    accept, passed = b"".join(to_socket), b"".join(_take_out())
    rest = accept if only is None else ebpf.program(only, accept, passed)
    return b"".join(_put_back(ask)) + rest


def _put_back(ask: int) -> list[bytes]:
    """Write the tag that the frame had into it, if any. r6 and r1: the context."""
    write = [
        *_move_begin(-TAG),
        instruction(IF_EQUAL_K, 0, off=len(PASS)),
        *PASS,  # a driver left no room before it
        *HAS_ROOM,
        *_copy((4, 0), (8, 4), (12, 8)),
        instruction(LOAD_2, 3, FRAME, TPID),
        instruction(STORE_2, PACKET, 3, 12),
        instruction(LOAD_2, 3, FRAME, TCI),
        instruction(TO_BIG, 3, imm=16),
        instruction(STORE_2, PACKET, 3, 14),
        instruction(STORE_K_4, FRAME, off=DONE, imm=1),
    ]
    return [
        instruction(MOVE, CONTEXT, 1),
        instruction(STORE_K_4, FRAME, off=DONE),
        instruction(STORE_K_4, FRAME, off=TPID),  # and TCI
        instruction(MOVE, 2, FRAME),
        instruction(ADD_K, 2, imm=TPID),
        instruction(MOVE, 3, FRAME),
        instruction(ADD_K, 3, imm=TCI),
        instruction(CALL, src=PSEUDO_KFUNC, imm=ask),
        instruction(IF_OTHER_K, 0, off=len(write)),  # ENODATA: it had none
        *write,
        instruction(MOVE, 1, CONTEXT),
    ]


def _take_out() -> list[bytes]:
    """Pass the frame to the kernel, as it came."""
    undo = [*HAS_ROOM, *_copy((8, 12), (4, 8), (0, 4)), *_move_begin(TAG)]
    return [
        instruction(LOAD_4, 3, FRAME, DONE),
        instruction(IF_EQUAL_K, 3, off=len(undo)),
        *undo,
        *PASS,
    ]


def _move_begin(by: int) -> list[bytes]:
    """Move where the frame begins. r0 = 0, or an error: it stays."""
    return [
        instruction(MOVE, 1, CONTEXT),
        instruction(MOVE_K, 2, imm=by),
        instruction(CALL, imm=ADJUST_HEAD),
    ]


def _copy(*words: tuple[int, int]) -> list[bytes]:
    """Copy words of 4 bytes in the frame: from where, to where."""
    made = []
    for here, there in words:
        made += [instruction(LOAD_4, 3, PACKET, here), instruction(STORE_4, PACKET, 3, there)]
    return made
