# SPDX-License-Identifier: Apache-2.0
"""What help and man pages say of commands beside their options: examples, files, environment."""

from __future__ import annotations

from collections.abc import Iterable

EXAMPLES: dict[str, list[tuple[str, str]]] = {
    "pktgen": [
        ("Send a million small frames to a peer on shared memory", "memif:/run/m.sock -c 1M"),
        (
            "Hold a rate on a kernel interface for ten seconds",
            "-i veth0 --rate 100k --duration 10s",
        ),
        (
            "Raise the rate every five seconds, and say how well each was kept",
            "memif:/run/m.sock --ramp 1M:10M:1M/5s --interval 5s",
        ),
        (
            "Send bursts of 32 packets, the gaps between them random",
            "-i veth0 --rate 100k --burst-size 32 --poisson --duration 10s",
        ),
        (
            "Measure loss and latency through two emulated NICs on one cable",
            "qemu:igb,wire=lan --rx-port qemu:e1000e,wire=lan --rate 10k -c 50k --fail-on-loss",
        ),
        (
            "Send custom packets",
            "null: -c 8 --packet \"Ether()/IP(dst='198.18.0.2')/UDP(dport=[7,9])\"",
        ),
        ("Replay a capture file twice as fast as it was", "-i veth0 --replay in.pcapng --speed 2"),
        (
            "Replay two files one after another, for ever, at a rate",
            "-i veth0 --replay a.pcap --replay b.pcap --loop forever --rate 500Mbit/s",
        ),
    ],
    "capture": [
        ("Write what a kernel interface receives", "-i eth0 -w eth0.pcapng"),
        ("Write what a filter accepts", "-i eth0 -w https.pcapng tcp port 443"),
        (
            "Wait for a peer, and fail when any packet is lost",
            "memif:/run/m.sock,role=server -w m.pcapng -c 1M --fail-on-loss",
        ),
        ("Decode packets live", "packet:eth0 -w - -q | tshark -r -"),
    ],
    "fwd": [
        ("Connect two shared-memory peers", "memif:/run/a.sock memif:/run/b.sock"),
        ("Replay a capture file with its own timing", "pcap:in.pcapng,timing=on packet:veth0"),
        ("Swap the MAC addresses between two NICs", "0000:03:00.0 0000:03:00.1 --mode macswap"),
        ("Be a switch", "memif:/run/a.sock memif:/run/b.sock tap:uplink --mode switch"),
        (
            "Drop DNS, and send web traffic elsewhere",
            "packet:eth0 packet:eth1 memif:/run/ids.sock --mode filter --rule 'drop port 53' "
            "--rule 'to:3 tcp port 80'",
        ),
        (
            "Be a router",
            "packet:eth0 packet:eth1 memif:/run/a.sock --mode route --routes routes.txt",
        ),
        (
            "Be a router by the kernel's routes, addresses and neighbors",
            "packet:eth0 packet:eth1 --mode route --kernel-routes eth0,eth1",
        ),
        (
            "Be a slow and bad line",
            "packet:eth0 packet:eth1 --mode impair --delay 10ms --loss 1% --rate 100Mbit/s",
        ),
    ],
    "attach": [
        ("Go on using a NIC that was bound: by its old name, addresses and routes", "0000:03:00.0"),
        (
            "Make an interface of a shared-memory peer",
            "memif:/run/m.sock --name vpp0 --address 192.0.2.1/24",
        ),
        (
            "Keep VXLAN from the kernel, for another program",
            "0000:03:00.0 --filter 'udp port 4789' --to memif:/run/vxlan.sock,role=server",
        ),
    ],
    "extcap": [
        ("Let Wireshark capture from uspnet's ports", "--install"),
        ("List what it would be shown", ""),
    ],
    "plot": [
        ("Draw the latencies of two runs", "before.hdr after.hdr -o latency.svg"),
        ("Print their percentiles", "before.hdr after.hdr"),
    ],
    "read": [
        ("Show the packets of a capture", "in.pcapng"),
        ("Show what a filter accepts, with the bytes", "-x in.pcapng 'udp port 53'"),
        ("Print one JSON object a packet", "a.pcap b.pcap.gz --json"),
        ("Show rates, sizes, losses and the largest flows", "in.pcapng --stats"),
        ("Write a table for DuckDB", "in.pcapng --export in.parquet"),
        ("Show how large a queue before a 10G link must be", "in.pcapng --burst --link 10G"),
    ],
    "reflect": [
        (
            "Send back what comes, for: uspnet pktgen -i eth1 --rx-port packet:eth1",
            "-i eth0 --duration 1m",
        ),
        (
            "Send back packets that routers on the way return",
            "memif:/run/m.sock,role=server --swap port",
        ),
    ],
    "stats": [
        ("Watch all running jobs", ""),
        ("Counters once, for a script", "--once --json"),
    ],
    "regs": [
        ("All registers of a NIC", "0000:03:00.0"),
        ("Watch selected registers", "qemu:e1000e STATUS 'R*' --watch"),
    ],
    "devices": [("Every NIC, and whether it is free", ""), ("One of them", "0000:03:00.0")],
    "bind": [
        ("Say what would be done", "0000:03:00.0 --dry-run"),
        ("Bind, and undo it after a minute unless it is confirmed", "0000:03:00.0 --confirm 1m"),
        ("Confirm it", "0000:03:00.0 --keep"),
    ],
    "unbind": [("Give back one NIC", "0000:03:00.0"), ("Give back all of them", "--all")],
    "doctor": [("Check this machine", ""), ("And whether a port can be opened", "packet:eth0")],
    "run": [
        ("Run the jobs of a file, and log warnings only", "jobs.yaml --log-level warning"),
        ("Check the file", "jobs.yaml --check"),
    ],
    "upgrade": [
        ("Use what pip has installed since the job was started", "4711"),
        ("Use another installation, a virtual environment", "4711 --with /opt/uspnet-next"),
    ],
    "demo": [("Run it, and keep the capture", "-w demo.pcapng")],
}

