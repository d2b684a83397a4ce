# SPDX-License-Identifier: Apache-2.0
"""Taking NICs from the kernel and giving them back: `bind`, `unbind` and `devices`.

Read `safety.py` first (may it be taken?), then `bind.py` (check, save, take) and `unbind.py`
(restore). They access the machine through `machine.py`, `netstate.py` and `pci/sysfs.py`, which
tests replace. Drivers and workers import nothing of this.
"""
