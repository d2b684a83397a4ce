# SPDX-License-Identifier: Apache-2.0
"""Options of tcpdump, dumpcap, tcpreplay and testpmd, and ours in their place."""

from __future__ import annotations

LOOK = "packets are not printed; write them with -w FILE, then: tshark -r FILE"
NAMES = "not needed: packets are not printed, so no name is looked up"
RING = "write several files with -b filesize:KB, -b duration:TIME, -b files:N"
LIST = "list what there is with: uspnet devices; a kernel interface is packet:IFNAME"
PROMISC = "it is an option of the port: packet:IFNAME,promisc=off"
REPLAY = "replay a file with --replay FILE"
EAL = "not needed: there is no EAL; ports are named on the command line"
PORT_OPTION = "it is an option of the port: packet:IFNAME,queues=N"

# What capture answers: options of tcpdump and dumpcap.
CAPTURE = {
    "-r": "read a file as a port: uspnet capture pcap:FILE",
    "-C": RING,
    "-G": RING,
    "-W": RING,
    "-O": "not needed: the filter is optimized",
    "-k": "Ethernet only: no channels of wireless networks",
    "--temp-dir": "not needed: without -w, nothing is written",
    "--immediate-mode": "not needed: packets are taken as they come",
    "--print": LOOK,
    "-u": LOOK,
    "-V": LOOK,
    "-E": LOOK,
    "-H": LOOK,
    "--list-time-stamp-types": "not needed: time stamps are in nanoseconds",
    "--time-stamp-type": "not needed: time stamps are in nanoseconds",
    "-D": LIST,
    "-L": LIST,
    "--list-interfaces": LIST,
    "-I": "monitor mode is not supported; Ethernet frames only",
    "--monitor-mode": "monitor mode is not supported; Ethernet frames only",
    "-p": PROMISC,
    "--no-promiscuous-mode": PROMISC,
    "-P": "use --format pcap",
    "-n": NAMES,
    "-N": "use --buffer, if it is to limit memory; no name is looked up anyway",
    "-e": LOOK,
    "-x": LOOK,
    "-X": LOOK,
    "-A": LOOK,
    "-l": "not needed: output to a pipe is written at once",
    "-U": "not needed: packets are written to the file as they come",
    "--packet-buffered": "not needed: packets are written to the file as they come",
    "-Z": "not needed: privileges are given up before the first packet",
    "--relinquish-privileges": "not needed: privileges are given up before the first packet",
    "-y": "Ethernet only; ports without it take ethernet=add",
    "--linktype": "Ethernet only; ports without it take ethernet=add",
    "-j": "not needed: time stamps are in nanoseconds",
    "--time-stamp-precision": "use --format: pcap has microseconds, the others nanoseconds",
    "-K": "not needed: checksums are verified only by NICs with rx-checksum=on",
    "-Q": "received packets only, unless the port is packet:IFNAME,outgoing=on",
    "--direction": "received packets only, unless the port is packet:IFNAME,outgoing=on",
    "-M": "use --json",
    "-t": "not needed: there is one worker for each queue; see --cores",
    "--snapshot-length": "use --snaplen",
    "--buffer-size": "use --buffer",
}