# Files and folders, and the commands that use them.
FILES: list[tuple[str, str, tuple[str, ...]]] = [
    (
        "/var/lib/uspnet/ADDRESS.json",
        "Saved state of a NIC, for unbind and attach.",
        ("bind", "unbind", "attach"),
    ),
    ("/etc/driverctl.d/pci-ADDRESS", "driverctl override written by bind --persist.", ("bind",)),
    (
        "/run/uspnet, /run/user/UID/uspnet, /tmp/uspnet-UID",
        "Sockets of the cables between qemu: ports (wire=).",
        ("pktgen", "capture", "fwd", "attach", "reflect", "regs", "doctor"),
    ),
    (
        "/dev/vfio, /dev/iommu, /dev/net/tun",
        "Devices through which pci: and tap: ports work.",
        ("pktgen", "capture", "fwd", "attach", "reflect", "regs", "doctor"),
    ),
    ("/etc/uspnet/jobs.yaml", "Jobs that uspnet.service runs.", ("run",)),
    ("/usr/share/misc/pci.ids", "Names of NICs, where it is installed.", ("devices",)),
    (
        "/proc/PID/fd",
        "Counters of running jobs are memfds that other processes find here.",
        ("stats",),
    ),
]

# Environment variables, and the commands that read them.
ENVIRONMENT: list[tuple[str, str, tuple[str, ...]]] = [
    (
        "USPNET_QEMU",
        "The QEMU that qemu: ports start; qemu-system-x86_64 from the PATH otherwise. Root starts "
        "only one that no other user can change.",
        ("pktgen", "capture", "fwd", "attach", "reflect", "regs", "doctor", "run", "demo"),
    ),
    ("TMPDIR", "The folder for what demo writes without -w; /tmp otherwise.", ("demo",)),
    (
        "NO_COLOR, TERM, COLUMNS",
        "How tables and live views are shown: without colours, on which terminal, how wide.",
        (
            "pktgen",
            "capture",
            "fwd",
            "attach",
            "reflect",
            "stats",
            "devices",
            "doctor",
            "regs",
            "run",
            "demo",
        ),
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
        "Set by systemd for a unit with Type=notify, and WatchdogSec=: where to tell that the run "
        "has started, is alive, and ends.",
        ("pktgen", "capture", "fwd", "attach", "reflect", "run"),
    ),
    (
        "JOURNAL_STREAM",
        "Set by systemd where stderr goes to its journal: lines of the log begin with a priority.",
        ("run",),
    ),
    (
        "SSH_CONNECTION",
        "SSH client whose route bind protects; also read from parent processes.",
        ("bind",),
    ),
]

EXITS = {
    "0": "Done; also when a signal ended the run.",
    "1": "Failed.",
    "2": "Wrong usage.",
    "3": "Refused, because it would do harm.",
    "4": "More packets were lost than --fail-on-loss allows.",
    "130": "Interrupted before there was a result.",
}
LOSSY = ("pktgen", "capture", "fwd", "attach", "reflect")  # commands that may exit with 4


def exits(name: str) -> list[tuple[str, str]]:
    """Return the exit codes of a command, or of all for ""."""
    return [(code, text) for code, text in EXITS.items() if code != "4" or name in ("", *LOSSY)]


def used_by(name: str, rows: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[tuple[str, str]]:
    """Return the rows that concern a command, or all for ""."""
    return [(what, text) for what, text, commands in rows if not name or name in commands]


def examples(name: str) -> list[tuple[str, str]]:
    """Return what an example does, and its command line."""
    return [(does, f"uspnet {name} {words}".rstrip()) for does, words in EXAMPLES.get(name, ())]
