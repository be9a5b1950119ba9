# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own kernel, unmodified: it boots with what the board says that it has and without, and
several share less memory than one believes to have. The guest is what `tools/neap debian` makes; its
workload fills its memory, and verifies every byte.

The long forms (`make stress`): pairs of kernel, number of vCPUs, kind of board and pressure; Debian's
stress-ng and memtester; and whether a guest's clock keeps time beside busy neighbours.

Machines have one CPU: under TCG a guest that restores its FPU state on another CPU can break CPU 0
(docs/design.md, "Emulators")."""

import re
import sys
from collections import namedtuple
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Job, expect
from machine import boot, guest
from terminal import Terminal

KERNEL, INITRD = "build/debian/vmlinuz", "build/debian/initrd.gz"
PLAIN = "console=ttyS0 quiet"
PIC_ONLY = ("console=ttyS0 earlyprintk=ttyS0 acpi=off nolapic noapic pci=off panic=-1 reboot=t"
            " work.end=reboot")
VERDICT = re.compile(r"VERDICT ok bytes_written=(\d+) bytes_verified=(\d+) mismatches=0")
SECONDS = 400  # far more than any needs, even on a busy machine


def build(task):
    status, out = task.output([sys.executable, "tools/neap", "debian"], timeout=300)
    expect(status == 0, out)


def debian(name, append, mem="192M", **keys):
    return guest(KERNEL, f"{append} work.rounds=1", name=name, initrd=INITRD, mem=mem, **keys)


def expect_verdict(result, name, **end):
    """@name ended as it must, and found all that it wrote; returns its SUMMARY and MiB verified."""
    got = result.expect_end(name, **end)
    found = VERDICT.search("\n".join(result.said(name)))
    expect(found, "\n".join([f"{name} gives no good verdict", *result.said(name)[-8:]]))
    return got, int(found[2]) >> 20


def alone(name, append, **end):
    def run(task):
        cpus = 2 if name == "two_vcpus" else 1
        result = boot(task, [debian("debian", append, cpus=cpus)], ram="512M", timeout=SECONDS)
        _, mib = expect_verdict(result, "debian", **end)
        return f"{mib} MiB verified"
    return Job(f"linux/{name}", run, ("build/debug", "build/linux"))


def overcommit(task):
    names = ("debian1", "debian2", "debian3")
    result = boot(task, [debian(name, PLAIN) for name in names], ram="256M", swap="768M",
                  timeout=SECONDS)
    for name in names:
        with task.case(f"linux/overcommit/{name}", result.ended_at(name)) as outcome:
            got, mib = expect_verdict(result, name, status="poweroff")
            expect(int(got["swapin"]) > 10000, f"only {got['swapin']} pages came back")
            outcome.note = f"{mib} MiB verified, {got['swapin']} pages came back"


def counters_agree(task):
    """The kernel finds nothing wrong with the time-stamp counters of its processors. Where time is
    counted: an emulator that others hold up makes them look bad."""
    cat = "busybox cat /sys/devices/system/clocksource/clocksource0/current_clocksource"
    one = guest(KERNEL, f"console=ttyS0 -- {cat}", name="debian", initrd=INITRD, mem="128M", cpus=2)
    result = boot(task, [one], ram="256M", options=("--icount",), timeout=SECONDS)
    result.expect_end("debian", status="poweroff")
    said = result.said("debian")
    expect(not any("unstable" in line or "ibration failed" in line for line in said),
           "\n".join(line for line in said if "tsc" in line.lower()))
    expect("tsc" in said, "its clock is not the time-stamp counter")


def refusals(task):
    """What cannot run is refused in one line that says what to do, and the others go on."""
    with TemporaryDirectory(prefix="neap-linux-") as scratch:
        kernel = bytearray(Path(task.settings.root / KERNEL).read_bytes())
        kernel[0x206:0x208] = b"\x0b\x02"  # boot protocol 2.11
        old, large = Path(scratch) / "old", Path(scratch) / "large"
        old.write_bytes(kernel)
        large.write_bytes(bytes(24 << 20))
        guests = [guest(KERNEL, PLAIN, name="little", initrd=INITRD, mem="48M"),
                  guest(KERNEL, PLAIN, name="crowded", initrd=str(large), mem="80M"),
                  guest(str(old), PLAIN, name="old", mem="96M"),
                  guest(KERNEL, PLAIN + " x" * 1020, name="wordy", initrd=INITRD, mem="96M"),
                  guest("hello")]
        result = boot(task, guests, ram="256M", timeout=60)
        for name, line in (("little", r"needs \d+ MiB to unpack itself: give the VM mem=\d+M"),
                           ("crowded", r"no room for its initrd of 24 MiB .*: give the VM mem=\d+M"),
                           ("old", r"protocol 2\.11"),
                           ("wordy", r"command line has \d+ bytes, this kernel takes \d+: shorten it")):
            with task.case(f"linux/refused_{name}"):
                result.expect_refused(name, line)
        with task.case("linux/refused_others_run"):
            result.expect_end("hello")
            result.expect_status(1)


def at_the_console(task):
    """An operator at a guest's shell, and back at the monitor."""
    shell = guest(KERNEL, "console=ttyS0 quiet rdinit=/bin/busybox -- sh", name="debian",
                  initrd=INITRD, mem="128M")
    with Terminal(task, [shell], ram="256M") as terminal:
        terminal.expect("can't access tty|~ #", SECONDS)
        terminal.send("console debian\n")
        terminal.expect("Ctrl-] leaves")
        terminal.send("echo $((6*7)) is it\r")
        terminal.expect("42 is it")
        terminal.send("\x1d")
        terminal.expect("Back at the monitor")
        terminal.send("vm debian kill\r")
        terminal.expect("SUMMARY vm=debian .*status=killed")


