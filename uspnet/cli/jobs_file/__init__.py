# SPDX-License-Identifier: Apache-2.0
"""The file of `uspnet run`: YAML, or JSON, with a job for each command line."""
