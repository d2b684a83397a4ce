# SPDX-License-Identifier: Apache-2.0
"""memif's control side: the protocol, and what each role does with it."""
