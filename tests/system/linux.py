# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own kernel, unmodified: it boots with what the board says that it has and without, and
several share less memory than one believes to have. The guest is what `tools/neap debian` makes; its
workload fills its memory, and verifies every byte."""

import re
import sys

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


def jobs(settings):
    return [
        Job("build/linux", build, alone=True),
        alone("acpi", PLAIN, status="poweroff", reason="acpi-s5"),
        alone("two_vcpus", PLAIN, status="poweroff", reason="acpi-s5"),
        alone("pic_only", PIC_ONLY, status="reset"),
        Job("linux/console", at_the_console, ("build/debug", "build/linux")),
        Job("linux/overcommit", overcommit, ("build/debug", "build/linux"),
            cases=tuple(f"linux/overcommit/debian{i}" for i in (1, 2, 3))),
    ]
