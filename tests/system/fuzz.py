# SPDX-License-Identifier: BSD-2-Clause
"""Guest drivers that misbehave, by chance. Here each target of tests/fuzz runs for two seconds from
nothing; `make fuzz` gives them longer and counts what they reach. And a guest that does anything at all
(tests/guest/fuzz.c) lasts to its end, beside a neighbour whose memory stays right."""

import re

from harness import Failure, Job, expect
from machine import boot, guest

SECONDS = 2
STEPS, STRESS_STEPS = 10 ** 5, 10 ** 6
WHY = re.compile(r"^.*(?:panic: |ERROR: |runtime error: |SUMMARY: ).*$", re.MULTILINE)
RUNS = re.compile(r"stat::number_of_executed_units: (\d+)")


def target(name):
    def run(task):
        fuzz = task.settings.root / "build/fuzz"
        found = task.file(".input")
        status, out = task.output(
            [fuzz / name, f"-max_total_time={SECONDS}", f"-seed={task.settings.seed}",
             "-timeout=20", "-len_control=20", "-print_final_stats=1", f"-exact_artifact_path={found}"],
            timeout=SECONDS + 60)
        if status:
            raise Failure("\n".join([f"it ended with {status}; the input is {found}",
                                     *WHY.findall(out)[:6]]))
        runs = RUNS.search(out)
        expect(runs and int(runs[1]) > 100, "it hardly ran")
        return f"{runs[1]} runs"
    return run


def anything_at_all(steps, seed, smp, timeout):
    def run(task):
        result = boot(task, [guest("fuzz", f"seed={seed} steps={steps}", cpus=2, mem="8M", testdev="on"),
                             guest("pattern", f"seed={seed}", name="neighbour", mem="16M")],
                      ram="64M", swap="64M", smp=smp, timeout=timeout)
        with task.case(f"{task.job.name}/guest", result.ended_at("fuzz")):
            result.expect_end("fuzz")
            expect(result.find(rf"fuzz\| fuzz: {steps} steps, .*"), "it did not take all of its steps")
        with task.case(f"{task.job.name}/neighbour", result.ended_at("neighbour")):
            result.expect_end("neighbour")
            result.expect_status(0)
    return run


def guest_job(name, steps, seed, smp, timeout, stress=False):
    return Job(name, anything_at_all(steps, seed, smp, timeout), cases=(f"{name}/guest", f"{name}/neighbour"),
               needs=("build/debug", "build/guests"), stress=stress)


def jobs(settings):
    names = [path.stem[len("fuzz_"):] for path in sorted((settings.root / "tests/fuzz").glob("fuzz_*.c"))]
    return [guest_job(f"fuzz/guest/smp{smp}", STEPS, settings.seed, smp, 240)
            for smp in settings.smps(2)] + \
           [Job(f"fuzz/{name}", target(name), needs=("build/fuzz",)) for name in names] + \
           [guest_job(f"fuzz/long/smp{smp}", STRESS_STEPS, settings.seed + 1, smp, 1800, stress=True)
            for smp in settings.smps(2)]
