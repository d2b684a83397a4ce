# SPDX-License-Identifier: Apache-2.0
"""What varies from packet to packet, as people write it, compiled into field programs."""
