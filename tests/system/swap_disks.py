# SPDX-License-Identifier: BSD-2-Clause
"""Swap disks for tests: marked images in a directory of their own, and a program in QEMU's place
that puts QEMU's own block layers between an image and the machine: errors by sector, a comparison
of all that is read with another image."""

import contextlib
import json
import tempfile
from pathlib import Path

import disk_images  # noqa: F401  (it knows where the tools are)
from neaplib import swapdisk
from neaplib.mkswap import create

SECTOR, SLOT = 512, 4096

STAND_IN = """\
#!/usr/bin/env python3
import os, sys
words, node, more = sys.argv[1:], {node!r}, {more!r}
at = next(at for at, word in enumerate(words) if word.endswith(",id=swap0"))
if node:
    words[at - 1:at + 1] = ["-blockdev", node]
os.execvp("qemu-system-x86_64", ["qemu-system-x86_64", *words, *more])
"""


def file_node(path):
    return {"driver": "file", "filename": str(path)}


def failing(path, operation, slots):
    """@path as a disk on which each @operation (read, write) that touches one of @slots fails."""
    rules = [{"event": "none", "iotype": operation, "errno": 5, "once": False,
              "sector": slot * SLOT // SECTOR} for slot in slots]
    return {"driver": "raw", "node-name": "swap0",
            "file": {"driver": "blkdebug", "image": file_node(path), "inject-error": rules}}


def compared(path, other):
    """@path as a disk from which nothing may be read that is not in @other as well; both are
    written. A difference ends QEMU."""
    return {"driver": "blkverify", "node-name": "swap0", "raw": file_node(path),
            "test": {"driver": "raw", "file": file_node(other)}}


class SwapDisks:
    def __init__(self, directory):
        self.directory = Path(directory)

    def make(self, name, size):
        """A new marked image of @size bytes."""
        path = self.directory / f"{name}.img"
        create(path, size)
        return path

    def make_like(self, name, path):
        """A new image with what Neap looks at to see what the disk at @path is, and no more."""
        other, size = self.directory / f"{name}.img", path.stat().st_size
        with open(path, "rb") as old, open(other, "xb") as new:
            for at in (0, size - swapdisk.HEAD_BYTES):
                old.seek(at)
                new.seek(at)
                new.write(old.read(swapdisk.HEAD_BYTES))
        return other

    def emulator(self, node=None, more=()):
        """A program in QEMU's place, for neap_command(): what --swap names is @node instead, and
        the images @more are disks as well."""
        words = []
        for path in more:
            words += ["-drive", f"if=none,format=raw,file={path},id={path.stem}", "-device",
                      f"virtio-blk-pci,drive={path.stem},disable-legacy=on,werror=report,"
                      "rerror=report"]
        program = self.directory / "qemu"
        program.write_text(STAND_IN.format(node=json.dumps(node) if node else "", more=words))
        program.chmod(0o755)
        return program


@contextlib.contextmanager
def swap_disks():
    with tempfile.TemporaryDirectory(prefix="neap-swap-") as directory:
        yield SwapDisks(directory)
