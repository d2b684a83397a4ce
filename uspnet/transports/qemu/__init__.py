# SPDX-License-Identifier: Apache-2.0
"""QEMU as a device: the machine, its qtest socket, its cables."""
