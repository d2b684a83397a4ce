# SPDX-License-Identifier: Apache-2.0
"""The kernel's interfaces and TUN/TAP."""
