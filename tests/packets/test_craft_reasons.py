# SPDX-License-Identifier: Apache-2.0
"""Why an expression makes no packet, in our own words."""

from __future__ import annotations

import pytest

from uspnet.errors import Usage
from uspnet.packets.craft import craft


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ether()/IP()/UDP(dport=(5,1))", "make no packets"),
        ("Ether()/IP()/UDP(dport=[])", "make no packets"),
        ("Ether()/IP()/UDP(dport='nosuch')", "('nosuch'|the value of dport) does not fit"),
        ("Ether()/IP(ttl='x')", "the value of ttl does not fit its field"),
        ("Ether()/IP(dst=5)", r"the value of \w+ does not fit"),
        ("Ether()/IP(flags='Q')", "the value of flags does not fit"),
        ("Ether()/IPv6(dst='1.2.3.4')", "the value of dst does not fit"),
        ("Ether()/Dot1Q(vlan='x')", "the value of vlan does not fit"),
        ("Ether()/5", "/ joins layers and texts, which 'Ether.. / 5' does not"),
        ("5/Ether()", "/ joins layers and texts"),
        ("Ether()/[IP()]", "/ joins layers and texts"),
        ("Ether(foo=1)", "no field of its layer is named 'foo'"),
        ("Ether()/Dot1Q(vlan=4096)", "vlan=4096 does not fit into the 12 bits of its field"),
        ("Ether()/Dot1Q(vlan=(4095,4097))", "vlan=4096 does not fit"),
        ("Ether()/Dot1Q(vlan=-1)", "vlan=-1 does not fit"),
        ("Ether()/MPLS(label=1048576)", "20 bits"),
        ("Ether()/IP()/UDP()/VXLAN(vni=16777216)", "24 bits"),
        ("Ether()/IP(flags=8)", "flags=8 does not fit"),
        ("Ether()/IP()/TCP(flags='Q')", "flags are letters"),
    ],
)
def test_reasons(text, message):
    with pytest.raises(Usage, match=message):
        craft(text)
