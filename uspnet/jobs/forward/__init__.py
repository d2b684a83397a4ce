# SPDX-License-Identifier: Apache-2.0
"""fwd: its job, and one file a mode."""
