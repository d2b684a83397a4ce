# SPDX-License-Identifier: Apache-2.0
"""Processes, privileges, files and streams of this machine."""
