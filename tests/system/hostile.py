# SPDX-License-Identifier: BSD-2-Clause
"""Guests that try to break out, break down or never let go (N9): Neap stands, and the neighbour
beside each of them, who needs memory and time, finishes with code 0."""

from harness import Job, Skip, expect
from machine import boot, guest

ENDLESS_SECONDS = 20  # until the kernel's timeout= ends who never ends by itself

ANY_END = ("exited", "stopped", "killed", "reset")


def neighbour(seed):
    return guest("memory", f"seed={seed} loops=1", name="neighbour", mem="8M")


def beside(hostiles, timeout=60, **machine):
    """A job of several tests: each guest of @hostiles, {case: (guest, end)}, and their neighbour.
    An end is (status, code, reason) with None for any; of those that never end it is None."""
    def run(task):
        smp = machine.get("smp") or task.settings.cpus(2)
        result = boot(task, [one for one, _ in hostiles.values()] + [neighbour(task.settings.seed)],
                      ram="256M", smp=smp, timeout=timeout)
        endless = any(end is None for _, end in hostiles.values())
        for case, (one, end) in hostiles.items():
            with task.case(f"{task.job.name}/{case}", result.ended_at(one.name)):
                if end is None:
                    result.expect_end(one.name, "killed", None, "timeout")
                else:
                    expect_one_of(result, one.name, *end)
        with task.case(f"{task.job.name}/neighbour", result.ended_at("neighbour")):
            result.expect_end("neighbour")
            expect(result.status in (0, 1, 124), f"tools/neap ended with {result.status}")
            if endless:
                result.expect_status(124)
                done = result.summary_line("neighbour")[0].at
                over = result.find(rf"TIMEOUT after {timeout} s")
                expect(over, "no line tells of the timeout")
                expect(done < over.at - timeout / 4,
                       f"the neighbour took {done:.1f} s, the timeout came at {over.at:.1f} s")
    return run


def expect_one_of(result, name, statuses, code, reason):
    if isinstance(statuses, str):
        result.expect_end(name, statuses, code, reason)
        return
    got = result.summary(name)
    expect(got["status"] in statuses, f"vm {name}: status={got['status']}")


def job(name, hostiles, **kwargs):
    cases = tuple(f"{name}/{case}" for case in [*hostiles, "neighbour"])
    return Job(name, beside(hostiles, **kwargs), cases=cases,
               needs=("build/debug", "build/guests"))


def ends(code=0):
    return "exited", code, "exit-port"


def watch_storm(task):
    raise Skip("QEMU's TCG aborts on a watchpoint on an exception's stack")


def jobs(settings):
    seed = settings.seed
    anyhow = (ANY_END, None, None)
    wild = {f"seed{n}": (guest("crs", f"kind=wild seed={n} count=1500", name=f"wild{n}", mem="8M"),
                         anyhow) for n in range(seed, seed + 6)}
    storms = {kind: (guest("ud_storm", f"kind={kind}", name=kind, mem="8M"), None)
              for kind in ("ud", "db", "pf")}
    endless = {"spin": (guest("spin", mem="8M"), None), **storms,
               "nmi": (guest("nmi_storm", name="nmi", mem="8M"), None)}
    found = [job(f"hostile/endless/smp{smp}", endless, smp=smp, timeout=ENDLESS_SECONDS)
             for smp in settings.smps(1, 2)]
    found += [
        Job("hostile/endless/watch", watch_storm),
        job("hostile/ports", {"every_port": (guest("ports", f"seed={seed}", mem="8M"), ends())}),
        job("hostile/msrs", {
            "fault": (guest("msrs", f"seed={seed}", mem="8M"), ends()),
            "ignore": (guest("msrs", f"seed={seed}", name="ignored", mem="8M", msr="ignore"),
                       (ANY_END, None, None))}),
        job("hostile/registers", {
            "survivable": (guest("crs", f"seed={seed}", mem="8M"), ends())}),
        job("hostile/registers/wild", wild, timeout=15),
        job("hostile/jump", {
            "beyond": (guest("jump", name="beyond", mem="8M"), ("stopped", None, "bad-jump")),
            "mmio": (guest("jump", "to=mmio", name="mmio", mem="8M"),
                     ("stopped", None, "bad-jump")),
            "zero": (guest("jump", "to=zero", name="zero", mem="8M"), anyhow),
            "legacy": (guest("jump", "to=0xa0000", name="legacy", mem="8M"), anyhow),
            "far": (guest("jump", "to=0xfffffffff000", name="far", mem="8M"), anyhow),
            "noncanonical": (guest("jump", "to=noncanonical", name="noncanonical", mem="8M"),
                             ends(77)),
            "unmapped": (guest("jump", "to=unmapped", name="unmapped", mem="8M"), ends(78))}),
        job("hostile/accesses", {
            "wild": (guest("wide", "kind=wild", mem="8M"), anyhow),
            **{f"wild_{kind}": (guest("wide", f"kind=wild only={kind}", name=kind, mem="8M"),
                                anyhow)
               for kind in ("movs", "xchg", "stack", "tables", "jump", "ports")}}),
        job("hostile/ends", {
            "triple": (guest("triple", mem="8M"), ("stopped", None, "triple-fault")),
            "halt": (guest("halt", mem="8M"), ("stopped", None, "halted")),
            "selfmod": (guest("selfmod", f"seed={seed + 1}", mem="8M"), ends()),
            "badexit": (guest("badexit", mem="8M"), ends(3))}),
    ]
    return found
