# SPDX-License-Identifier: Apache-2.0
"""Frames: expressions, layers, checksums and signatures."""
