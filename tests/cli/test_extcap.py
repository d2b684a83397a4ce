# SPDX-License-Identifier: Apache-2.0
"""`uspnet extcap`: tshark lists uspnet's ports and captures from them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.waiting import scaled, until

LIGHT = """
import sys
from uspnet.__main__ import main
main()
slow = {"scapy", "typer", "rich", "cffi", "_cffi_backend", "asyncio"} & set(sys.modules)
sys.stderr.write(repr(sorted(slow)))
"""
QUESTIONS = {
    ("--extcap-interfaces", "--extcap-version=4.0"): "interface {value=uspnet}{display=",
    ("--extcap-interface", "memif:/x", "--extcap-dlts"): "dlt {number=1}{name=EN10MB}",
    ("--extcap-interface=memif:/x", "--extcap-config"): "{call=--port-options}",
    ("--extcap-interface", "uspnet", "--extcap-config"): "{call=--port}{display=Port}",
}


@pytest.mark.parametrize("words", QUESTIONS)
def test_questions_are_answered_without_all_the_rest(words):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *words],
        capture_output=True, text=True, cwd=ROOT, check=True, timeout=scaled(60),
    )  # fmt: skip
    assert done.stderr == "[]"
    assert QUESTIONS[words] in done.stdout
    for line in done.stdout.splitlines():
        assert line.count("{") == line.count("}") >= 2, line


def test_a_filter_is_checked_and_what_is_missing_named(uspnet):
    port = ("--extcap-interface", "memif:/x")
    assert uspnet(*port, "--extcap-capture-filter", "tcp port 443").stdout == ""
    assert "syntax error" in uspnet(*port, "--extcap-capture-filter", "tcp prot 443").stdout
    for words, told in (
        (("--extcap-dlts",), "--extcap-interface"),
        ((*port, "--capture"), "--fifo"),
        (("--extcap-interface", "uspnet", "--capture", "--fifo", "x"), "no port is named"),
    ):
        done = uspnet(*words)
        assert (done.returncode, done.stdout, told in done.stderr) == (1, "", True), words


def test_a_program_of_somebody_else_stays(uspnet, tmp_path):
    folder = tmp_path / "new" / "extcap"
    found = answer(uspnet("extcap", "--install", "--folder", folder, "--json").stdout)
    assert found["file"] == str(folder / "uspnet")
    assert found["interfaces"][-1]["port"] == "uspnet"
    done = subprocess.run([folder / "uspnet", "--extcap-interfaces"], capture_output=True,
                          text=True, check=True, cwd="/", timeout=scaled(60))  # fmt: skip
    assert done.stdout.startswith("extcap {version=")
    assert uspnet("extcap", "--install", "--folder", folder).returncode == 0, "once more"
    assert uspnet("extcap", "--remove", "--folder", folder).stdout.startswith("removed ")
    assert [*folder.iterdir()] == []
    (folder / "uspnet").write_text("#!/bin/sh\n")
    done = uspnet("extcap", "--install", "--folder", folder)
    assert (done.returncode, "was not written by uspnet" in done.stderr) == (2, True)
    for words in (["--install", "--remove"], ["--folder", folder]):
        assert uspnet("extcap", *words).returncode == 2


# In a mount namespace of its own, where Wireshark's folder is an empty one.
TSHARK = r"""
folder=$(tshark -G folders 2>/dev/null | sed -n 's/^\(Global \)\?Extcap path:[[:space:]]*//p')
mkdir -p "$folder" && mount -t tmpfs none "$folder" || exit 77
"$PYTHON" -m uspnet extcap --install >&2 && exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_tshark_lists_a_peer_and_captures_from_it(start, tmp_path):
    path, file = tmp_path / "m.sock", tmp_path / "x.pcapng"
    start("pktgen", f"memif:{path},role=server", "--rate", "2k")
    until(path.exists)

    def tshark(*words):
        command = ["unshare", "-m", "sh", "-c", TSHARK, "sh", "tshark", *words]
        env = os.environ | {"PYTHON": sys.executable}
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT,
                              check=False, timeout=scaled(120))  # fmt: skip
        if done.returncode == 77:
            pytest.skip("no mount namespaces here")
        return done

    assert f"memif:{path} (uspnet: memif {path})" in tshark("-D").stdout
    done = tshark("-i", f"memif:{path}", "-c", "50", "-w", str(file), "-f", "udp port 9")
    assert done.returncode == 0, done.stderr
    rows = subprocess.run(["tshark", "-r", file, "-T", "fields", "-e", "udp.dstport"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert rows.stdout.split() == ["9"] * 50
