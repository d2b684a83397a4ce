# SPDX-License-Identifier: Apache-2.0
"""One file a driver. The folder is the registry: `uspnet.port.drivers` imports all of it."""
