# SPDX-License-Identifier: Apache-2.0
"""extcap: how Wireshark and tshark capture from uspnet's ports. See the extcap(4) man page.

They start us to ask for each list, so what answers them imports as little as it can.
"""