# ---- the long forms ----------------------------------------------------------------------------

STRESS_SECONDS = 180  # how long stress-ng works
NEW, TOOLS = "build/debian-6.12", "build/debian-stress"
Boot = namedtuple("Boot", "kernel cpus board pressed")
# Each value of one column meets each of every other; a board without APIC has one vCPU.
MATRIX = [
    Boot("6.1", 1, "acpi", False), Boot("6.1", 2, "acpi", True), Boot("6.1", 4, "acpi", False),
    Boot("6.1", 4, "acpi", True), Boot("6.1", 1, "pic", True), Boot("6.1", 1, "pic", False),
    Boot("6.12", 1, "acpi", True), Boot("6.12", 2, "acpi", False), Boot("6.12", 4, "acpi", True),
    Boot("6.12", 1, "pic", False), Boot("6.12", 1, "pic", True), Boot("6.1", 8, "acpi", False),
]


def make(directory, *options):
    def run(task):
        status, out = task.output([sys.executable, "tools/neap", "debian", "-o", directory,
                                   *options], timeout=600)
        expect(status == 0, out)
    return run


def of_matrix(one):
    """A guest alone; pressed, it may hold 1 / 2.25 of what it believes to have."""
    mib = {"6.1": 192, "6.12": 256}[one.kernel]
    where = {"6.1": "build/debian", "6.12": NEW}[one.kernel]
    end = {"status": "poweroff"} if one.board == "acpi" else {"status": "reset"}

    def run(task):
        keys = {"limit": f"{mib * 4 // 9}M"} if one.pressed else {}
        it = guest(f"{where}/vmlinuz", f"{PLAIN if one.board == 'acpi' else PIC_ONLY} work.rounds=2",
                   name="debian", initrd=f"{where}/initrd.gz", mem=f"{mib}M", cpus=one.cpus, **keys)
        result = boot(task, [it], ram="512M", swap="512M", timeout=4 * SECONDS)
        got, verified = expect_verdict(result, "debian", **end)
        expect(not one.pressed or int(got["swapin"]) > 10000, f"{got['swapin']} pages came back")
        return f"{verified} MiB verified, {got['swapin']} pages came back"
    name = f"{one.kernel}-{one.cpus}cpu-{one.board}-{'2.25x' if one.pressed else '1x'}"
    return Job(f"linux_matrix/{name}", run, ("build/debug", "build/linux", "build/linux-6.12"),
               stress=True)


