# SPDX-License-Identifier: Apache-2.0
"""xdp: a kernel interface through AF_XDP."""
