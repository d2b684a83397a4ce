# SPDX-License-Identifier: Apache-2.0
"""The worker process: who starts it, what it is given, what it runs."""
