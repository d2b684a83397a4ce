# SPDX-License-Identifier: Apache-2.0
"""run: several jobs as processes, started, watched and started again by one."""
