# SPDX-License-Identifier: Apache-2.0
"""Fields: what differs from one generated packet to the next. One file each."""
