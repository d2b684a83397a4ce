# SPDX-License-Identifier: Apache-2.0
"""Kernel network interfaces, and TAP devices."""
