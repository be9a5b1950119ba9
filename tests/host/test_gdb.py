# SPDX-License-Identifier: BSD-2-Clause
"""tools/gdb/neap.py reads the kernel's own structures."""

import shutil
import subprocess
import unittest

from support import HostTest, ROOT

CFLAGS = ["-std=gnu11", "-g", "-O1", "-fno-omit-frame-pointer", "-DNEAP_DEBUG=1",
          f"-I{ROOT}/kernel", f"-I{ROOT}"]


@unittest.skipUnless(shutil.which("gdb") and shutil.which("gcc"), "no gdb or no gcc")
class GdbTest(HostTest):
    def setUp(self):
        super().setUp()
        self.target = self.dir / "target"
        subprocess.run(["gcc", *CFLAGS, "-o", str(self.target),
                        str(ROOT / "tests/host/gdb/thread.c"),
                        str(ROOT / "kernel/sched/switch.S")], check=True)

    def gdb(self, *commands):
        """What gdb says to @commands once the target has stopped."""
        steps = ["set debuginfod enabled off", f"source {ROOT}/tools/gdb/neap.py",
                 "break look_here", "run", "echo >>>\\n", *commands]
        args = ["gdb", "-q", "-batch", "-nx"]
        for step in steps:
            args += ["-ex", step]
        result = subprocess.run([*args, str(self.target)], stdin=subprocess.DEVNULL, timeout=60,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if "ptrace" in result.stdout:
            self.skipTest("no process may be traced here")
        return result.stdout.partition(">>>\n")[2]

    def test_commands(self):
        out = self.gdb("neap-cpus", "neap-threads", "neap-vms", "neap-page 0", "neap-page 1",
                       "neap-page 2", "neap-page 3", "neap-page x y")
        for line in ("cpu 0: boot, preempt_count 2, irqs 0, flushes 0, holds ranks [7]",
                     "boot                 runnable  cpu 0 running",
                     "sleeper              sleeping  cpu 0  wait_inner + ",
                     "tide: running, mem 1024 KiB, anon 42 pages, secondary tables 0, (struct",
                     "  vcpu 0: rip 0x7c00 halted, outside, requests 0x0, last exit hlt, (struct",
                     "pfn 0x0 (phys 0x0): free, refcount 0, mapcount 0, flags buddy\n"
                     "  heads a free block of order 3\n",
                     "pfn 0x1 (phys 0x1000): guest, refcount 1, mapcount 1, flags anon dirty\n"
                     "  mm 5 maps it at hva 0x400000\n",
                     "  mm 2 maps it at hva 0x8000\n  mm 0 maps it at hva 0x1000\n",
                     "  mm 0 maps it at hva 0x7000\n",
                     "neap-page: there are 3 frames", "neap-page: give a frame number"):
            self.assertIn(line, out)

    def test_backtrace_of_a_waiting_thread_and_back(self):
        out = self.gdb("neap-bt sleeper", "echo ===\\n", "backtrace", "neap-bt boot",
                       "neap-bt nobody", "continue")
        first, _, second = out.partition("===\n")
        self.assertRegex(first, r"(?s)#0 .*wait_inner.*#1 .*wait_outer")
        self.assertRegex(second, r"(?s)#0 .*look_here.*#1 .*main")
        self.assertIn("boot is on cpu 0", second)
        self.assertIn("0 threads are named 'nobody'", second)
        self.assertIn("exited with code 07", second)
