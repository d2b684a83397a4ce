# SPDX-License-Identifier: Apache-2.0
"""PCI: configuration space, sysfs, functions."""
