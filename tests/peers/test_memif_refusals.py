# SPDX-License-Identifier: Apache-2.0
"""What a peer says that refuses, and what the user reads then."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.support.memif import raw_memif as raw
from uspnet.ports.memif.refusals import OTHER, find

# In the words of DPDK, VPP and libmemif, old and new, and what must be in the hint.
SAID = {
    "ID not found": "set id=",
    "unmatched interface id": "set id=",
    "Secret required": "set secret=",
    "secret required": "set secret=",
    "Incorrect secret": "secret=",
    "incorrect secret": "secret=",
    "Already connected": "another id=",
    "already connected": "another id=",
    "cannot connect to slave": "role=server",
    "cannot connect to salve": "role=server",
    "mode mismatch": "mode ethernet",
    "Only ethernet mode supported": "mode ethernet",
    "Incompatible memif version": "memif",
    "incompatible version": "memif",
    "unsupported version": "memif",
    "incompatible protocol version": "memif",
    "unexpected region index": "zero-copy=off",
    "too many regions": "zero-copy=off",
    "Invalid region index": "zero-copy=off",
    "Failed to alloc memif region.": "zero-copy=off",
    "mmap: Cannot allocate memory": "zero-copy=off",
    "wrong cookie on tx ring 0": "zero-copy=off",
    "unexpected ring index": "queues=",
    "too many rings": "queues=",
    "Invalid ring index": "queues=",
    "missing ring interrupt fd": "ulimit -n",
    "Missing interrupt fd": "ulimit -n",
    "private headers not supported": "needs a private header",
    "interface deleted": "bring it up",
    "interface disabled": "bring it up",
    "Device closed": "bring it up",
    "Too many connections": "wait=",
    "User not allowed": "allow=",
}


@pytest.mark.parametrize("reason", SAID)
def test_a_refusal_comes_with_a_remedy(reason):
    assert SAID[reason] in find(reason).hint


@pytest.mark.parametrize("reason", ["", "the peer left", "what nobody has ever said"])
def test_other_reasons_have_a_hint_too(reason):
    assert OTHER in find(reason).hint


@pytest.mark.parametrize("limit", [["wait=1"], ["wait=60", "--duration", "1"]])
@pytest.mark.parametrize("reason", [b"mode mismatch", b"already connected"])
def test_the_last_reason_is_what_the_user_sees(uspnet, tmp_path, reason, limit):
    path = str(tmp_path / "m")
    end = threading.Event()

    def refuse(listener):
        listener.settimeout(0.1)
        while not end.is_set():
            with contextlib.suppress(OSError), listener.accept()[0] as sock:
                raw.say(sock, raw.message(raw.HELLO, b"peer", 0x200, 0x200, 255, 0, 0, 14))
                raw.hear(sock)
                raw.say(sock, raw.message(raw.DISCONNECT, 0, reason))

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=refuse, args=(listener,))
        thread.start()
        result = uspnet("capture", f"memif:{path},{limit[0]}", *limit[1:]).result()
        end.set()
        thread.join()
    assert (result["exit"], result["error"]) == (1, "PeerFault")
    assert reason.decode() in result["message"]
    assert SAID[reason.decode()] in result["hint"]
