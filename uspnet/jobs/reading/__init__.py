# SPDX-License-Identifier: Apache-2.0
"""read: looking into capture files."""
