# SPDX-License-Identifier: BSD-2-Clause
"""The guests of tests/guest/README.md, several to a machine, each with the end that it must have:
on machines of 1, 2 and 4 CPUs."""

import re

from harness import Job, expect
from machine import boot, guest


class Fate:
    """A guest and how it must end."""

    def __init__(self, image, append="", *, name=None, ends="exited", code=0, reason=None, says=(),
                 **keys):
        self.guest = guest(image, append, name=name or image, **keys)
        self.end = {"status": ends, "code": code, "reason": reason}
        self.says = says  # patterns of lines that the guest must print


HELLO = dict(mem="8M", says=[r"hypervisor: \"NeapNeapNeap\"", r"memory: 0x100000-0x800000"])


def machines(seed):
    """{name of a machine: its guests}"""
    chance = f"seed={seed}"
    return {
        "plain": [
            Fate("hello", "two  words 'and quotes'", **{**HELLO, "says": HELLO["says"] + [
                r"command line: hello two  words 'and quotes'"]}),
            Fate("hello_low", **HELLO),
            Fate("hello_raw64", **HELLO),
            Fate("hello32", mem="8M"),
            Fate("memory", chance, mem="32M", says=[r"REPORT memory: 6 passed, 0 failed"]),
            Fate("smp", name="smp2", cpus=2, mem="16M"),
            Fate("x2apic", name="x2apic2", cpus=2, mem="16M",
                 says=[r"REPORT x2apic2: 83 passed, 0 failed"]),
        ],
        "processor": [
            Fate("paging", chance, mem="16M"),
            Fate("cpuid_msr", mem="16M"),
            Fate("devices", mem="16M"),
            Fate("exceptions", mem="16M"),
            Fate("selfmod", chance, mem="16M"),
            Fate("smp", name="smp4", cpus=4, mem="16M"),
            Fate("x2apic", name="x2apic4", cpus=4, mem="16M",
                 says=[r"REPORT x2apic4: 87 passed, 0 failed"]),
        ],
        "ends": [
            Fate("badexit", name="exit3", mem="8M", code=3, reason="exit-port"),
            Fate("badexit", "code=200", name="exit200", mem="8M", code=200),
            Fate("jump", "to=noncanonical", name="jump_noncanonical", mem="8M", code=77),
            Fate("jump", "to=unmapped", name="jump_unmapped", mem="8M", code=78),
            Fate("triple", mem="8M", ends="stopped", code=None, reason="triple-fault"),
            Fate("triple", name="triple_ok", mem="8M", reset="ok", ends="reset"),
            Fate("halt", mem="8M", ends="stopped", code=None, reason="halted"),
            Fate("wide", name="wide_beyond", mem="8M"),
            Fate("wide", "kind=cross", name="wide_cross", mem="8M"),
            Fate("memory", f"{chance} mem=4M", name="beside", mem="8M"),
        ],
        "storms": [
            Fate("ud_storm", "rounds=3000", name="ud", mem="8M"),
            Fate("ud_storm", "kind=db rounds=3000", name="db", mem="8M"),
            Fate("ud_storm", "kind=ac rounds=3000", name="ac", mem="8M"),
            Fate("ud_storm", "kind=pf rounds=3000", name="pf", mem="8M"),
            Fate("nmi_storm", "rounds=1000", name="nmi", mem="8M"),
            Fate("smp", name="smp8", cpus=8, mem="16M"),
        ],
    }


def together(smp, name, fates):
    def run(task):
        prefix = f"{task.job.name}/"
        wanted = [fate for fate in fates if task.settings.wants(prefix + fate.guest.name)]
        result = boot(task, [fate.guest for fate in wanted], ram="256M", smp=smp)
        for fate in wanted:
            with task.case(prefix + fate.guest.name, result.ended_at(fate.guest.name)):
                result.expect_end(fate.guest.name, **fate.end)
                # On a busy machine a line may come in two, as what was there after 100 ms.
                said = "".join(result.said(fate.guest.name))
                for pattern in fate.says:
                    expect(re.search(pattern, said), f"{fate.guest.name} did not say {pattern!r}")
        good = all(fate.end["code"] == 0 for fate in wanted)
        with task.case(f"guest/smp{smp}/{name}/exit_status"):
            result.expect_status(0 if good else 1)
    return run


def mmio(smp, seed):
    """Instructions on a device's memory; some of what they need is in swap just then."""
    def run(task):
        result = boot(task, [guest("mmio", f"seed={seed}", mem="16M")], ram="64M", smp=smp, swap="64M")
        end = result.expect_end("mmio")
        expect(int(end["swapin"]) >= 6, f"only {end['swapin']} pages came back")
        said = "".join(result.said("mmio"))
        expect("REPORT mmio: 11 passed, 0 failed" in said, "mmio did not check all that it has")
    return run


def events(smp, seed):
    """Events whose delivery needs what is in swap. The guest counts what came back for it."""
    def run(task):
        result = boot(task, [guest("events", f"seed={seed}", mem="32M", cpus=2)], ram="96M", smp=smp,
                      swap="64M")
        end = result.expect_end("events")
        said = "".join(result.said("events"))
        expect("REPORT events: 119 passed, 0 failed" in said, "events did not check all that it has")
        said = re.search(r"events: (\d+) pages came back", said)
        expect(said and 5000 < int(said[1]) <= int(end["swapin"]),
               f"{end['swapin']} pages came back, and events says {said and said[1]}")
    return run


def jobs(settings):
    found = []
    for smp in settings.smps(2, 1, 4):
        found.append(Job(f"guest/smp{smp}/events", events(smp, settings.seed),
                         needs=("build/debug", "build/guests")))
        found.append(Job(f"guest/smp{smp}/mmio", mmio(smp, settings.seed), quick=smp == 2,
                         needs=("build/debug", "build/guests")))
        for name, fates in machines(settings.seed).items():
            path = f"guest/smp{smp}/{name}"
            cases = tuple(f"{path}/{fate.guest.name}" for fate in fates) + (f"{path}/exit_status",)
            found.append(Job(path, together(smp, name, fates), cases=cases, quick=smp == 2,
                             needs=("build/debug", "build/guests")))
    return found
