# SPDX-License-Identifier: BSD-2-Clause
"""Guests whose memory does not fit: every byte right, limits kept, the right pages kept; and an
operator who changes limits, policies and swap areas while they run.

The guests are tests/guest/{pattern,hotcold,storm,sweep}.c."""

import re
import time

from harness import Failure, Job, expect
from machine import boot, guest
from swap_disks import compared, swap_disks
from terminal import PROMPT, Terminal

MIB = 1 << 20
LONG = 240  # seconds: far more than any needs, even on a busy machine
SWAP = "256M"
WORDS_OF = re.compile(r"(\w+): (\d+) pages written, (\d+) verified, mismatches=(\d+)")

# Share of the pages that left: patterns are never same-filled, what a loader left may be.
SAME_FILLED_MAX = 0.02


def numbers(result, name, **end):
    """The SUMMARY of a guest that ended as it must, as numbers."""
    got = result.expect_end(name, **end)
    return {key: int(value) for key, value in got.items() if value.isdigit()}


def totals(result, name):
    """(pages written, verified, mismatches), as the guest @name says at its end."""
    match = WORDS_OF.search("".join(result.said(name)))
    expect(match, f"{name} did not say what it has done")
    return tuple(int(match[group]) for group in (2, 3, 4))


def expect_right(result, name, swapins, limit_kib=None):
    """@name ended well, its memory right, by way of the disk; returns its SUMMARY."""
    got = numbers(result, name)
    _, verified, mismatches = totals(result, name)
    expect(mismatches == 0 and verified, f"{name}: {verified} verified, {mismatches} mismatches")
    expect(got["swapin"] >= swapins, f"{name}: {got['swapin']} pages came back, not {swapins}")
    if limit_kib:
        expect(got["resident_max_kib"] <= limit_kib,
               f"{name} held {got['resident_max_kib']} KiB of {limit_kib}")
    return got


def expect_few_same_filled(result):
    """Pattern guests' pages go to the disk: none is so simple that it needs no room there."""
    same, out = result.stat["swap_same_out"], result.stat["swap_pages_out"]
    expect(same <= out * SAME_FILLED_MAX, f"{same} pages were same-filled, {out} were written")


# Names of guests, and how much of their 16 MiB they may hold, in thousandths.
LIMITS = {"half": 500, "quarter": 250, "eighth": 125, "twentieth": 50}
LIMITED_KIB = 16 << 10


def limit_kib(share):
    return LIMITED_KIB * share // 1000 & -4


def limits(smp):
    def run(task):
        guests = [guest("pattern", f"rounds=1 seed={task.settings.seed + share}", name=name,
                        mem="16M", limit=f"{limit_kib(share)}K") for name, share in LIMITS.items()]
        result = boot(task, guests, smp=smp, ram="64M", timeout=LONG, swap=SWAP)
        for name, share in LIMITS.items():
            with task.case(f"swap/smp{smp}/{name}", result.ended_at(name)) as outcome:
                got = expect_right(result, name, 8000, limit_kib(share))
                outcome.note = f"{got['swapin']} pages came back"
        with task.case(f"swap/smp{smp}/same_filled"):
            expect_few_same_filled(result)
        with task.case(f"swap/smp{smp}/exit_status"):
            result.expect_status(0)
    return Job(f"swap/smp{smp}", run, ("build/debug", "build/guests"), quick=smp == 2,
               cases=tuple(f"swap/smp{smp}/{name}"
                           for name in (*LIMITS, "same_filled", "exit_status")))


def flipped_bit(task):
    """One bit changes on the way to the disk, now and then: guests see it, and the run fails. (One
    whose own code has changed may come to another bad end.)"""
    names = [f"pattern{number}" for number in range(3)]
    result = boot(task, [guest("pattern", f"rounds=1 seed={number}", name=name, mem="8M",
                               limit="4M") for number, name in enumerate(names)],
                  smp=task.settings.cpus(2), ram="32M", kernel_args="mutant=swap_flip_bit",
                  swap=SWAP)
    saw = [name for name in names if result.summary(name)["code"] == "1" and
           any(line.startswith("MISMATCH gpa=") for line in result.said(name))]
    expect(saw, "no guest saw a mismatch")
    mismatches = sum(totals(result, name)[2] for name in saw)
    expect(mismatches > 0, "no mismatch is counted")
    result.expect_status(1)
    return f"{mismatches} words wrong"


