# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's own tests, tests/kernel: debug kernels that boot with selftest=NAME and no guest.
One test a suite and machine size; its line tells how many checks there were."""

import re

from harness import Failure, Job, Skip, expect
from machine import TIMEOUT, boot

CHECK = re.compile(r"(PASS|FAIL|SKIP) (.*)")
TOTAL = re.compile(r"TESTS passed=(\d+) failed=(\d+) skipped=(\d+)")

# Suites that are no part of --quick, and how long they may take.
LONG = {"lives": 240, "swap": 180}

# What must be among the lines of each panic.
PANICS = {
    "panic_check": [r"PANIC: 2 CPUs are up", r"at tests/kernel/test_\w+\.c:\d+: nr_cpus == 0"],
    "panic_exec": [r"PANIC: .*", r"  0x[0-9a-f]+ .*", r"rip [0-9a-f]{16} .*"],
    "panic_guard": [r"PANIC: .*stack.*"],
    "panic_null": [r"PANIC: .*", r"  0x[0-9a-f]+ panic_null\+0x[0-9a-f]+"],
    "panic_rank": [r"PANIC: .*"],
    "panic_write": [r"PANIC: .*", r"  0x[0-9a-f]+ panic_write\+0x[0-9a-f]+"],
}
# Rules broken on purpose that a suite sees, whatever the host's load: its name, and what it says.
MUTANTS = {
    "batch_no_flush": ("swap_race", r"FAIL a page that was taken is in no TLB: .*"),
    "dirty_cleared_late": ("swap_one", r"PANIC: bad slot .* would hold the only copy of a page"),
    "free_without_freeze": ("swap_race", r"FAIL a page that somebody found in the swap cache .*"),
    "redirtied_is_clean": ("swap_race", r"FAIL a page leaves with what was written last: .*"),
    "slot_freed_in_flight": ("swap_one", r"FAIL an mm ends no sooner than the writes .*"),
    "unmap_drops_dirty": ("swap_race", r"FAIL a page leaves with what was written last: .*"),
    "unmap_one_test": ("swap_race", r"FAIL a reference that comes before the exchange .*"),
}
EVERY_PANIC = [r"CPU \d+, thread \S+, preempt_count \d+",
               r"cr0 [0-9a-f]+ cr2 [0-9a-f]+ cr3 [0-9a-f]+ cr4 [0-9a-f]+", r"Backtrace:",
               r"  0x[0-9a-f]+ (thread_main|ap_entry|kernel_entry)\+0x[0-9a-f]+"]


def suites(root):
    """Names of suites, in the sources' order."""
    found = []
    for path in sorted((root / "tests/kernel").glob("*.c")):
        found += re.findall(r"^KERNEL_SUITE\((\w+),", path.read_text(), re.MULTILINE)
    return found


def suite(name, smp):
    def run(task):
        result = boot(task, smp=smp, kernel_args=f"selftest={name}",
                      timeout=LONG.get(name, TIMEOUT))
        checks = [match for match in (CHECK.fullmatch(line.text) for line in result.lines) if match]
        count = {word: sum(match[1] == word for match in checks)
                 for word in ("PASS", "FAIL", "SKIP")}
        bad = [match[0] for match in checks if match[1] == "FAIL"]
        total = next((TOTAL.fullmatch(line.text) for line in result.lines
                      if TOTAL.fullmatch(line.text)), None)
        if bad or not total:
            raise Failure("\n".join([f"{len(bad)} of {len(checks)} checks failed" if total else
                                     "the suite did not come to its end", *bad[:12],
                                     *result.troubles()]))
        expect([int(number) for number in total.groups()] == list(count.values()),
               f"{total[0]}, but the lines say {count}")
        expect(count["PASS"] or count["SKIP"], "there was no check")
        # Who makes VMs and kills them has failed guests, on purpose.
        result.expect_status(*(0, 1) if result.find("SUMMARY vm=.*") else (0,))
        for match in checks:
            if match[1] == "SKIP":
                what, _, why = match[2].partition(": ")
                with task.case(f"{task.job.name}/{'_'.join(what.split())}", always=True):
                    raise Skip(why or "no reason given")
        return f"{count['PASS']} checks"
    return run


def mutant(name):
    """The suite that guards the rule fails, by the check that names it."""
    def run(task):
        suite_name, pattern = MUTANTS[name]
        result = boot(task, smp=task.settings.cpus(2),
                      kernel_args=f"selftest={suite_name} mutant={name}")
        result.expect_status(1, 3)
        expect(result.find(pattern), f"mutant {name}: no line says {pattern!r}")
        return f"{suite_name} fails"
    return run


def panic(name):
    """A panic shows values and a backtrace with names, stops all CPUs, and is exit status 3."""
    def run(task):
        result = boot(task, smp=2, kernel_args=f"selftest={name}", timeout=30)
        result.expect_status(3)
        for pattern in PANICS.get(name, [r"PANIC: .*"]) + EVERY_PANIC:
            expect(result.find(pattern), f"no line says {pattern!r}")
        expect(len(result.all("PANIC: .*")) == 1, "more than one panic was shown")
    return run


def jobs(settings):
    found = []
    for name in suites(settings.root):
        if name.startswith("panic_"):
            found.append(Job(f"panic/{name[len('panic_'):]}", panic(name), needs=("build/debug",),
                             quick=name == "panic_check"))
            continue
        found += [Job(f"kernel/{name}/smp{smp}", suite(name, smp), needs=("build/debug",),
                      quick=smp == 2 and name not in LONG)
                  for smp in settings.smps(1, 2, 4)]
    found += [Job(f"kernel/mutant/{name}", mutant(name), needs=("build/debug",))
              for name in MUTANTS]
    return found
