# SPDX-License-Identifier: Apache-2.0
"""User-space network drivers, and the packet tools that run on them."""

__version__ = "0.1.0"
