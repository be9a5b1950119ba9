# SPDX-License-Identifier: BSD-2-Clause
"""The rows of the bench that are counted, not timed, meet their musts; those of exits are the same in two runs."""

import re
import sys

from harness import Job, expect

SECONDS = {"exits": 200, "swap": 300, "linux": 400}
NEEDS = {"linux": ("build/linux",)}
MORE = {"swap": ["--once"]}  # the two that must agree are `make bench`'s business


def keys(settings, part):
    for line in (settings.root / "bench/budget").read_text().splitlines():
        words = [word.strip() for word in line.split("|")]
        if len(words) > 2 and words[1] == part:
            yield words[0], words[2], words[6]


def rows(part):
    def run(task):
        _, out = task.output([sys.executable, "bench/run", part, *MORE.get(part, [])], timeout=SECONDS[part])
        for key, event, unit in keys(task.settings, part):
            with task.case(f"bench/{key}") as outcome:
                line = next((line for line in out.splitlines() if line.startswith(event)), None)
                expect(line, out)
                found = re.search(r" ([\d.]+)  (aim )?met ", line)
                expect(found, line)
                outcome.note = f"{found[1]} {unit}"
    return run


def jobs(settings):
    return [Job(f"bench_{part}", rows(part), ("build/release", "build/guests", *NEEDS.get(part, ())),
                cases=tuple(f"bench/{key}" for key, _, _ in keys(settings, part)))
            for part in SECONDS]
