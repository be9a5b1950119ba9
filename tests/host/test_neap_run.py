# SPDX-License-Identifier: BSD-2-Clause
"""Runs of tools/neap with a script for an emulator: exit statuses, output, input, ends."""

import os
import pty
import signal
import subprocess
import sys
import time
import unittest

from support import HostTest, TOOLS

BANNER = "Neap 0.1 on 1 CPU\r\n"
ENDED = "SUMMARY vm={} engine=npt status={} code={} reason=exit mem_kib=1024 zero=0\r\n"
MACHINE = "SUMMARY machine ram_kib=65536 overhead_kib=4096 flushes=0 ipis=0\r\n"
A_ENDED = ENDED.format("a", "exited", 0)


class VerdictTest(HostTest):
    """The exit status of a batch, from recorded serial lines and the emulator's own status."""

    def status(self, text, emulator_status, *args):
        file = self.file("serial", text.encode())
        self.qemu(f"cat '{file}'\nexit {emulator_status}")
        return self.run_batch(*args)

    def test_all_ended_well(self):
        for word in ("exited", "reset", "poweroff"):
            result = self.status(BANNER + ENDED.format("a", word, 0) + MACHINE, 33)
            self.assertEqual((result.returncode, result.err), (0, ""))

    def test_exit_port_missing_but_summaries_complete(self):
        self.assertEqual(self.status(BANNER + A_ENDED + MACHINE, 0).returncode, 0)

    def test_a_guest_failed(self):
        for word, code in (("exited", 3), ("killed", 0), ("stopped", 0), ("stopped", 255)):
            text = BANNER + A_ENDED + ENDED.format("b", word, code) + MACHINE
            self.assertEqual(self.status(text, 33).returncode, 1, word)
        self.assertEqual(self.status(BANNER, 35).returncode, 1)

    def test_a_guest_was_refused(self):
        text = BANNER + "Neap: vm b refused: unknown key shade\r\n" + A_ENDED + MACHINE
        self.assertEqual(self.status(text, 33).returncode, 1)

    def test_panic(self):
        for text, status in ((BANNER + A_ENDED + "PANIC at mm/page.c:7\r\n", 33), (BANNER, 37)):
            self.assertEqual(self.status(text, status).returncode, 3)

    def test_neap_reached_its_own_timeout(self):
        text = BANNER + "TIMEOUT after 5 s\r\n" + ENDED.format("a", "killed", 0) + MACHINE
        self.assertEqual(self.status(text, 35, "--timeout", "5").returncode, 124)

    def test_guests_cannot_forge_a_verdict(self):
        text = BANNER + "a| PANIC\r\na| SUMMARY vm=b status=killed code=1\r\n" + A_ENDED + MACHINE
        self.assertEqual(self.status(text, 33).returncode, 0)

    def test_lines_that_come_while_somebody_types(self):
        for erase in ("\r\x1b[K", "\r\x1b[7A\x1b[J"):
            text = BANNER + "neap> qui" + erase + ENDED.format("a", "exited", 1) + MACHINE
            self.assertEqual(self.status(text, 0).returncode, 1)

    def test_no_verdict(self):
        for text, status in (("", 1), (BANNER, 0), (BANNER + A_ENDED, 0)):
            result = self.status(text, status)
            self.assertEqual(result.returncode, 3)
            self.assertIn(f"the emulator ended with status {status}", result.err)

    def test_emulator_killed(self):
        self.qemu("kill -9 $$")
        result = self.run_batch()
        self.assertEqual(result.returncode, 3)
        self.assertIn("by signal 9", result.err)

    def test_damaged_lines_do_no_harm(self):
        text = BANNER + "SUMMARY vm=\r\nSUMMARY vm=x code\r\nTIMEOUT after\r\n\xff\x00\r\n"
        self.assertEqual(self.status(text, 33).returncode, 1)


