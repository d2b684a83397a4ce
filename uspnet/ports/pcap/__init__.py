# SPDX-License-Identifier: Apache-2.0
"""Capture files as a port."""