def overcommit(task):
    """Four guests of 64 MiB on a machine of 80, without limits. Who comes first may well have all
    its memory in RAM until it ends."""
    names = [f"pattern{number}" for number in range(4)]
    result = boot(task, [guest("pattern", f"rounds=1 order=random seed={number}", name=name,
                               mem="64M") for number, name in enumerate(names)],
                  smp=task.settings.cpus(1), ram="80M", timeout=LONG, swap="512M")
    came_back = sum(expect_right(result, name, 0)["swapin"] for name in names)
    result.expect_status(0)
    expect_few_same_filled(result)
    expect(came_back > 20000, f"only {came_back} pages came back")
    expect(result.machine["swap_used_max_kib"] > 160 << 10, f"{result.machine}")
    return f"{came_back} pages came back"


def hot_share(task, policy):
    """Percent of the pages that came back that were hot ones."""
    result = boot(task, [guest("hotcold", mem="32M", limit="8M")], ram="48M",
                  timeout=LONG, kernel_args=f"policy={policy}", swap=SWAP)
    expect_right(result, "hotcold", 2000, 8 << 10)
    match = re.search(r"hotcold: hot (\d+) of (\d+) refaults", "".join(result.said("hotcold")))
    expect(match and int(match[2]) > 2000, "too little came back to say anything")
    return 100 * int(match[1]) / int(match[2])


def hotcold(policy):
    """Hot pages stay in memory with a policy that looks at use; with one that does not they do not,
    or the test says nothing."""
    def run(task):
        share = hot_share(task, policy)
        if policy == "random":
            expect(share > 25, f"hot pages are only {share:.1f} % of what comes back by chance")
        else:
            expect(share <= 5, f"hot pages are {share:.1f} % of what comes back")
        return f"hot pages: {share:.1f} % of what comes back"
    return run


def storm(task):
    """Many vCPUs write at once; each write is seen, none is lost."""
    storms = [guest("storm", f"seed={cpus} writes=500", name=f"storm{cpus}", mem="16M", cpus=cpus,
                    limit="4M") for cpus in (1, 4, 8)]
    result = boot(task, storms, smp=task.settings.cpus(2), ram="48M", timeout=LONG, swap=SWAP)
    for one in storms:
        expect_right(result, one.name, 2000, 4 << 10)
    result.expect_status(0)


