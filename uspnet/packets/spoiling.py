# SPDX-License-Identifier: Apache-2.0
"""`--break` of packets that are replayed: whatever they are, a field of the outermost header that
they have of a kind is made wrong, as breaking.py does it in packets that we make.
"""

from __future__ import annotations

from dataclasses import replace

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.packets.breaking import MORE, RUNT, Break, Wrong
from uspnet.packets.fields.rewrite import Rewrite, WrongField
from uspnet.packets.setting import PLACES, Place
from uspnet.packets.vary.place import LAYERS

IP, IP6, TCP, UDP = lib.REWRITE_IP, lib.REWRITE_IP6, lib.REWRITE_TCP, lib.REWRITE_UDP
WORD = 2  # bytes
CHECKS = {IP: 10, TCP: 16, UDP: 6}  # offsets of checksums
CHECKSUMS = {f"{name}.chksum": Place(layer, CHECKS[layer], WORD)
             for name, layer in (("ip", IP), ("tcp", TCP), ("udp", UDP))}  # fmt: skip
FIELDS = {name: each for name, each in PLACES.items() if each.size == WORD and each.layer >= IP} | {
    "ip.version": Place(IP, 0, WORD, 0xF000),
    "ip.ihl": Place(IP, 0, WORD, 0x0F00),
    "ip.len": Place(IP, 2, WORD),
    "ip.flags": Place(IP, 6, WORD, 0xE000),
    "ip.frag": Place(IP, 6, WORD, 0x1FFF),
    "ip.proto": Place(IP, 8, WORD, 0x00FF),
    "ipv6.version": Place(IP6, 0, WORD, 0xF000),
    "ipv6.plen": Place(IP6, 4, WORD),
    "ipv6.nh": Place(IP6, 6, WORD, 0xFF00),
    "tcp.dataofs": Place(TCP, 12, WORD, 0xF000),
    "tcp.flags": Place(TCP, 12, WORD, 0x01FF),
    "tcp.urgptr": Place(TCP, 18, WORD),
    "udp.len": Place(UDP, 4, WORD),
}
PCAP_HINT = "; --pcap FILE sends up to 16,384 packets with any field broken"


def spoiled(wrong: Wrong) -> Rewrite:
    """Return what breaks every so-many-th packet that is replayed. Raise Usage."""
    made = Rewrite(every=wrong.every)
    for each in wrong.breaks:
        if each.name == "fcs":
            text = "--break fcs: no FCS of packets that are replayed is computed"
            raise Usage(text, "drop it" + PCAP_HINT)
        if each.name == "runt":
            made = replace(made, runt=each.value or RUNT)
        else:
            made = replace(made, wrongs=[*made.wrongs, _field(each)])
    # Checksums last: they follow the fields.
    return replace(made, wrongs=sorted(made.wrongs, key=lambda each: not each.times))


def _field(wrong: Break) -> WrongField:
    layer, _, field = wrong.name.lower().partition(".")
    name = f"{LAYERS.get(layer, layer)}.{field}"
    place = CHECKSUMS.get(name) or FIELDS.get(name)
    if not place:
        text = f"--break {wrong.name}: not a field that is broken in packets that are replayed"
        able = ", ".join(sorted([*CHECKSUMS, *FIELDS]))
        raise Usage(text, f"fields are: {able}, and runt{PCAP_HINT}")
    low = (place.bits & -place.bits).bit_length() - 1
    most = place.bits >> low
    if wrong.value is not None and not 0 <= wrong.value <= most:
        text = f"--break {wrong}: {wrong.value} does not fit into {most.bit_length()} bits"
        raise Usage(text, f"give a value of 0 to {most:,}")
    times = 0 if name in CHECKSUMS or place.layer == IP6 else 2 if name == "udp.len" else 1
    how, value = lib.REWRITE_PUT, wrong.value
    if value is None:
        how = lib.REWRITE_SPOIL if name in CHECKSUMS else lib.REWRITE_ADD
        value = MORE & most or 1
    return WrongField(str(wrong), place.layer, how, place.at, (value & most) << low, place.bits,
                      CHECKS.get(place.layer, 0), times)  # fmt: skip
