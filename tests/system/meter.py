# SPDX-License-Identifier: BSD-2-Clause
"""The operator's side of memory that does not fit: the live meter, limit, policy, swap and start
while guests run, and the words at the end."""

from pathlib import Path

import re

from harness import Job, expect
from machine import boot, guest
from terminal import ESCAPES, PROMPT, TAB, Terminal

CTRL_C = "\x03"
HEADER = r"guest +mem resident swapped +zero faults/s +in/s out/s +verified"
PATTERN = guest("pattern", "rounds=1", mem="16M")
SPINNER = guest("spin", name="spinner", mem="8M")
KEPT_BYTES = 1 << 20


def with_monitor(test, guests, **machine):
    def run(task):
        with Terminal(task, guests, smp=task.settings.cpus(2), **machine) as terminal:
            terminal.expect(PROMPT)
            test(terminal, task)
    return run


def words(mib, ram):
    return (rf"{mib} MiB of guests ran in {ram} MiB: [1-9]\d* pages written, [1-9]\d* read back,"
            " 0 mismatches")


def overcommitted(terminal, task):
    """Guests of twice the machine's memory run to their end under the operator's hands."""
    terminal.expect(HEADER)
    terminal.expect(r"pattern +16\.0M +\d+\.\dM +\d+\.\dM .* [#.]{10} +\d+%")
    terminal.expect(r"RAM +\d+\.\dM [#.]{10}  free \d+\.\dM \(min .*, low .*, high .*\)")
    terminal.expect(r"swap +\d+\.\dM [#.]{10}  used \d+\.\dM, disk queue \d+")
    terminal.command_says("limit pattern-2 12M")
    terminal.command_says("policy clock", r"^  lru2", r"^\* clock")
    terminal.command_says("swap", r"vda +\d+ KiB, +\d+ KiB used", r"^in: \d+ pages",
                          r"^out: \d+ pages")
    if not re.search(words(32, 24), ESCAPES.sub("", terminal.raw)):  # they may be quicker than we are
        terminal.expect(words(32, 24), 120)
    terminal.command_says("start pattern mem=12M -- rounds=1", r"^vm pattern: multiboot, 12 MiB",
                          words(12, 24))
    stat = terminal.command_says("stat", r"^STAT swap_pages_out=(\d+)", r"^STAT reclaimed=(\d+)")
    expect(all(int(match[1]) > 1000 for match in stat), "nothing was swapped")
    terminal.command_says("audit", r"audit: 0 differences")


def on_and_off(terminal, task):
    """Off, the meter says nothing; on, it stays above the prompt, below what else is printed."""
    terminal.command_says("vms", r"1 live")
    expect("faults/s" not in terminal.raw, "the meter is on, and nobody has asked for it")
    terminal.command_says("meter", r"usage: meter on\|off\|SECONDS")
    terminal.command_says("meter often", r"usage: meter")
    terminal.command_says("meter 1", HEADER, r"^spinner +8\.0M .*  -\r", r"^RAM +6[34]\.\dM")
    terminal.command_says("vms", r"1 live", HEADER)
    terminal.command_says("vm spinner pause", r"vm spinner paused", r"^spinner +8\.0M .*  paused")
    terminal.command_says("meter off")
    before = terminal.raw.count("faults/s")
    terminal.command_says("vm spinner resume")
    while terminal.receive(3):
        pass
    expect(terminal.raw.count("faults/s") == before, "it is off, and goes on")


def limits(terminal, task):
    """A limit holds from the moment it is set."""
    terminal.command_says("limit", r"pattern +limit none, holds \d+ KiB")
    terminal.command_says("limit pattern 8M")
    held, = terminal.command_says("limit", r"pattern +limit 8192 KiB, holds (\d+) KiB, \d+ KiB")
    expect(int(held[1]) <= 8192, f"it holds {held[1]} KiB")
    terminal.command_says("limit pattern none")
    terminal.command_says("limit", r"pattern +limit none")
    terminal.command_says("limit pattern much", r"usage: limit")
    terminal.command_says("limit nobody 8M", r'there is no VM "nobody"')
    terminal.command_says("policy fifo", r'there is no policy "fifo"')
    terminal.command_says("limit pat" + TAB + "no" + TAB)


