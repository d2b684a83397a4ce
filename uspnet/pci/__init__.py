# SPDX-License-Identifier: Apache-2.0
"""PCI: addresses, configuration space, sysfs, functions. Nothing else reads /sys/bus/pci."""
