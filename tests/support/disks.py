# SPDX-License-Identifier: Apache-2.0
"""Disks that are full soon."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of that size."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir()
    if libc.mount(b"none", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode()):
        pytest.skip(f"needs the right to mount: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        libc.umount2(str(folder).encode(), 0)


@contextlib.contextmanager
def small_ext4(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A disk of that size with ext4, which writes past the page cache, too."""
    image = folder.with_suffix(".img")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    mkfs = shutil.which("mkfs.ext4", path="/sbin:/usr/sbin:/usr/bin")
    if not mkfs:
        pytest.skip("mkfs.ext4 is not installed: apt-get install e2fsprogs")
    made = [mkfs, "-qF", "-m0", "-Onone,extent,filetype", str(image)]
    subprocess.run(made, check=True, capture_output=True)
    mount = ["mount", "-o", "loop", str(image), str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount, and a loop device")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        image.unlink()
