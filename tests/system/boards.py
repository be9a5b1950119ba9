# SPDX-License-Identifier: BSD-2-Clause
"""Machines of several kinds, each with the same few guests: firmware, processors, screens, sizes,
compilers. What has no line here runs on BIOS with qemu64,+svm,+npt and one to four CPUs."""

import re

from harness import Job, expect
from machine import boot, guest

GUESTS = [guest("hello", mem="8M"), guest("hello_raw64", mem="8M"), guest("hello_low", mem="8M"),
          guest("memory", mem="8M")]


def board(smp=1, says=(), needs=(), guests=GUESTS, **machine):
    def run(task):
        cpus = task.settings.cpus(smp)
        result = boot(task, guests, smp=cpus, **{"ram": "96M", **machine})
        for one in guests:
            result.expect_end(one.name)
        result.expect_status(0)
        plural = "s" if cpus > 1 else ""
        for pattern in (rf"Neap \d+\.\d+: {cpus} CPU{plural}, \d+ MiB RAM, svm with npt", *says):
            expect(result.find(pattern), f"no line says {pattern!r}")
    return run


def screen(task):
    """With a framebuffer the serial line says the same."""
    result = boot(task, [GUESTS[0]], options=("--screen", "fb"), ram="64M")
    result.expect_end("hello")
    result.expect_status(0)


def exact_clock(task):
    """With instructions as time, two runs print the same to the byte."""
    outputs = []
    for _ in range(2):
        result = boot(task, [guest("bench_events", "iterations=100", mem="64M")], ram="96M",
                      options=("--icount",))
        result.expect_end("bench_events")
        outputs.append([line.text for line in result.lines])
    different = [pair for pair in zip(*outputs) if pair[0] != pair[1]]
    expect(outputs[0] == outputs[1], "\n".join(["two runs differ", *map(str, different[:5])]))


def little_memory(task):
    """16 MiB for everything is enough for a guest that believes in more than there is."""
    result = boot(task, [guest("hello", mem="16M"), guest("memory", "mem=4M", mem="12M")],
                  ram="16M")
    for name in ("hello", "memory"):
        result.expect_end(name)
    expect(result.machine["ram_kib"] <= 16 * 1024, f"{result.machine}")
    result.expect_status(0)


def many_modules(task):
    """As many guests as there may be, four vCPUs each at times."""
    many = [guest("hello", name=f"g{n}", mem="4M", cpus=n % 4 + 1) for n in range(32)]
    result = boot(task, many, ram="96M", smp=task.settings.cpus(2))
    for one in many:
        result.expect_end(one.name)
    result.expect_status(0)
    expect(result.stat["vms_good"] == len(many), f"{result.stat}")


def too_many_modules(task):
    """Guests beyond the most that fit are named in a line, not forgotten."""
    many = [guest("hello", name=f"g{n}", mem="4M") for n in range(34)]
    result = boot(task, many, ram="96M", smp=task.settings.cpus(2))
    expect(result.find(r"Neap: 2 modules or memory entries too many: 32 modules are used"),
           "no line tells of the two that do not fit")
    ended = [line for line in result.lines if re.match(r"SUMMARY vm=g\d+ .*code=0 ", line.text)]
    expect(len(ended) == 32, f"{len(ended)} guests ended well")
    result.expect_status(1)


def jobs(settings):
    needs = ("build/debug", "build/guests")
    release = ("build/release", "build/guests")
    return [
        Job("board/bios", board(), needs),
        Job("board/uefi", board(firmware="uefi"), needs, quick=True),
        Job("board/uefi_smp", board(smp=4, firmware="uefi"), needs),
        Job("board/cpu_max", board(smp=2, cpu="max"), needs, quick=True),
        Job("board/release", board(debug=False), release, quick=True),
        Job("board/release_smp", board(smp=4, debug=False), release),
        Job("board/clang", board(smp=2, kernel="build/clang/neap.elf"),
            ("build/clang", "build/guests")),
        Job("board/clang_debug", board(smp=2, kernel="build/clang/debug/neap.elf"),
            ("build/clang_debug", "build/guests")),
        Job("board/framebuffer", screen, needs),
        Job("board/exact_clock", exact_clock, release),
        Job("board/little_memory", little_memory, needs),
        Job("board/many_modules", many_modules, needs),
        Job("board/too_many_modules", too_many_modules, needs),
        Job("board/eight_cpus", board(smp=8, guests=GUESTS[:2]), needs),
    ]
