# SPDX-License-Identifier: Apache-2.0
"""Ports: one file a scheme, a folder where it needs several."""