def starts(terminal, task):
    """A file that came with the boot makes another VM, as often as one likes; a large one is not
    kept, and that is said."""
    terminal.command_says("start", r"spinner +\d+ KiB\r", r"large +\d+ KiB +not kept: only files")
    terminal.command_says("start spinner mem=4M", r"^vm spinner-2: multiboot, 4 MiB",
                          r"spinner-2\| ")
    terminal.command_says("start sp" + TAB + "vm=third limit=1M -- hello there", r"^vm third: ")
    terminal.command_says("start same", r"^vm same-2: ")
    terminal.command_says("vms", r"spinner-2 +running +4 MiB", r"third +running", r"5 live")
    for line, why in (("large", "larger than 1 MiB"), ("nothing", "no such image"),
                      ("spinner vm=third", "a VM of this name exists"),
                      ("spinner mem=8X", "give a size"), ("spinner colour=red", "no such key"),
                      ("spinner initrd=x", "leave them out"),
                      ("spinner image=x", "leave them out")):
        terminal.command_says(f"start {line}", rf"^start {line.split()[0]}: .*{why}")
    for name in ("spinner-2", "third"):
        terminal.send(f"vm {name} kill\r")
        terminal.expect(rf"SUMMARY vm={name} .*reason=operator")
    terminal.command_says("start spinner", r"^vm spinner-2: ")
    terminal.command_says("audit", r"audit: 0 differences")


def start_files(task):
    large = task.file(".elf")
    large.write_bytes(Path("build/guests/hello.elf").read_bytes() + bytes(KEPT_BYTES))
    guests = [SPINNER, guest("spin", name="same", mem="8M"), guest(large, name="large", mem="8M")]
    with_monitor(starts, guests)(task)


def areas(terminal, task):
    """swap off, wipe and add while a guest lives; each is refused with a reason."""
    terminal.command_says("swap add vda", r"swap add vda: it is in use")
    terminal.command_says("swap wipe vda", r"to do so: swap wipe vda yes")
    terminal.command_says("swap wipe vda yes", r"swap wipe vda: it is in use")
    terminal.command_says("swap off vda", r"swap off vda: done")
    terminal.command_says("swap off vda", r"swap off vda: it is not in use")
    terminal.command_says("swap", r"no disk is used for swap", r"^in: \d+ pages")
    terminal.command_says("swap wipe vda yes", r"swap wipe vda: done")
    terminal.command_says("swap add vda 7", r"swap add vda: done")
    terminal.command_says("swap", r"vda +\d+ KiB, +0 KiB used, 0 KiB bad, priority 7")
    terminal.command_says("swap add vdz", r'there is no disk "vdz"')
    terminal.command_says("swap add vda often", r"usage: swap")
    terminal.command_says("swap o" + TAB + "v" + TAB, r"swap off vda: done")
    terminal.command_says("audit", r"audit: 0 differences")


def batch(task):
    """The words come before the machine's SUMMARY; there are no escape codes."""
    guests = [guest("pattern", f"rounds=1 seed={n}", name=f"two{n}", mem="12M") for n in (1, 2)]
    run = boot(task, guests, ram="16M", swap="64M", kernel_args="meter")
    for one in guests:
        run.expect_end(one.name)
    expect(not any("\x1b" in line.text for line in run.lines), "an escape code in a batch")
    line = next((number for number, line in enumerate(run.lines)
                 if line.text.startswith("24 MiB of guests ran in 16 MiB: ")), None)
    expect(line is not None and run.lines[line].text.endswith(" 0 mismatches"), "no words")
    expect(run.lines[line + 1].text.startswith("SUMMARY machine"), "the words' place")
    expect(run.machine["swap_kib"] > 60 << 10 and run.machine["swap_used_max_kib"] > 4 << 10 and
           run.machine["reclaimed"] > 1000, f"{run.machine}")


def jobs(settings):
    needs = ("build/debug", "build/guests")
    two = [PATTERN, guest("pattern", "rounds=1 seed=2", name="pattern-2", mem="16M")]
    endless = [guest("pattern", "rounds=100000", mem="16M")]
    return [
        Job("meter/overcommitted", with_monitor(overcommitted, two, ram="24M", swap="64M",
                                                kernel_args="meter"), needs),
        Job("meter/on_and_off", with_monitor(on_and_off, [SPINNER]), needs, quick=True),
        Job("meter/limits", with_monitor(limits, endless, swap="64M"), needs),
        Job("meter/start", start_files, needs),
        Job("meter/areas", with_monitor(areas, endless, swap="64M"), needs),
        Job("meter/batch", batch, needs),
    ]
