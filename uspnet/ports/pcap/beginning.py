# SPDX-License-Identifier: Apache-2.0
"""How a capture file begins: empty, with a header; or it goes on, behind what the version before
has written into it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.ports.pcap.format import file_error
from uspnet.ports.pcap.packing import packed

if TYPE_CHECKING:
    from uspnet.ports.pcap.sink import Sink


def begin(sink: Sink, head: bytes) -> None:
    """Write the header of an open sink: that of another section, where a pcapng file goes on; none
    where a pcap file does. Raises UspnetError; what went on before is as it was, then.
    """
    if sink.goes_on and sink.options.format != "pcapng":
        head = b""
    at = 0
    try:
        if sink.regular:
            at = os.lseek(sink.fd, 0, os.SEEK_END if sink.goes_on else os.SEEK_CUR)
        if sink.file and sink.regular:
            os.ftruncate(sink.fd, 0)
        _write(sink.fd, packed(sink.pack, head))
        if sink.file:
            sink.file.created = False  # from now on it stays
    except BrokenPipeError:
        sink.end_job()  # the reader has left already
    except OSError as error:
        if sink.regular and (sink.file or sink.goes_on):
            os.ftruncate(sink.fd, at)
        raise file_error(sink.path, error) from None


def check_room(path: str, head: bytes) -> None:
    """Raise Usage for a header that is too long to be written among the packets' records."""
    if len(head) > lib.PCAP_ROOM:
        text = f"{path}: its header takes {len(head):,} of at most {lib.PCAP_ROOM:,} bytes"
        raise Usage(text, "shorten the comments, or the filter")


def _write(fd: int, head: bytes) -> None:
    while head:
        head = head[os.write(fd, head) :]
