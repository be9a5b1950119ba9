# SPDX-License-Identifier: BSD-2-Clause
"""The rows of the bench that are counted in instructions meet their musts, the same in two runs."""

import re
import sys

from harness import Job, expect


def keys(settings):
    for line in (settings.root / "bench/budget").read_text().splitlines():
        words = [word.strip() for word in line.split("|")]
        if words[-1] == "instructions":
            yield words[0], words[1]


def rows(task):
    _, out = task.output([sys.executable, "bench/run", "--instructions"], timeout=200)
    for key, event in keys(task.settings):
        with task.case(f"bench/{key}") as outcome:
            line = next((line for line in out.splitlines() if line.startswith(event)), None)
            expect(line, out)
            expect(re.search(r"  (aim )?met ", line), line)
            outcome.note = f"{line.split()[-8 if 'aim met' in line else -7]} instructions"


def jobs(settings):
    return [Job("bench", rows, ("build/release", "build/guests"),
                cases=tuple(f"bench/{key}" for key, _ in keys(settings)))]
