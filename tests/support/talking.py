# SPDX-License-Identifier: Apache-2.0
"""A stream between two hosts, which are network namespaces."""

from __future__ import annotations

import random
import socket
import threading


def talk(hosts, kind, to, within_s):
    """Sends a stream from the first host to this address of the second; each step ends in time."""
    sent = random.Random(5).randbytes(200_000)
    with hosts[1].entered(), socket.create_server((to, 0), family=kind) as server:
        port = server.getsockname()[1]
        with hosts[0].entered():
            client = socket.create_connection((to, port), timeout=within_s)
        with client, server.accept()[0] as accepted:
            accepted.settimeout(within_s)
            threading.Thread(target=client.sendall, args=(sent,)).start()
            got = b""
            while len(got) < len(sent):
                got += accepted.recv(1 << 16)
    assert got == sent
