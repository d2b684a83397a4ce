# SPDX-License-Identifier: Apache-2.0
"""doctor on made-up machines: each cause has a row, and a command that mends it."""

import os
import resource

import pytest

from uspnet.binding.bind import BindRequest, bind
from uspnet.jobs import doctor
from uspnet.jobs.doctor_nic import machine_rows, nic_rows
from uspnet.pci.sysfs import HOST
from uspnet.transports.faults import FaultLog, fault

A = "0000:03:00.0"
B = "0000:03:00.1"


def problems(lab, text=None):
    rows = nic_rows(lab.machine(), text) if text else machine_rows(lab.tree)
    return {check: (found, mend) for check, state, found, mend in rows if state == "problem"}


@pytest.mark.parametrize(
    ("files", "text", "mend"),
    [
        ({}, "offers none", "firmware"),
        ({"proc/cmdline": "quiet intel_iommu=off"}, "switched off by intel_iommu=off", "take"),
        ({"sys/firmware/acpi/tables/DMAR": "x"}, "does not use it", "intel_iommu=on"),
        ({"sys/firmware/acpi/tables/IVRS": "x"}, "does not use it", "amd_iommu=on"),
    ],
)
def test_doctor_on_the_iommu(lab, files, text, mend):
    for name, content in files.items():
        lab.file(name, content)
    found = problems(lab)["IOMMU"]
    assert text in found[0]
    assert mend in found[1]
    lab.file("sys/class/iommu/dmar0/x", "")
    assert "IOMMU" not in problems(lab)


def test_doctor_on_modules_and_lockdown(lab):
    os.rename(lab.root / "sys/bus/pci/drivers/vfio-pci", lab.root / "gone")
    assert "no vfio-pci" in problems(lab)["vfio-pci"][0]
    release = os.uname().release
    lab.file(f"lib/modules/{release}/modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko: a.ko")
    assert "vfio-pci" not in problems(lab)
    lab.file("sys/kernel/security/lockdown", "none [integrity] confidentiality")
    assert [row for row in machine_rows(lab.tree) if row[0] == "lockdown" and row[1] == "note"]


def test_doctor_on_a_nic(lab):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1")
    lab.file(
        "sys/kernel/iommu_groups/17/reserved_regions", "0x0 0xfff direct\n0xfee00000 0xfeefffff msi"
    )
    found = problems(lab, "eth0")
    assert found["group"][1] == f"uspnet bind {A} {B}"
    assert found["binding"][1] == f"uspnet bind {A}"
    assert "RMRR" in found["reserved memory"][0]
    bind(lab.machine(), [A, B], BindRequest())
    assert "is missing" in problems(lab, A)["device node"][0]
    lab.file("dev/vfio/17", "")
    lab.process(9, "testpmd", "/dev/vfio/17")
    found = problems(lab, A)
    assert found["user"] == ("testpmd (process 9) drives it", "kill 9")
    assert "device node" not in found


def iommu_off_in_firmware(lab):
    return "IOMMU", "switch VT-d or AMD-Vi on"


def iommu_off_in_kernel(lab):
    lab.file("sys/firmware/acpi/tables/DMAR", "x")
    return "IOMMU", "intel_iommu=on"


def module_missing(lab):
    os.rename(lab.root / "sys/bus/pci/drivers/vfio-pci", lab.root / "gone")
    return "vfio-pci", "apt-get install"


def group_shared(lab):
    lab.nic(B, "eth1")
    return "group", f"uspnet bind {A} {B}"


def group_shared_with_no_nic(lab):
    lab.nic(B, driver="snd_hda_intel", code=0x040300)
    return "group", "another slot"


def reserved_memory(lab):
    lab.file("sys/kernel/iommu_groups/17/reserved_regions", "0x0 0xfff direct")
    return "reserved memory", "in the firmware"


def lockdown(lab):
    lab.file("sys/kernel/security/lockdown", "none [integrity] confidentiality")
    return "lockdown", "Secure Boot switched off"


def held_by_a_process(lab):
    bind(lab.machine(), [A], BindRequest())
    lab.process(9, "testpmd", "/dev/vfio/17")
    return "user", "kill 9"


