# SPDX-License-Identifier: Apache-2.0
"""What NIC drivers share."""
