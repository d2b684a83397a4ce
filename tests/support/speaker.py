# SPDX-License-Identifier: Apache-2.0
"""Somebody at the other end of a socket."""

import socket
import threading
from contextlib import contextmanager


@contextmanager
def speaker(sock, text, *, endless=False):
    """Somebody says this at the other end, once or until nobody listens."""

    def say():
        try:
            sock.sendall(text)
            while endless:
                sock.sendall(text)
        except OSError:
            pass

    thread = threading.Thread(target=say)
    thread.start()
    yield
    sock.shutdown(socket.SHUT_RDWR)
    thread.join()