def sweep(task):
    """A page that is only read goes to the disk once, and after that leaves without a write."""
    result = boot(task, [guest("sweep", "sweeps=4", mem="32M", limit="8M")], ram="48M",
                  timeout=LONG, swap=SWAP)
    expect_right(result, "sweep", 20000, 8 << 10)
    pages, _, _ = totals(result, "sweep")
    out = result.stat["swap_pages_out"]
    expect(out <= pages * 11 // 10, f"{out} pages were written, of {pages}")
    return f"{out} pages written, {result.summary('sweep')['swapin']} came back"


def second_run(task):
    """What an earlier run left on the disk is never read. A second image begins empty: whatever is
    read must be on both, or QEMU ends."""
    def run(number, disks, path, **machine):
        result = boot(task, [guest("pattern", f"rounds=1 seed={number}", mem="16M", limit="4M")],
                      ram="32M", timeout=LONG, swap=path, **machine)
        differs = result.find("blkverify: .*")
        expect(not differs, f"it reads what it did not write: {differs and differs.text}")
        expect_right(result, "pattern", 5000)
        result.expect_status(0)

    with swap_disks() as disks:
        path = disks.make("used", 32 * MIB)
        run(1, disks, path)
        node = compared(path, disks.make_like("empty", path))
        run(2, disks, path, emulator=disks.emulator(node))


# ---- an operator ---------------------------------------------------------------------------------

class Watch:
    """Guests that go on and on below an operator's commands: they must be right, and get on."""

    def __init__(self, terminal, names):
        self.terminal = terminal
        self.verified = dict.fromkeys(names, 0)

    def expect_right(self, seconds=LONG):
        """Every guest verifies more pages than when it was last asked, and finds none wrong."""
        deadline = time.monotonic() + seconds
        waiting = set(self.verified)
        while waiting:
            self.terminal.send("stat\r")
            for name in self.verified:
                match = self.terminal.expect(
                    rf"^STAT vm={name} .* verified=(\d+) mismatches=(\d+)")
                expect(match[2] == "0", f"{name}: {match[0]}")
                if int(match[1]) > self.verified[name]:
                    waiting.discard(name)
                if not waiting:
                    self.verified[name] = int(match[1])
            self.terminal.expect(PROMPT)
            if waiting and time.monotonic() > deadline:
                raise Failure(f"no progress of {', '.join(waiting)} in {seconds} s")

    def resident_kib(self, name):
        self.terminal.send("vms\r")
        match = self.terminal.expect(rf"^ *{name} +running +\d+ MiB +(\d+) KiB")
        self.terminal.expect(PROMPT)
        return int(match[1])


def with_operator(test, swap_bytes=32 * MIB, more=()):
    """@test(terminal, watch) beside two pattern guests that would run for hours, at first with a
    limit. @more: (name, bytes) of further swap disks."""
    def run(task):
        guests = [guest("pattern", f"rounds=1000000 order=random seed={number}", name=name,
                        mem="16M", limit="6M") for number, name in enumerate(("one", "two"))]
        with swap_disks() as disks:
            swap = disks.make("vda", swap_bytes)
            emulator = disks.emulator(more=[disks.make(name, size) for name, size in more])
            with Terminal(task, guests, smp=task.settings.cpus(2), ram="32M", emulator=emulator,
                          swap=swap) as terminal:
                terminal.expect(PROMPT)
                watch = Watch(terminal, ("one", "two"))
                watch.expect_right()
                test(terminal, watch)
                watch.expect_right()
                terminal.command_says("audit", r"audit: 0 differences")
                terminal.send("quit\r")
                terminal.expect(r"SUMMARY machine ram_kib=\d+")
                terminal.wait()
    return run


def limits_live(terminal, watch):
    """A limit holds from when it is set, and when it is gone the VM grows again."""
    for size in (8, 4, 2, 6):
        terminal.send(f"limit one {size}M\r")
        terminal.expect(PROMPT)
        kib = watch.resident_kib("one")
        expect(kib <= size << 10, f"{kib} KiB after `limit one {size}M`")
        watch.expect_right()
    terminal.command_says("limit one none", "")
    terminal.command_says("limit two 3M", "")
    deadline = time.monotonic() + LONG
    while watch.resident_kib("one") < 10 << 10:
        expect(time.monotonic() < deadline, "one does not grow when its limit is gone")
    expect(watch.resident_kib("two") <= 3 << 10, "two exceeds its limit")


def policies_live(terminal, watch):
    for policy in ("clock", "random", "lru2"):
        terminal.command_says(f"policy {policy}", rf"\* {policy}")
        watch.expect_right()


def expect_in_use(terminal, disk, wanted):
    terminal.send("swap\r")
    areas = terminal.expect(r"^[\s\S]*?most used")[0]
    terminal.expect(PROMPT)
    expect((f"  {disk} " in areas) == wanted,
           f"{disk} is {'not ' if wanted else ''}in use:\n{areas}")


def areas_live(terminal, watch):
    """Areas go, are wiped and come again, in whatever order."""
    for disk in ("vdb", "vda"):
        for command, in_use in (("off {}", False), ("wipe {} yes", False), ("add {}", True)):
            command = command.format(disk)
            terminal.send(f"swap {command}\r")
            terminal.expect(rf"^swap {command[:8].strip()}[^\r\n]*: done", LONG)
            terminal.expect(PROMPT)
            expect_in_use(terminal, disk, in_use)
            watch.expect_right()


def evicted_by_name(task):
    """Data, stack, code and page tables go to swap at the moment before they are needed."""
    result = boot(task, [guest("evict", mem="16M")], ram="64M", swap=SWAP, timeout=LONG)
    got = numbers(result, "evict")
    expect(got["swapin"] >= 3 * 64 + 150, f"only {got['swapin']} pages came back")
    return f"{got['swapin']} pages came back"


def jobs(settings):
    needs = ("build/debug", "build/guests")
    return [
        Job("swap/evicted_by_name", evicted_by_name, needs, quick=True),
        *(limits(smp) for smp in settings.smps(2, 1)),
        Job("swap/flipped_bit", flipped_bit, needs, quick=True),
        Job("swap/overcommit", overcommit, needs),
        *(Job(f"swap/hot_pages_{policy}", hotcold(policy), needs)
          for policy in ("lru2", "clock", "random")),
        Job("swap/storm", storm, needs),
        Job("swap/clean_pages", sweep, needs),
        Job("swap/second_run", second_run, needs),
        Job("swap/limits_live", with_operator(limits_live), needs),
        Job("swap/policies_live", with_operator(policies_live), needs),
        Job("swap/areas_live", with_operator(areas_live, more=[("vdb", 32 * MIB)]), needs),
    ]