class OutputTest(HostTest):
    def test_begins_with_neap_and_ends_lines_as_unix_does(self):
        self.qemu(r"printf '\033[2J\033[01;01HBdsDxe: loading\r\n\033[0mWelcome to GRUB!\r\n\r'"
                  r"; printf '\033[37m\033[40mNeap 0.1\r'; sleep 0.1"
                  r"; printf '\na| x\ry\r\n'; exit 33")
        log = self.dir / "log"
        result = self.run_batch("--log", log)
        self.assertEqual(result.stdout, b"Neap 0.1\na| x\ry\n")
        self.assertEqual(log.read_bytes(), result.stdout)

    def test_what_came_instead_of_neap_is_shown(self):
        self.qemu(r"printf '\033[2JNo bootable device.\r\n'; exit 1")
        result = self.run_batch()
        self.assertEqual((result.returncode, result.out), (3, "No bootable device.\n"))

    def test_grub_could_not_load_a_guest(self):
        self.qemu(r"printf '\033[H\n\rNeap: GRUB could not load guest1\r\n'; exit 37")
        result = self.run_batch()
        self.assertEqual((result.returncode, result.out), (3, "Neap: GRUB could not load guest1\n"))

    def test_log_that_cannot_be_written(self):
        self.qemu("exit 33")
        result = self.run_batch("--log", "/nowhere/log")
        self.assertEqual(result.returncode, 2)
        self.assertIn("--log /nowhere/log", result.err)

    def test_reader_that_goes_away(self):
        self.qemu("echo 'Neap 0.1'; exec yes")
        command = f"'{TOOLS}/neap' run --batch --kernel '{self.kernel}' | head -1"
        result = subprocess.run(command, shell=True, env=self.environment(), timeout=20,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((result.stdout, result.stderr), (b"Neap 0.1\n", b""))

    def test_input_waits_until_neap_listens(self):
        self.qemu("if read -t 0.3 line; then echo 'Neap: too early'; fi\n"
                  "echo 'Neap 0.1'; read line; echo \"read $line\"; exit 33", shell="/bin/bash")
        with open(self.file("input", b"help\n")) as stdin:
            result = self.neap("run", "--kernel", self.kernel, stdin=stdin)
        self.assertEqual((result.returncode, result.out), (0, "Neap 0.1\nread help\n"))

    def test_batch_takes_no_input(self):
        self.qemu("echo 'Neap 0.1'; read -t 0.3 line && echo \"read $line\"; exit 33",
                  shell="/bin/bash")
        with open(self.file("input", b"help\n")) as stdin:
            self.assertEqual(self.run_batch(stdin=stdin).out, "Neap 0.1\n")


class EndTest(HostTest):
    """However a run ends, the emulator and the temporary directory are gone."""

    SLEEPER = "echo $$ > '{dir}/pid'\necho 'Neap 0.1'\nexec sleep 60"

    def assert_emulator_is_gone(self):
        with self.assertRaises(ProcessLookupError):
            os.kill(int((self.dir / "pid").read_text()), 0)
        self.assertEqual(list(self.tmp.iterdir()), [])

    def test_timeout(self):
        self.qemu(self.SLEEPER.format(dir=self.dir))
        result = self.neap("run", "--kernel", self.kernel, "--timeout", "1")
        self.assertEqual((result.returncode, result.err), (124, "neap: timeout after 1 s\n"))
        self.assert_emulator_is_gone()

    def test_emulator_that_does_not_listen(self):
        self.qemu("trap '' TERM\necho $$ > '%s/pid'\nwhile :; do sleep 0.1; done" % self.dir)
        result = self.neap("run", "--kernel", self.kernel, "--timeout", "1")
        self.assertEqual(result.returncode, 124)
        self.assert_emulator_is_gone()

    def test_panic_that_hangs_is_a_panic(self):
        self.qemu("echo 'Neap 0.1'; echo 'PANIC: it hangs'; exec sleep 60")
        self.assertEqual(self.neap("run", "--kernel", self.kernel, "--timeout", "1").returncode, 3)

    def test_signals(self):
        self.qemu(self.SLEEPER.format(dir=self.dir))
        for signum in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen([sys.executable, str(TOOLS / "neap"), "run", "--batch",
                                        "--kernel", str(self.kernel)], env=self.environment(),
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(process.stdout.readline(), b"Neap 0.1\n")
            process.send_signal(signum)
            _, err = process.communicate(timeout=20)
            self.assertEqual((process.returncode, err), (128 + signum, b""))
            self.assert_emulator_is_gone()


class TerminalTest(HostTest):
    """A person at a terminal: raw keys, Ctrl-A x, and the terminal as it was."""

    # Repeats what it gets in hexadecimal, one line a byte, until the letter q.
    ECHO = ("import os, sys\n"
            "os.write(1, b'Neap 0.1\\r\\n')\n"
            "while True:\n"
            "    byte = os.read(0, 1)\n"
            "    os.write(1, b'<%s>' % byte.hex().encode())\n"
            "    if byte == b'q':\n"
            "        sys.exit(33)\n")

    def session(self, keys, *args):
        """(exit status, all output) of a run whose operator types @keys once Neap is up."""
        self.qemu(self.ECHO, shell=sys.executable)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(sys.executable, [sys.executable, str(TOOLS / "neap"), "run", "--kernel",
                                       str(self.kernel), *args], self.environment())
        out, typed = b"", False
        while True:
            try:
                data = os.read(terminal, 1000)
            except OSError:  # the last holder of the terminal has gone
                break
            if not data:
                break
            out += data
            if b"Neap 0.1\r\n" in out and not typed:
                os.write(terminal, keys)
                typed = True
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        self.assertEqual(list(self.tmp.iterdir()), [])
        return os.waitstatus_to_exitcode(status), out

    def test_keys_go_to_neap(self):
        status, out = self.session(b"\x03\x04\x1a\x1b[A\x01a\x01\x01\x01bq")
        self.assertEqual(status, 0)
        self.assertEqual(out, b"Neap 0.1\r\n<03><04><1a><1b><5b><41><01><01><01><62><71>")

    def test_ctrl_a_x_ends_the_run(self):
        log = self.dir / "log"
        status, out = self.session(b"\x01x", "--log", str(log))
        self.assertEqual((status, out), (0, b"Neap 0.1\r\n\r\n"))
        self.assertEqual(log.read_bytes(), b"Neap 0.1\r\n")

    def test_terminal_is_put_back(self):
        self.qemu(self.ECHO, shell=sys.executable)
        script = ("before=$(stty -g); '%s' '%s/neap' run --kernel '%s'; after=$(stty -g);"
                  " [ \"$before\" = \"$after\" ] && echo same"
                  % (sys.executable, TOOLS, self.kernel))
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve("/bin/sh", ["sh", "-c", script], self.environment())
        out, deadline = b"", time.monotonic() + 20
        while b"same" not in out and time.monotonic() < deadline:
            try:
                data = os.read(terminal, 1000)
            except OSError:
                break
            out += data
            if b"Neap 0.1" in data:
                os.write(terminal, b"q")
        os.waitpid(pid, 0)
        os.close(terminal)
        self.assertIn(b"same", out)


if __name__ == "__main__":
    unittest.main()
