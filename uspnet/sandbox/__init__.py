# SPDX-License-Identifier: Apache-2.0
"""The sandbox of the worker process: which system calls, files and networks it can't reach."""
