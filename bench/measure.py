# SPDX-License-Identifier: BSD-2-Clause
"""Machines that are measured: always the release kernel, one CPU, TCG's SVM with nested paging."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from neaplib.qemu import qemu_command

ROOT = Path(__file__).resolve().parents[1]
CPU = "qemu64,+svm,+npt"
GUESTS = ROOT / "build/guests"
SECONDS = 120  # more than any run takes
MIB = 1 << 20

BENCH = re.compile(r"bench_events\| BENCH key=(\w+) value=(\d+) iterations=\d+ min=\d+ max=\d+")


class Trouble(Exception):
    """A figure could not be measured."""


def on_one_cpu(which=0):
    """What a process is to do before it starts: one of the host's processors for all of an emulator's
    threads, of which none interrupts another. So a disk request ends when the machine waits for
    it, as on a board, where disks are slower than processors, and the order is that of every run."""
    cpus = sorted(os.sched_getaffinity(0))

    def settle():
        os.sched_setaffinity(0, {cpus[which % len(cpus)]})
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return settle


def neap(*words, typed="", seconds=None, before=None):
    """What tools/neap prints, with @typed at its monitor, within @seconds of the host's. @before is
    called in the process before it starts."""
    try:
        result = subprocess.run([sys.executable, str(ROOT / "tools/neap"), *map(str, words)],
                                input=typed, stdout=subprocess.PIPE, text=True, errors="replace",
                                timeout=seconds, preexec_fn=before)
    except subprocess.TimeoutExpired:
        raise Trouble(f"tools/neap {' '.join(map(str, words))}: not done after {seconds} s"
                      ) from None
    if result.returncode:
        raise Trouble(f"tools/neap {' '.join(map(str, words))}: exit status {result.returncode}\n"
                      f"{result.stdout[-1000:]}")
    return result.stdout


def count_instructions(twice):
    """({key: instructions}, IPIs of the run). With @twice, two runs must not differ in anything."""
    runs = [neap("run", "--batch", "--icount", "--cpu", CPU, "--ram", "128M", "--swap", "none",
                 "--timeout", SECONDS, "--guest", f"{GUESTS}/bench_events.elf,mem=64M")
            for _ in range(2 if twice else 1)]
    if runs[0] != runs[-1]:
        pairs = [pair for pair in zip(*(run.splitlines() for run in runs)) if pair[0] != pair[1]]
        raise Trouble("two runs differ:\n" + "\n".join(f"  {a}\n  {b}" for a, b in pairs[:10]))
    ipis = re.search(r"^SUMMARY machine .* ipis=(\d+)", runs[0], re.MULTILINE)
    return {key: int(value) for key, value in BENCH.findall(runs[0])}, int(ipis[1])


def kept_from_guests():
    """MiB that a machine of 256 MiB does not give to guests, when the first starts."""
    out = neap("run", "--batch", "--cpu", CPU, "--ram", "256M", "--timeout", SECONDS,
               "--guest", f"{GUESTS}/hello.elf,mem=32M")
    return int(re.search(r"^SUMMARY machine .* overhead_kib=(\d+)", out, re.MULTILINE)[1]) / 1024


def machine(ram):
    """What tools/neap would ask of QEMU for a plain machine."""
    return SimpleNamespace(machine_ram=None, ram=ram, firmware="bios", smp=1, cpu=CPU, icount=False,
                           display="none", gdb=False)


def power_on(boots):
    """Seconds from the emulator's start to the first word of a guest; the best of @boots."""
    with tempfile.TemporaryDirectory(prefix="neap-bench-") as scratch:
        iso = Path(scratch) / "neap.iso"
        neap("iso", "-o", iso, "--guest", f"{GUESTS}/hello.elf,mem=32M", "--ram", "64M",
             "--kernel-args", "batch")
        return min(first_word(qemu_command(machine(64 * MIB), iso)) for _ in range(boots))


def first_word(command):
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as emulator:
        seen = b""
        while b"hello| " not in seen:
            data = emulator.stdout.read1(4096)
            if not data or time.monotonic() - started > SECONDS:
                emulator.kill()
                raise Trouble("the guest of the power-on row said nothing")
            seen += data
        seconds = time.monotonic() - started
        emulator.stdout.read()
    return seconds
