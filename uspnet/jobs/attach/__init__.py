# SPDX-License-Identifier: Apache-2.0
"""attach: a port that uspnet drives stays an interface of the kernel."""
