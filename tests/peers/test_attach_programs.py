# SPDX-License-Identifier: Apache-2.0
"""Programs that others wrote over an interface that `uspnet attach` keeps: they run as over any."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import subprocess
import threading

import pytest

from tests.support.attached import FAR, NEAR
from tests.support.tiers import by_tier, full
from tests.support.waiting import scaled, until

KINDS = ["memif", *full("packet", "xdp", "qemu:e1000e", "qemu:igb")]
VOLUME = by_tier("4M", "64M")  # of each TCP run
LEASED = "10.9.0.100"
DHCP = f"""start {LEASED}
end {LEASED}
interface a
opt subnet 255.255.255.0
"""
LEASE = """#!/bin/sh
[ "$1" = bound ] || exit 0
exec ip address add "$ip/$mask" dev "$interface"
"""
BLOCK = bytes(range(256)) * 4096  # 1 MiB
BLOCKS, FEWER = by_tier((16, 16), (1024, 128))


@pytest.fixture
def ends(request, attached, namespace):
    """ends(kind): the kernel that keeps its interface eth7, and the one behind it, which has a."""

    def make(kind):
        if kind.startswith("qemu:"):
            request.getfixturevalue("qemu")
        _, other = attached(kind)
        for each, name in ((namespace, "eth7"), (other, "a")):
            until(lambda each=each, name=name: "LOWER_UP" in each.link(name)["flags"])
        return namespace, other

    return make


@contextlib.contextmanager
def serving(where, *words, says):
    """A program that runs in a namespace, from when it has said something until the end of this."""
    command = where.command(*words)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, **streams) as process:
        try:
            said = ""
            while says not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield process
        finally:
            process.kill()


def iperf3(near, far, *words):
    """Have it run between the two. Returns the end of its report."""
    with serving(far, "iperf3", "-s", "-1", "--forceflush", says="listening"):
        line = ("iperf3", "-c", FAR, "-J", *words)
        done = near.run(*line, timeout=scaled(60), check=False)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report.get("error")
    return report["end"]


@pytest.mark.parametrize("kind", KINDS)
def test_iperf3_and_ping_run_both_ways(ends, needs, kind):
    needs("iperf3")
    needs("busybox")
    near, far = ends(kind)
    near.run("busybox", "ping", "-c", 2, "-w", 10, FAR)
    far.run("busybox", "ping", "-c", 2, "-w", 10, "-s", 1472, NEAR)
    for way in ("--reverse", "--parallel=2", *by_tier((), ("--bidir",))):
        found = iperf3(near, far, "-n", VOLUME, way)
        assert found["sum_received"]["bytes"] > 1 << 20
    found = iperf3(near, far, "-u", "-b", "10M", "-n", "1M")
    assert found["sum"]["packets"] > 500


@pytest.mark.parametrize("kind", KINDS)
def test_curl_has_a_file_as_it_is(ends, needs, kind):
    needs("curl")
    near, far = ends(kind)
    blocks = BLOCKS if kind in {"memif", "qemu:e1000e"} else FEWER

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(BLOCK) * blocks))
            self.end_headers()
            for _ in range(blocks):
                self.wfile.write(BLOCK)

        def log_message(self, *_):
            pass

    with far.entered():
        server = http.server.HTTPServer((FAR, 8080), Handler)
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            line = f"set -o pipefail; curl -sS --fail http://{FAR}:8080/ | sha256sum"
            done = near.run("bash", "-c", line, timeout=scaled(120))
        finally:
            server.shutdown()
            thread.join()
    wanted = hashlib.sha256()
    for _ in range(blocks):
        wanted.update(BLOCK)
    assert done.stdout.split()[0] == wanted.hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_comes_by_dhcp(ends, needs, kind, tmp_path):
    needs("busybox")
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
    if not {"udhcpc", "udhcpd"} <= {*applets.stdout.split()}:
        pytest.skip("busybox has no udhcpc and udhcpd")
    near, far = ends(kind)
    settings, script, leases = (tmp_path / name for name in ("dhcp.conf", "lease", "leases"))
    leases.touch()
    settings.write_text(f"{DHCP}lease_file {leases}\npidfile {tmp_path}/pid\n")
    script.write_text(LEASE)
    script.chmod(0o755)
    with serving(far, "busybox", "udhcpd", "-f", "-I", FAR, settings, says="started"):
        line = ("-i", "eth7", "-n", "-q", "-f", "-s", script)
        near.run("busybox", "udhcpc", *line, timeout=scaled(60))
    assert LEASED in {each["local"] for each in near.addresses("eth7")[0]["addr_info"]}
    far.run("busybox", "ping", "-c", 1, "-w", 10, LEASED)
