# SPDX-License-Identifier: BSD-2-Clause
"""Machines for tests: tools/neap with guests, and what it said, taken apart.

The formats are those of the design, "On the host: tools/neap", to the letter: scripts rely on them,
so a line that begins like one of them and does not fit fails whatever test sees it.
"""

import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Dict, List, Optional

from harness import Failure, expect

CPU = "qemu64,+svm,+npt"
TIMEOUT = 90  # a batch's: far more than any needs, even on a busy machine
BACKSTOP = 30  # what making the ISO, booting and ending may take beside

SUMMARY_VM = re.compile(
    r"SUMMARY vm=(?P<vm>[A-Za-z0-9._-]+) engine=(?P<engine>ept|npt|shadow)"
    r" status=(?P<status>exited|reset|poweroff|stopped|killed) code=(?P<code>\d+)"
    r" reason=(?P<reason>[a-z0-9-]+) mem_kib=(?P<mem_kib>\d+)"
    r" resident_kib=(?P<resident_kib>\d+) resident_max_kib=(?P<resident_max_kib>\d+)"
    r" faults=(?P<faults>\d+) swapin=(?P<swapin>\d+) swapout=(?P<swapout>\d+) zero=(?P<zero>\d+)")
SUMMARY_MACHINE = re.compile(
    r"SUMMARY machine ram_kib=(?P<ram_kib>\d+) overhead_kib=(?P<overhead_kib>\d+)"
    r" swap_kib=(?P<swap_kib>\d+) swap_used_max_kib=(?P<swap_used_max_kib>\d+)"
    r" scanned=(?P<scanned>\d+) reclaimed=(?P<reclaimed>\d+) flushes=(?P<flushes>\d+)"
    r" ipis=(?P<ipis>\d+)")
STAT = re.compile(r"STAT (vm=[A-Za-z0-9._-]+ )?[a-z_]+=\d+( [a-z_]+=\d+)*")
GUEST_LINE = re.compile(r"(?P<vm>[A-Za-z0-9._-]+)\| (?P<text>.*)")
REFUSED = re.compile(r"Neap: vm (?P<vm>\S+) refused: (?P<why>.+)")


@dataclass
class Guest:
    """One --guest of the command line."""
    image: str  # NAME of build/guests/NAME.elf, or a path
    name: str
    keys: Dict[str, str] = field(default_factory=dict)
    append: str = ""
    initrd: Optional[str] = None
    disk: Optional[str] = None

    def args(self):
        path = self.image if "/" in self.image else f"build/guests/{self.image}.elf"
        words = [path, f"vm={self.name}", *(f"{key}={value}" for key, value in self.keys.items())]
        return (["--guest", ",".join(words)] + (["--initrd", self.initrd] if self.initrd else []) +
                (["--guest-disk", self.disk] if self.disk else []) +
                (["--append", self.append] if self.append else []))


def guest(image, append="", name=None, initrd=None, **keys):
    return Guest(str(image), name or str(image), {key: str(keys[key]) for key in keys}, append,
                 initrd)


def neap_command(guests=(), *, ram="64M", smp=1, cpu=CPU, debug=True, kernel=None, firmware=None,
                 kernel_args="", swap="none", options=(), emulator=None):
    """The command line. @emulator is a program to run in QEMU's place."""
    command = ["env", f"NEAP_QEMU={emulator}"] if emulator else []
    command += ["tools/neap", "run", "--ram", ram, "--smp", str(smp), "--cpu", cpu, "--swap",
                str(swap)]
    if kernel:
        command += ["--kernel", kernel]
    elif debug:
        command += ["--debug"]
    if firmware:
        command += ["--firmware", firmware]
    if kernel_args:
        command += ["--kernel-args", kernel_args]
    command += options
    for one in guests:
        command += one.args()
    return command


@dataclass
class Line:
    at: float  # seconds since the command began
    text: str


