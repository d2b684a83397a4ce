# SPDX-License-Identifier: Apache-2.0
"""memif: shared memory packet interface, both roles."""
