# SPDX-License-Identifier: Apache-2.0
"""The terminal's side of results: units, tables, live views and summaries."""
