# SPDX-License-Identifier: BSD-2-Clause
"""What the host tests share: the command under test, and programs that stand in for others."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOOLS))

# Stands in for grub-mkrescue: a boot image is not what these tests ask about.
FAKE_MKRESCUE = """\
while [ $# -gt 1 ]; do
    [ "$1" = -o ] && out=$2
    shift
done
cp "$1/boot/grub/grub.cfg" "$out"
[ -z "$KEEP_CFG" ] || cp "$1/boot/grub/grub.cfg" "$KEEP_CFG"
[ -z "$KEEP_BOOT" ] || cp -r "$1/boot" "$KEEP_BOOT"
"""


class HostTest(unittest.TestCase):
    """A test with a directory of its own, fake programs in it, and a small file as the kernel."""

    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="neap-test-")
        self.addCleanup(self.scratch.cleanup)
        self.dir = Path(self.scratch.name)
        self.bin = self.dir / "bin"
        self.bin.mkdir()
        self.tmp = self.dir / "tmp"
        self.tmp.mkdir()
        for name in ("xorriso", "mformat"):
            self.program(name, "exit 0")
        self.program("grub-mkrescue", FAKE_MKRESCUE)
        self.kernel = self.file("kernel.elf")

    def program(self, name, text, shell="/bin/sh"):
        path = self.bin / name
        path.write_text(f"#!{shell}\n{text}\n")
        path.chmod(0o755)
        return path

    def file(self, name, data=b"x"):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def qemu(self, text, shell="/bin/sh"):
        """The emulator of this test is a script."""
        return self.program("fake-qemu", text, shell)

    def environment(self, **more):
        return {**os.environ, "PATH": f"{self.bin}:/usr/bin:/bin", "TMPDIR": str(self.tmp),
                "NEAP_QEMU": str(self.bin / "fake-qemu"), "COLUMNS": "100", **more}

    def neap(self, *args, stdin=subprocess.DEVNULL, env=None):
        """Run tools/neap to its end; nothing of it may be left."""
        result = subprocess.run([sys.executable, str(TOOLS / "neap"), *map(str, args)],
                                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment(**(env or {})), timeout=30)
        self.assertEqual(list(self.tmp.iterdir()), [], "temporary files were left")
        result.out = result.stdout.decode()
        result.err = result.stderr.decode()
        return result

    def run_batch(self, *args, **kwargs):
        return self.neap("run", "--batch", "--kernel", self.kernel, *args, **kwargs)
