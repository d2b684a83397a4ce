# SPDX-License-Identifier: Apache-2.0
"""Taking NICs from the kernel, and giving them back: what `bind`, `unbind` and `devices` know.

Read `safety.py` first (may it be taken?), then `bind.py` (decide, save, take) and `unbind.py`
(everything as it was). `machine.py`, `sysfs.py` and `netstate.py` are what they see of the machine,
which tests replace; nothing here is imported by drivers or workers.
"""