def of_packages(task):
    """Three of 256 MiB in 256 MiB: stress-ng and memtester verify, the third fills all it has."""
    def one(name, append):
        return guest(f"{TOOLS}/vmlinuz", append, name=name, initrd=f"{TOOLS}/initrd.gz", mem="256M")
    programs = {
        "stress-ng": "stress-ng --vm 2 --vm-bytes 60% --vm-method all --verify"
                     f" --timeout {STRESS_SECONDS}s --oomable",
        "memtester": "memtester 96M 1",
    }
    result = boot(task, [*(one(name, f"{PLAIN} -- {words}") for name, words in programs.items()),
                         one("work", f"{PLAIN} work.rounds=4")],
                  ram="256M", swap="1G", timeout=20 * STRESS_SECONDS)
    for name in programs:
        with task.case(f"linux_packages/{name}", result.ended_at(name)) as outcome:
            got = result.expect_end(name, status="poweroff")
            said = result.said(name)
            expect(any(f"init: {name} ended with code 0" in line for line in said),
                   "\n".join([f"{name} did not end with code 0", *said[-12:]]))
            expect(int(got["swapin"]) > 10000, f"only {got['swapin']} pages came back")
            outcome.note = f"{got['swapin']} pages came back"
    with task.case("linux_packages/work", result.ended_at("work")) as outcome:
        got, verified = expect_verdict(result, "work", status="poweroff")
        outcome.note = f"{verified} MiB verified, {got['swapin']} pages came back"


MAY_DRIFT = 0.001
WATCH_SECONDS = 60


def clock_keeps_time(task):
    """The guest says what time it is ten times a second. A line may come late, but none comes early:
    the earliest of the first and of the last seconds tell how far the clocks went apart."""
    watcher = guest(KERNEL, f"{PLAIN} -- clock watch={WATCH_SECONDS}", name="clock", initrd=INITRD,
                    mem="192M")
    busy = [debian(name, f"{PLAIN} work.seed={seed}", **{}) for seed, name in enumerate(
        ("debian1", "debian2"))]
    for one in busy:
        one.append = one.append.replace("work.rounds=1", "work.rounds=1000")
    result = boot(task, [watcher, *busy], ram="256M", swap="768M", timeout=WATCH_SECONDS + 90)
    pairs = [(line.at, int(found[1]) / 1e9) for line in result.lines
             for found in [re.match(r"clock\| CLOCK now_ns=(\d+)", line.text)] if found]
    expect(len(pairs) > 5 * WATCH_SECONDS, f"only {len(pairs)} lines with the time")
    swapins = re.compile(r"SUMMARY vm=debian1 .* swapin=(\d+)")
    found = next((match for line in result.lines for match in [swapins.match(line.text)] if match), None)
    expect(found and int(found[1]) > 10000, "the neighbours did not swap")

    def apart(part):
        return min(at - now for at, now in part)
    tenth = len(pairs) // 6
    seconds = pairs[-1][0] - pairs[0][0]
    drift = (apart(pairs[-tenth:]) - apart(pairs[:tenth])) / seconds
    expect(abs(drift) <= MAY_DRIFT, f"{drift:+.3%} in {seconds:.0f} s")
    return f"{drift:+.3%} in {seconds:.0f} s"


def long_jobs():
    needs = ("build/debug", "build/linux")
    return [
        Job("build/linux-6.12", make(NEW, "--kernel", "6.12.*"), alone=True, stress=True),
        Job("build/linux-stress", make(TOOLS, "--add", "stress-ng", "--add", "memtester"), alone=True,
            stress=True),
        *map(of_matrix, MATRIX),
        Job("linux_packages", of_packages, ("build/debug", "build/linux-stress"), stress=True,
            cases=tuple(f"linux_packages/{name}" for name in ("stress-ng", "memtester", "work"))),
        Job("linux_clock", clock_keeps_time, needs, alone=True, stress=True),
    ]


def jobs(settings):
    return [
        Job("build/linux", build, alone=True),
        alone("acpi", PLAIN, status="poweroff", reason="acpi-s5"),
        alone("two_vcpus", PLAIN, status="poweroff", reason="acpi-s5"),
        alone("pic_only", PIC_ONLY, status="reset"),
        Job("linux/refused", refusals, ("build/debug", "build/linux", "build/guests"),
            cases=tuple(f"linux/refused_{name}"
                        for name in ("little", "crowded", "old", "wordy", "others_run"))),
        Job("linux/counters", counters_agree, ("build/debug", "build/linux")),
        Job("linux/console", at_the_console, ("build/debug", "build/linux")),
        Job("linux/overcommit", overcommit, ("build/debug", "build/linux"),
            cases=tuple(f"linux/overcommit/debian{i}" for i in (1, 2, 3))),
    ] + long_jobs()
