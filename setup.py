# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml can't say yet: the C fast path is a cffi module."""

from setuptools import setup

setup(cffi_modules=["uspnet/fastpath/build.py:ffibuilder"])
