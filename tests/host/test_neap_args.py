# SPDX-License-Identifier: BSD-2-Clause
"""The command line of tools/neap: what is refused, and what --dry-run says would be done."""

import shlex

from support import HostTest

from neaplib.args import parse_args
from neaplib.errors import NeapError


class UsageTest(HostTest):
    def run_refused(self, *args):
        with self.assertRaises(NeapError, msg=args) as caught:
            parse_args(["run", "--kernel", str(self.kernel), *map(str, args)])
        self.assertEqual(caught.exception.status, 2)
        return str(caught.exception)

    def test_a_mistake_is_one_line_and_status_2(self):
        for args in (["run", "--ram", "12Q"], ["run", "--frobnicate"], ["walk"], ["iso"],
                     ["run", "--kernel", "/nowhere"]):
            result = self.neap(*args)
            self.assertEqual((result.returncode, result.out), (2, ""), args)
            self.assertRegex(result.err, r"\Aneap: [^\n]+\n\Z")

    def test_mistakes(self):
        for args in (["--frobnicate"], ["--ram", "12Q"], ["--ram", "64"], ["--smp", "0"],
                     ["--smp", "x"], ["--timeout", "-1"], ["--timeout", "1.5"],
                     ["--engine", "fast"], ["--guest", "/nowhere"], ["--guest"],
                     ["--machine-ram", "1Q"], ["--ram", "1G", "--machine-ram", "512M"],
                     ["--firmware", "coreboot"], ["--initrd", self.kernel], ["--append", "x"],
                     ["--guest-disk", self.kernel],
                     ["--kernel-args", "a\nb"], ["--gue", "x"], ["stray"],
                     ["--icount", "--cpu", "host"]):
            self.run_refused(*args)

    def test_guest_options_once_and_after_their_guest(self):
        guest = ["--guest", self.kernel]
        self.assertIn("before the first", self.run_refused("--append", "x", *guest))
        self.assertIn("twice", self.run_refused(*guest, "--append", "x", "--append", "y"))
        self.assertIn("no such file", self.run_refused(*guest, "--initrd", "/nowhere"))
        self.assertIn("no such file", self.run_refused(*guest, "--guest-disk", "/nowhere"))
        self.assertIn("empty", self.run_refused(*guest, "--guest-disk", self.file("empty", b"")))
        self.assertIn("twice", self.run_refused(*guest, "--guest-disk", self.kernel,
                                                "--guest-disk", self.kernel))
        self.assertIn("control", self.run_refused(*guest, "--append", "a\nb"))

    def test_later_versions(self):
        for args, version in ((["--emulator", "bochs"], "0.5 (Intel)"),
                              (["--cpu", "Skylake-Client"], "0.5 (Intel)"),
                              (["--cpu", "max,+vmx"], "0.5 (Intel)"),
                              (["--engine", "shadow"], "0.4 (shadow paging)"),
                              (["--disk", "nvme"], "0.6 (bare boards)"),
                              (["--disk", "ahci"], "0.6 (bare boards)"),
                              (["--disk", "ata"], "0.6 (bare boards)")):
            self.assertIn(f"comes with Neap {version}", self.run_refused(*args))

    def test_no_command(self):
        result = self.neap()
        self.assertEqual(result.returncode, 2)
        self.assertIn("commands:", result.err)

    def test_help_and_version(self):
        self.assertEqual(self.neap("--version").out, "Neap 0.1\n")
        for args in (["--help"], ["run", "--help"], ["iso", "--help"]):
            result = self.neap(*args)
            self.assertEqual((result.returncode, result.err), (0, ""))
            self.assertLessEqual(max(map(len, result.out.splitlines())), 100)

    def test_missing_programs(self):
        (self.bin / "grub-mkrescue").unlink()
        result = self.neap("run", "--kernel", self.kernel,
                           env={"PATH": str(self.bin), "NEAP_QEMU": "qemu-system-x86_64"})
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.err, r"qemu-system-x86_64: not found \(apt-get install \S+\)")
        self.qemu("exit 33")
        result = self.neap("run", "--kernel", self.kernel, env={"PATH": str(self.bin)})
        self.assertEqual(result.returncode, 2)
        self.assertIn("apt-get install grub-common", result.err)