def kernel_without_character_device(lab):
    return "/dev/iommu", "CONFIG_VFIO_DEVICE_CDEV"


def interface_in_use(lab):
    lab.route("eth0")
    return "default-route", "--allow default-route --confirm"


def held_by_the_kernel(lab):
    return "binding", f"uspnet bind {A}"


def bound_by_another_tool(lab):
    bind(lab.machine(), [A], BindRequest())
    lab.machine().store.drop(A)
    return "saved state", "--allow unsaved"


def faults(lab):
    lab.file("dev/kmsg", f"3,9,9,-;{INTEL}")
    return "IOMMU faults", "dmesg"


def unknown_nic(lab):
    (lab.kernel.device(A) / "device").write_text("0x1234\n")
    return "driver", "packet:eth0"


INTEL = (
    "DMAR: [DMA Write NO_PASID] Request device [03:00.0] fault addr 0x1f000 "
    "[fault reason 0x05] PTE Write access is not set"
)
CAUSES = [
    iommu_off_in_firmware, iommu_off_in_kernel, module_missing, group_shared,
    group_shared_with_no_nic, reserved_memory, lockdown, held_by_a_process,
    kernel_without_character_device, interface_in_use, held_by_the_kernel, bound_by_another_tool,
    faults, unknown_nic,
]  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
def test_each_cause_has_a_row_and_a_command(lab, cause):
    lab.nic(A, "eth0", ids=0x10D3)
    check, command = cause(lab)
    rows = [*machine_rows(lab.tree), *nic_rows(lab.machine(), A)]
    found = [row for row in rows if row[0] == check and row[1] != "ok"]
    assert [mend for *_, mend in found if command in mend], rows


def test_a_limit_on_locked_memory_and_lacking_capabilities(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8 << 20, 8 << 20))
    row = doctor.locked_memory(0)
    assert (row.state, row.mend) == ("note", "ulimit -l unlimited (as root)")
    assert all("sudo" in row.mend for row in doctor.capabilities(0))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("03:00.0", A),
        (f"pci:{A},transport=uio", A),
        ("0000:7F:00.0", "0000:7f:00.0"),
        ("eth0", A),
        ("eth9", None),
        ("qemu:igb", None),
        (f"pcap:{A}", None),
        ("", None),
    ],
)
def test_which_ports_are_pci_functions(lab, monkeypatch, text, address):
    lab.nic(A, "eth0")
    monkeypatch.setattr(HOST, "root", str(lab.root))
    assert doctor.pci_address(text) == address


def test_huge_pages(lab, monkeypatch):
    lab.file("proc/meminfo", "HugePages_Free: 0\nHugepagesize: 2048 kB")
    monkeypatch.setattr(HOST, "root", str(lab.root))
    assert "nr_hugepages" in doctor.huge_pages().mend


AMD = "vfio-pci 0000:03:00.0: Event logged [IO_PAGE_FAULT domain=0x0014 address=0x2f000 flags=0x%s]"
LINES = [
    (INTEL, "writing address 0x1f000"),
    ("DMAR: [DMA Read] Request device [03:00.0] PASID ffffffff fault addr 7f000 [fault reason 06]",
     "reading address 0x7f000"),
    (AMD % "0000", "reading address 0x2f000"),
    (AMD % "0020", "writing address 0x2f000"),
    ("AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0 domain=0x0014 address=0x3f000 "
     "flags=0x0000]", "reading address 0x3f000"),
    (INTEL.replace("03:00.0", "03:00.1"), "None"),
    ("IPv6: eth0: fault addr 0x1", "None"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "text"), LINES)
def test_faults_in_the_kernels_log(line, text):
    assert str(fault(f"3,1,1,-;{line}", A)) == text


def test_only_what_is_new_is_told(tmp_path):
    path = tmp_path / "kmsg"
    path.write_text(f"3,1,1,-;{INTEL}\n")
    log = FaultLog(A, path=str(path))
    assert not list(log.new_faults())
    with path.open("a") as file:
        file.write(f"3,2,2,-;{INTEL}\n")
    assert [each.writes for each in log.new_faults()] == [True]
    log.close()
    assert not FaultLog(A, path=str(tmp_path / "none")).readable
