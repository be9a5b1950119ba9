# SPDX-License-Identifier: BSD-2-Clause
"""tools/deps, with programs that only say what they were called with."""

import shutil
import subprocess

from support import HostTest, TOOLS


class DepsTest(HostTest):
    def setUp(self):
        super().setUp()
        for path in list(self.bin.iterdir()):
            path.unlink()
        for name in ("cat", "touch"):
            (self.bin / name).symlink_to(shutil.which(name))
        self.user(0)

    def user(self, uid):
        self.program("id", f"echo {uid}")

    def apt(self, knows_packages=True):
        """An apt that notes its command lines and installs gdb."""
        self.program("apt-get", f"echo \"apt-get $*\" >> '{self.dir}/calls'\n"
                                f"case $1 in install) touch '{self.bin}/gdb'; "
                                f"/bin/chmod +x '{self.bin}/gdb' ;; esac")
        self.program("apt-cache", "echo Package: x" if knows_packages else "exit 100")
        self.program("sudo", f"echo \"sudo $*\" >> '{self.dir}/calls'; \"$@\"")

    def deps(self, *groups, **env):
        return subprocess.run(["/bin/bash", str(TOOLS / "deps"), *groups],
                              env={"PATH": str(self.bin), **env}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def calls(self):
        file = self.dir / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def test_all_there_is_silent(self):
        self.apt()
        self.program("gdb", "")
        result = self.deps("debug")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(self.calls(), [])

    def test_deps_no(self):
        self.apt()
        result = self.deps("build", "run", "test", "debug", DEPS="no")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.assertEqual(self.calls(), [])

    def test_root_without_terminal_goes_ahead(self):
        self.apt()
        result = self.deps("debug")
        line = "apt-get install -y --no-install-recommends gdb"
        self.assertEqual((result.returncode, result.stdout), (0, f"Neap needs: {line}\n"))
        self.assertEqual(self.calls(), [line])

    def test_unknown_package_means_update_first(self):
        self.apt(knows_packages=False)
        self.assertEqual(self.deps("debug").returncode, 0)
        self.assertEqual([call.split()[1] for call in self.calls()], ["update", "install"])

    def test_user_without_terminal_is_told_and_nothing_runs(self):
        self.apt()
        self.user(1000)
        result = self.deps("debug")
        self.assertEqual(result.returncode, 1)
        self.assertIn("sudo apt-get install -y --no-install-recommends gdb", result.stdout)
        self.assertEqual(self.calls(), [])

    def test_install_that_brings_nothing(self):
        self.apt()
        self.program("apt-get", "exit 0")
        result = self.deps("debug")
        self.assertEqual(result.returncode, 1)
        self.assertIn("Still missing: gdb", result.stderr)

    def test_not_debian(self):
        result = self.deps("debug")
        self.assertEqual(result.returncode, 1)
        self.assertIn("please install them: gdb", result.stderr)

    def test_default_groups(self):
        result = self.deps()
        for name in ("gcc", "make", "qemu-system-x86_64", "grub-mkrescue", "xorriso", "mformat"):
            self.assertIn(name, result.stderr)
        self.assertNotIn("clang", result.stderr)
        self.assertNotIn("gdb", result.stderr)

    def test_usage(self):
        self.assertEqual(self.deps("everything").returncode, 2)
        self.assertEqual(self.deps("--help").returncode, 0)