# What fwd answers: options of testpmd, and of tcpreplay, whose work fwd does.
FWD = {
    "--forward-mode": "use --mode",
    "--nb-cores": "use --cores 1,2",
    "--lcores": "use --cores 1,2",
    "-l": "cores are --cores 1,2; a file is replayed again and again by pcap:FILE,loop=on",
    "--nb-ports": EAL,
    "--portmask": EAL,
    "--vdev": EAL,
    "-a": EAL,
    "--allow": EAL,
    "-n": EAL,
    "--no-pci": EAL,
    "--file-prefix": EAL,
    "--in-memory": EAL,
    "--no-huge": "not needed: huge pages are used where there are any",
    "--proc-type": "not needed: watch from another process with uspnet stats",
    "--rxq": PORT_OPTION,
    "--txq": PORT_OPTION,
    "--rxd": "it is an option of the port: see PORTS in man uspnet",
    "--txd": "it is an option of the port: see PORTS in man uspnet",
    "--stats-period": "use --interval S, or watch with uspnet stats",
    "--auto-start": "not needed: forwarding starts at once",
    "--interactive": "not needed: forwarding starts at once, and Ctrl-C ends it",
    "--tx-first": "send packets with uspnet pktgen",
    "--total-num-mbufs": "not needed: packet memory is sized by what the ports hold",
    "--mbuf-size": "not needed: packet memory is sized by the ports' longest frame",
    "-i": "name both ports: uspnet fwd pcap:FILE packet:IFNAME",
    "--intf1": "name both ports: uspnet fwd pcap:FILE packet:IFNAME",
    "--intf2": "name both ports: uspnet fwd pcap:FILE packet:IFNAME",
    "--loop": "it is an option of the port: pcap:FILE,loop=on",
    "-t": "not needed: replay is at full speed by default",
    "--topspeed": "not needed: replay is at full speed by default",
    "-x": "use pcap:FILE,timing=on,speed=X",
    "--multiplier": "use pcap:FILE,timing=on,speed=X",
    "-p": "use pcap:FILE,timing=on for the file's own timing; pktgen has --rate",
    "--pps": "use pcap:FILE,timing=on for the file's own timing; pktgen has --rate",
    "-M": "use pcap:FILE,timing=on for the file's own timing; pktgen has --rate",
    "--mbps": "use pcap:FILE,timing=on for the file's own timing; pktgen has --rate",
    "-L": "use --count",
    "-K": "not needed: a file is read ahead",
    "--preload-pcap": "not needed: a file is read ahead",
}

# What pktgen answers: options of tcpreplay, and of testpmd's txonly mode.
PKTGEN = {
    "--intf1": "use -i IFNAME, or the port packet:IFNAME",
    "-p": "use --rate 1000pps",
    "--pps": "use --rate 1000pps",
    "-M": "use --rate 100Mbit/s",
    "--mbps": "use --rate 100Mbit/s",
    "-t": "use --topspeed with --replay FILE; else, --rate max is the default",
    "-l": "use --loop with --replay FILE, or --count; cores are --cores 1,2",
    "-L": "use --count",
    "--limit": "use --count",
    "-r": REPLAY,
    "-f": REPLAY,
    "-x": REPLAY + " --speed X",
    "--multiplier": REPLAY + " --speed X",
    "-s": "use --size",
    "--txpkts": "use --size",
    "--txd": "it is an option of the port: see PORTS in man uspnet",
    "--txq": PORT_OPTION,
    "--tx-ip": "use --src-ip and --dst-ip",
    "--tx-udp": "use --src-port and --dst-port",
    "--eth-peer": "use --dst-mac",
    "--nb-cores": "use --cores 1,2",
    "--stats-period": "use --interval S, or watch with uspnet stats",
    "--vdev": EAL,
    "--no-huge": "not needed: huge pages are used where there are any",
}

# What read answers: options of tcpdump -r and tshark -r.
DECODED = "not needed: packets are decoded as far as Scapy can"
FIELDS = "a packet is one line; for all of its fields, then: tshark -V -r FILE"
READ = {
    "-r": "name the file alone: uspnet read FILE",
    "-Y": "filters are libpcap's: -f 'tcp port 443'",
    "-R": "filters are libpcap's: -f 'tcp port 443'",
    "-w": "write packets with: uspnet capture pcap:FILE -w NEW FILTER",
    "-n": "not needed: no name is looked up",
    "-N": "not needed: no name is looked up",
    "-X": "use -x, which shows characters, too",
    "-A": "use -x, which shows characters, too",
    "-T": "use --json",
    "-z": "use --stats, which has rates, sizes and flows",
    "-e": DECODED,
    "-v": DECODED,
    "-V": FIELDS,
    "-O": FIELDS,
    "-i": "a live port is captured: uspnet capture PORT -w - -q | uspnet read -",
    "-l": "not needed: packets of a pipe are shown at once",
}
# Values of other tools, by the option: tcpdump's -tttt.
VALUES = {
    "--times": {
        "t": "tcpdump's -tt, times since 1970, is -t e",
        "tt": "tcpdump's -ttt, times since the packet before, is -t d",
        "ttt": "tcpdump's -tttt, times with the date, is -t ad",
        "tttt": "tcpdump's -ttttt, times since the first packet, is -t r",
    }
}
ANSWERS = {"capture": CAPTURE, "fwd": FWD, "pktgen": PKTGEN, "read": READ}


def answer(command: str, option: str) -> str:
    """Return what to use instead of another tool's option; "" if it is unknown."""
    return ANSWERS.get(command, {}).get(option, "")