class Run:
    """What a batch run said, and how it ended."""

    def __init__(self):
        self.lines: List[Line] = []
        self.status: Optional[int] = None
        self.told = False  # a panic was shown at length

    def find(self, pattern, start=0):
        """The first line that matches all of @pattern, or None."""
        return next((line for line in self.lines[start:] if re.fullmatch(pattern, line.text)), None)

    def all(self, pattern):
        return [line for line in self.lines if re.fullmatch(pattern, line.text)]

    def said(self, name):
        """What the guest @name printed."""
        matches = (GUEST_LINE.fullmatch(line.text) for line in self.lines)
        return [match["text"] for match in matches if match and match["vm"] == name]

    def summary_line(self, name):
        for line in self.lines:
            match = SUMMARY_VM.fullmatch(line.text)
            if match and match["vm"] == name:
                return line, match.groupdict()
        refused = [line.text for line in self.all(rf"Neap: vm {re.escape(name)} refused: .*")]
        raise Failure("\n".join([f"no SUMMARY line of vm {name}", *refused, *self.troubles()]))

    def ended_at(self, name):
        """Seconds from the command's start to the end of the guest @name; None: it did not."""
        return next((line.at for line in self.lines
                     if line.text.startswith(f"SUMMARY vm={name} ")), None)

    def summary(self, name):
        return self.summary_line(name)[1]

    @property
    def machine(self):
        """The machine's SUMMARY, as numbers."""
        for line in self.lines:
            match = SUMMARY_MACHINE.fullmatch(line.text)
            if match:
                return {key: int(value) for key, value in match.groupdict().items()}
        raise Failure("\n".join(["no SUMMARY line of the machine", *self.troubles()]))

    @property
    def stat(self):
        """The machine's STAT lines, as numbers."""
        found = (re.fullmatch(r"STAT ([a-z_]+)=(\d+)", line.text) for line in self.lines)
        return {match[1]: int(match[2]) for match in found if match}

    def troubles(self):
        """Lines that tell what went wrong, if anything did; of a panic, all of it once."""
        for number, line in enumerate(self.lines):
            if line.text.startswith("PANIC"):
                length, self.told = 1 if self.told else 16, True
                return [line.text for line in self.lines[number:number + length]]
        return [line.text for line in self.lines if line.text.startswith(("TIMEOUT", "neap: "))]

    def check_formats(self):
        formats = {"SUMMARY vm=": SUMMARY_VM, "SUMMARY machine": SUMMARY_MACHINE, "STAT": STAT}
        for line in self.lines:
            if line.text.startswith(("SUMMARY", "STAT")):
                form = next((formats[key] for key in formats if line.text.startswith(key)), None)
                expect(form and form.fullmatch(line.text), f"no such format: {line.text}")

    def expect_status(self, *wanted):
        expect(self.status in wanted, "\n".join(
            [f"tools/neap ended with {self.status} instead of {' or '.join(map(str, wanted))}",
             *self.troubles()]))

    def expect_end(self, name, status="exited", code=0, reason=None):
        """How the guest @name ended; returns its SUMMARY."""
        got = self.summary(name)
        good = (got["status"] == status and (code is None or int(got["code"]) == code) and
                (reason is None or got["reason"] == reason))
        failed = [text for text in self.said(name) if text.startswith(("FAIL:", "MISMATCH"))]
        stopped = [line.text for line in self.all(rf"Neap: vm {re.escape(name)} stopped: .*")]
        wanted = f"status={status} code={'any' if code is None else code}"
        wanted += f" reason={reason}" if reason else ""
        expect(good, "\n".join(
            [f"vm {name}: status={got['status']} code={got['code']} reason={got['reason']}"
             f" instead of {wanted}", *failed[:8], *stopped, *self.troubles()]))
        return got

    def expect_refused(self, name, pattern):
        """One line, and no more, says why the guest @name does not run."""
        lines = [line.text for line in self.all(rf"Neap: vm {re.escape(name)} refused: .*")]
        expect(len(lines) == 1, f"{len(lines)} lines instead of one refuse vm {name}: {lines}")
        expect(re.search(pattern, lines[0]), f"{lines[0]!r} does not say {pattern!r}")
        expect(not any(line.text.startswith(f"SUMMARY vm={name} ") for line in self.lines),
               f"vm {name} was refused, and has a SUMMARY")


def read_lines(stream, run, started, log):
    for line in stream:
        text = line.rstrip("\n")
        at = time.monotonic() - started
        run.lines.append(Line(at, text))
        log.write(f"{at:7.2f}  {text}\n")
        log.flush()


def boot(task, guests=(), *, timeout=TIMEOUT, options=(), **kwargs):
    """Run a machine in batch mode to its end. With `kernel_args="selftest=..."` and the like there
    is no SUMMARY; what must be there is for the caller to ask."""
    command = neap_command(guests, options=["--batch", "--timeout", str(timeout), *options],
                           **kwargs)
    run, started = Run(), time.monotonic()
    with open(task.log, "a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"$ {' '.join(map(repr_word, command))}\n")
        log.flush()
        child = task.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, encoding="utf-8", errors="backslashreplace")
        reader = threading.Thread(target=read_lines, args=(child.stdout, run, started, log))
        reader.start()
        try:
            run.status = child.wait(timeout + BACKSTOP)
        except subprocess.TimeoutExpired:
            child.terminate()  # it takes its emulator with it
            child.wait()
            raise Failure(f"tools/neap did not end within {timeout} + {BACKSTOP} s") from None
        finally:
            reader.join()
        log.write(f"exit status {run.status}\n")
    run.check_formats()
    return run


def repr_word(word):
    return repr(word) if " " in word else word
