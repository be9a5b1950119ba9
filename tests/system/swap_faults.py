# SPDX-License-Identifier: BSD-2-Clause
"""Swap disks that fail, and one that is full: a read error costs one guest (N6), write errors
nothing but their slots, and when nothing is left the operator is asked (N13)."""

import re

from harness import Job, expect
from machine import boot, guest
from swap import LONG, expect_right
from swap_disks import failing, swap_disks
from terminal import PROMPT, Terminal

MIB = 1 << 20


def patterns(nr, seed, rounds=1, **keys):
    return [guest("pattern", f"rounds={rounds} seed={seed + number}", name=f"pattern{number}", **keys)
            for number in range(nr)]


def with_failing(task, operation, slots):
    """Three guests over a disk on which @operation fails at @slots; large, so that a slot that one
    has left is not soon another's."""
    guests = patterns(3, task.settings.seed, mem="16M", limit="4M")
    with swap_disks() as disks:
        path = disks.make("failing", 512 * MIB)
        emulator = disks.emulator(failing(path, operation, slots))
        result = boot(task, guests, smp=task.settings.cpus(2), ram="48M", emulator=emulator,
                      timeout=LONG, swap=path)
    return result, [one.name for one in guests]


def read_error(task):
    """The guest that needs the page is stopped, with one line; the others end well."""
    result, names = with_failing(task, "read", [3000])
    stopped = [name for name in names if result.summary(name)["status"] != "exited"]
    expect(len(stopped) == 1, f"{len(stopped)} guests were stopped: {stopped}")
    got = result.expect_end(stopped[0], "stopped", None)
    lines = result.all(rf"Neap: vm {stopped[0]} stopped: .*")
    expect(len(lines) == 1, f"{len(lines)} lines tell why")
    for name in names:
        if name not in stopped:
            expect_right(result, name, 2000, 4 << 10)
    result.expect_status(1)
    return f"{stopped[0]}: {got['reason']}"


def write_errors(task):
    """Slots that cannot be written are used no more; their pages go elsewhere, nothing is lost."""
    result, names = with_failing(task, "write", range(100, 10000, 100))
    for name in names:
        expect_right(result, name, 2000, 4 << 10)
    result.expect_status(0)
    bad, errors = result.stat["swap_bad_kib"] // 4, result.stat["swap_write_errors"]
    expect(bad >= errors > 10, f"{errors} writes failed and {bad} slots are bad")
    return f"{errors} writes failed, {bad} slots are used no more"


def full(task):
    """Swap is full and no more memory is allowed: who faults is paused, and the operator is told how
    to go on. The other is killed; the one that was paused goes on, and ends well."""
    guests = patterns(2, task.settings.seed, rounds=3, mem="10M", limit="4M")
    guests.append(guest("spin", mem="8M"))
    with swap_disks() as disks:
        path = disks.make("small", 8 * MIB)
        with Terminal(task, guests, smp=task.settings.cpus(2), ram="32M",
                      swap=path) as terminal:
            match = terminal.expect(r"Neap: vm (pattern\d) paused: [^\r\n]*[\r\n]", LONG)
            paused = match[1]
            for word in ("swap add", "limit", "kill", "resume"):
                expect(word in match[0], f"no word of `{word}`: {match[0]}")
            other = "pattern1" if paused == "pattern0" else "pattern0"
            terminal.command_says("vms", rf"{paused} +paused")
            terminal.command_says("audit", r"audit: 0 differences")
            terminal.send(f"vm {other} kill\r")
            terminal.expect(rf"SUMMARY vm={other} .*status=killed code=1 reason=operator")
            terminal.send(f"vm {paused} resume\r")
            terminal.expect(rf"SUMMARY vm={paused} .*status=exited code=0 ", LONG)
            expect(re.search(rf"{paused}\| .*mismatches=0", terminal.raw), "it was not right")
            terminal.command_says("", PROMPT)
            terminal.send("vm spin kill\r")
            terminal.expect(r"SUMMARY vm=spin ")
            terminal.command_says("audit", r"audit: 0 differences")
            terminal.send("quit\r")
            terminal.expect(r"SUMMARY machine ram_kib=\d+")
            terminal.wait()


def full_batch(task):
    """Without an operator one guest pays, and the others end well."""
    guests = patterns(2, task.settings.seed, mem="16M")
    result = boot(task, guests, smp=task.settings.cpus(2), ram="16M", timeout=LONG,
                  swap="8M")
    ends = sorted((result.summary(one.name)["status"], result.summary(one.name)["reason"])
                  for one in guests)
    expect(ends == [("exited", "exit-port"), ("killed", "oom")], f"{ends}")
    result.expect_status(1)


def jobs(settings):
    needs = ("build/debug", "build/guests")
    return [
        Job("swap/read_error", read_error, needs, quick=True),
        Job("swap/write_errors", write_errors, needs),
        Job("swap/full", full, needs),
        Job("swap/full_batch", full_batch, needs),
    ]
