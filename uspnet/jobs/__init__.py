# SPDX-License-Identifier: Apache-2.0
"""What the commands do: each job plans its workers, runs them and reports the result."""
