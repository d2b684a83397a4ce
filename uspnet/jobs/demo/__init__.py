# SPDX-License-Identifier: Apache-2.0
"""demo: a chain of jobs as processes, and its result."""
