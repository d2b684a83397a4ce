# SPDX-License-Identifier: Apache-2.0
"""How long a capture file's header may be."""

from __future__ import annotations

import pytest

from tests.support.pcap_rig import pcapng
from uspnet.errors import Usage
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port


def test_a_header_that_no_chunk_holds_is_refused(tmp_path):
    given, path = tmp_path / "in.pcapng", tmp_path / "x.pcapng"
    given.write_bytes(pcapng())
    sink = make_sink(str(path))
    sink.comments = ["x" * 60_000] * 5
    job = CaptureJob(make_port(f"pcap:{given}"), Limits(), sink)
    with (
        pytest.raises(Usage, match=r"x\.pcapng: its header takes 30\d,\d+ of at most 262,016"),
        job,
    ):
        job.run()
    assert not path.exists()
