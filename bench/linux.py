# SPDX-License-Identifier: BSD-2-Clause
"""What Debian's kernel costs as a guest, against the same kernel on QEMU's barest machine, and what it
makes Neap do: exits of a timer tick and of a byte of its console, work while it is idle, the time of
three that share too little memory. The guest's program `clock` tells (tests/guest_linux/clock.c)."""

import re
import statistics
import subprocess
import sys
import time

from measure import CPU, ROOT, Trouble, neap

KERNEL, INITRD = ROOT / "build/debian/vmlinuz", ROOT / "build/debian/initrd.gz"
BOOT = "console=ttyS0 quiet"
# Without a local APIC, and its one timer programmed once for all ticks, not for each.
OLD_TICKS = BOOT + " acpi=off nolapic noapic pci=off nohz=off highres=off work.end=reboot reboot=t"
STEPS = "now=1 spin=1 spin=3 print=2048 print=8192 sleep=10"
SECONDS = 300
CLOCK = re.compile(r"CLOCK step=(\w+) (.*?)\r?$", re.MULTILINE)
TIMES = 3  # by the clock


def make_guest():
    subprocess.run([sys.executable, str(ROOT / "tools/neap"), "debian"], check=True,
                   stdout=subprocess.DEVNULL)


def steps_of(text, nr):
    """[{field: value}] of the @nr steps that the guest told of."""
    found = [{name: int(value) for name, value in (word.split("=") for word in rest.split())}
             for _, rest in CLOCK.findall(text)]
    if len(found) != nr:
        raise Trouble(f"the guest told of {len(found)} steps instead of {nr}:\n{text[-1000:]}")
    return found


def guest_words(append, name="debian", mem="192M"):
    return ["--guest", f"{KERNEL},mem={mem},vm={name}", "--initrd", INITRD, "--append", append]


def on_neap(append, *more):
    return neap("run", "--batch", "--cpu", CPU, "--ram", "512M", "--swap", "none", *more,
                *guest_words(append), seconds=SECONDS)


def bare_command(append, *more):
    return ["qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", CPU, "-m", "192",
            "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", *more,
            "-kernel", str(KERNEL), "-initrd", str(INITRD), "-append", append]


def on_bare_machine(append, *more):
    result = subprocess.run(bare_command(append, *more), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True, errors="replace", timeout=SECONDS)
    return result.stdout


def added(steps, field):
    """What a field grew by in each step."""
    return [b[field] - a[field] for a, b in zip(steps, steps[1:])]


def more_of(steps, field, small, large):
    """What the larger of two like steps took more: what both do beside drops out."""
    grown = added(steps, field)
    return grown[large] - grown[small]


def exits_per_tick(steps):
    return round(more_of(steps, "exits", 0, 1) / more_of(steps, "ticks", 0, 1), 2)


def count():
    """The rows that are counted in instructions: {key: figure}."""
    make_guest()
    steps = steps_of(on_neap(f"{BOOT} -- clock {STEPS}", "--icount"), 6)
    old = steps_of(on_neap(f"{OLD_TICKS} -- clock {STEPS}", "--icount"), 6)
    boot = steps_of(on_neap(f"{BOOT} -- clock now=1", "--icount"), 1)[0]
    bare = steps_of(on_bare_machine(f"{BOOT} -- clock now=1", "-icount", "shift=0,sleep=off"), 1)[0]

    def busy(step):
        return step["age"] - step["idle_ms"] * 1000000
    return {
        "linux_boot": busy(boot) / busy(bare),
        "tick_lapic": exits_per_tick(steps),
        "tick_pit": exits_per_tick(old),
        "console_byte": round(more_of(steps, "exits", 2, 3) / (8192 - 2048), 2),
        "linux_idle": added(steps, "work")[4] / 10,
    }


# ---- by the clock ------------------------------------------------------------------------------


def seconds_between(command, first, last):
    """From the first line with @first, or the start, to that with @last."""
    started = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, errors="replace") as child:
        for line in child.stdout:
            if first and first in line:
                started, first = time.monotonic(), None
            if last in line:
                seconds = time.monotonic() - started
                child.stdout.read()
                return seconds
    raise Trouble(f"nothing said {last!r}")


def boot_seconds(bare):
    append = f"{BOOT} -- clock now=1"
    if bare:
        return seconds_between(bare_command(append), None, "CLOCK")
    command = [sys.executable, ROOT / "tools/neap", "run", "--batch", "--cpu", CPU, "--ram", "512M",
               "--swap", "none", *guest_words(append)]
    return seconds_between(command, "vm debian: linux", "CLOCK")


def three_guests(ram):
    """Seconds until three guests have ended that work on 40 MiB each of what they have."""
    words = [word for n in (1, 2, 3) for word in guest_words(
        f"{BOOT} work.mem=40M work.rounds=10 work.seed={n}", f"debian{n}")]
    command = [sys.executable, ROOT / "tools/neap", "run", "--batch", "--cpu", CPU, "--ram", ram,
               "--swap", "768M", *words]
    return seconds_between(command, "vm debian1: linux", "SUMMARY machine")


def by_the_clock():
    """{key: figure}, the medians of some runs."""
    make_guest()

    def ratio(of, to, measure):
        return (statistics.median(measure(of) for _ in range(TIMES)) /
                statistics.median(measure(to) for _ in range(TIMES)))
    return {"linux_wall": ratio(False, True, boot_seconds),
            "linux_overcommit": ratio("256M", "768M", three_guests)}