class DryRunTest(HostTest):
    def dry_run(self, *args, command="run"):
        """(grub.cfg, words of the emulator's command line)"""
        result = self.neap(command, "--dry-run", "--kernel", self.kernel, *args)
        self.assertEqual((result.returncode, result.err), (0, ""))
        cfg, _, command = result.out.rstrip("\n").rpartition("\n")
        return cfg, shlex.split(command)

    def after(self, words, option):
        return words[words.index(option) + 1]

    def test_defaults(self):
        cfg, words = self.dry_run()
        self.assertIn("multiboot2 /boot/neap.elf 'ram=64M' 'mmu=auto';", cfg)
        self.assertNotIn("module2", cfg)
        self.assertNotIn("@", cfg.replace("tools/neap fills in what stands between @ signs", ""))
        self.assertEqual(self.after(words, "-m"), "64M")
        self.assertEqual(self.after(words, "-smp"), "1")
        self.assertEqual(self.after(words, "-display"), "none")
        self.assertNotIn("-icount", words)

    def test_guest_lines_in_grub_cfg(self):
        cfg, _ = self.dry_run("--guest", f"{self.kernel},mem=32M", "--append", "it's $x @SCREEN@",
                              "--guest", self.kernel, "--initrd", self.file("initrd"),
                              "--guest-disk", self.file("root.img"), "--disk", "virtio")
        self.assertIn("module2 /boot/guest1 'vm=kernel' 'mem=32M' '--' 'it'\\''s' '$x' '@SCREEN@';",
                      cfg)
        self.assertIn("module2 /boot/guest2 'vm=kernel-2' 'image=kernel';", cfg)
        self.assertIn("module2 /boot/initrd2 'initrd=kernel-2' '--' 'initrd';", cfg)
        self.assertIn("module2 /boot/disk2 'disk=kernel-2';", cfg)
        self.assertNotIn("/boot/disk1", cfg)

    def test_kernel_arguments(self):
        cfg, _ = self.dry_run("--batch", "--timeout", "9", "--ram", "48M", "--engine", "tdp",
                              "--screen", "fb", "--kernel-args", "a  b")
        self.assertIn(" 'ram=48M' 'mmu=tdp' 'batch' 'timeout=9' 'a' '' 'b';", cfg)
        self.assertIn("-o fb = fb", cfg)

    def test_timeout_is_for_the_kernel_in_batch_mode_only(self):
        self.assertNotIn("timeout=9", self.dry_run("--timeout", "9")[0])

    def test_memory_of_the_machine(self):
        for args, size in ((["--ram", "16M"], "64M"), (["--ram", "100M"], "100M"),
                           (["--ram", "65537K"], "65M"), (["--machine-ram", "1G"], "1G"),
                           (["--firmware", "uefi"], "256M")):
            self.assertEqual(self.after(self.dry_run(*args)[1], "-m"), size, args)

    def test_processor(self):
        _, words = self.dry_run("--cpu", "qemu64,-svm", "--smp", "4", "--icount")
        self.assertEqual(self.after(words, "-accel"), "tcg")
        self.assertEqual(self.after(words, "-cpu"), "qemu64,-svm")
        self.assertEqual(self.after(words, "-smp"), "4")
        self.assertEqual(self.after(words, "-icount"), "shift=0,sleep=off")
        self.assertEqual(self.after(self.dry_run("--cpu", "host")[1], "-accel"), "kvm")

    def test_window_and_debugger(self):
        _, words = self.dry_run("--display", "gtk", "--gdb")
        self.assertEqual(self.after(words, "-display"), "gtk")
        self.assertEqual(self.after(words, "-gdb"), "tcp:127.0.0.1:1234")

    def test_nothing_is_started(self):
        self.qemu("touch '%s/started'" % self.dir)
        self.dry_run()
        self.assertFalse((self.dir / "started").exists())


class IsoTest(HostTest):
    def test_iso_is_made_and_carries_each_file_once(self):
        guest = self.file("guest.elf", b"guest")
        out, boot = self.dir / "out.iso", self.dir / "boot"
        result = self.neap("iso", "-o", out, "--kernel", self.kernel, "--guest", guest,
                           "--guest", guest, "--initrd", self.file("initrd", b"initrd"),
                           "--guest-disk", self.file("root.img", b"disk"),
                           env={"KEEP_BOOT": str(boot)})
        self.assertEqual((result.returncode, result.out, result.err), (0, "", ""))
        self.assertIn("multiboot2 /boot/neap.elf 'mmu=auto';", out.read_text())
        self.assertEqual({path.name: path.read_bytes() for path in boot.iterdir()
                          if path.is_file()},
                         {"neap.elf": b"x", "guest1": b"guest", "guest2": b"\n",
                          "initrd2": b"initrd", "disk2": b"disk"})

    def test_failure_tells_why(self):
        self.program("grub-mkrescue", "echo 'xorriso : FAILURE : the disk is full'; exit 1")
        result = self.neap("iso", "-o", self.dir / "out.iso", "--kernel", self.kernel)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.err, "neap: grub-mkrescue failed: the disk is full\n")
