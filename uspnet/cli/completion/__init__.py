# SPDX-License-Identifier: Apache-2.0
"""Completion in bash, zsh and fish: `scripts` for the shells, which call us for `words`.

The shells' functions run `uspnet` with the words so far as its arguments, the last of them
unfinished, and VARIABLE in the environment; we print one completion a line.
"""

VARIABLE = "_USPNET_WORDS"
