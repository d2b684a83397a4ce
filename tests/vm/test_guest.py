# SPDX-License-Identifier: Apache-2.0
"""The guest itself: what the other tests here stand on."""

import signal

import pytest


def test_output_exit_codes_and_files_come_back(guest):
    (guest.share / "in").write_text("from the host")
    result = guest.run(["sh", "-c", f"cat {guest.share}/in; echo no >&2; exit 7"])
    assert (result.code, result.out, result.err) == (7, "from the host", "no\n")
    guest.run(["sh", "-c", f"echo from the guest > {guest.share}/out"])
    assert (guest.share / "out").read_text() == "from the guest\n"


def test_runs_uspnet(guest):
    result = guest.run(["uspnet", "pktgen", "null:", "--count", "1000", "--json"]).json()
    assert result["sent"] == 1000
    result = guest.run(["uspnet", "pktgen", "nonsense:"])
    assert result.code == 2
    assert "there is no port nonsense:" in result.err


def test_background_processes_and_signals(guest):
    process = guest.background(["sleep", "100"])
    process.signal(signal.SIGTERM)
    assert process.wait().code == -signal.SIGTERM
    with pytest.raises(TimeoutError):
        guest.run(["sleep", "100"], timeout=0.2)


def test_every_nic_has_an_iommu_group_and_a_kernel_driver(guest):
    groups = [guest.group(guest.address(kind, n)) for kind in guest.kinds for n in (0, 1)]
    assert len(set(groups) - {""}) == 2 * len(guest.kinds)
    drivers = [guest.driver(guest.address(kind)) for kind in guest.kinds]
    assert drivers == [kind.replace("-net", "-pci") for kind in guest.kinds]
