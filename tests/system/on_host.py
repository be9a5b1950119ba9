# SPDX-License-Identifier: BSD-2-Clause
"""Tests that run on this machine: real sources under sanitizers (tests/unit, cmocka), and the host
tools (tests/host, Python's unittest). Each of their cases is counted."""

import os
import re
import subprocess
import sys
import time

from harness import Failure, Job, Skip, expect

UNIT_SECONDS = 240
CMOCKA = re.compile(r"\[ +(RUN|OK|FAILED|SKIPPED|ERROR) +\] ([A-Za-z_][\w/]*)$")
PYTHON = re.compile(r"(\w+) \(([\w.]+)\)(?:\n.*)? \.\.\. (ok|FAIL|ERROR|skipped ['\"](.*)['\"])")


def unit(name):
    def run(task):
        program = task.settings.root / "build/unit" / f"test_{name}"
        env = {**os.environ, "SEED": str(task.settings.seed)}
        child = task.popen([program], env=env, stdin=subprocess.DEVNULL, errors="replace",
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started, deadline, lines = time.monotonic(), time.monotonic() + UNIT_SECONDS, []
        for line in child.stdout:
            task.write(line)
            lines.append(line.rstrip("\n"))
            match = CMOCKA.match(line)
            if match and match[1] == "RUN":
                started = time.monotonic()
                lines = []
            elif match:
                with task.case(f"{task.job.name}/{match[2]}", time.monotonic() - started):
                    tell(match[1], lines)
            if time.monotonic() > deadline:
                child.kill()
        status = child.wait()
        # A sanitizer's report, or a summary without a failed case of its own.
        expect(status == 0 or task.failed,
               "\n".join([f"the program ended with {status}", *lines[:20]]))
        expect(task.reported, "it has no cases")
    return run


def tell(word, lines):
    if word in ("FAILED", "ERROR"):
        raise Failure("\n".join([line for line in lines if not CMOCKA.match(line)][:20]) or word)
    if word == "SKIPPED":
        raise Skip(" ".join(line for line in lines if not CMOCKA.match(line)).strip() or
                   "the test says that it cannot run here")


def python(module):
    """The log has unittest's own report: one line a test, then what failed."""
    def run(task):
        status, out = task.output(
            [sys.executable, "-B", "-W", "error", "-m", "unittest", "-v", module],
            timeout=240, env={**os.environ, "PYTHONPATH": str(task.settings.root / "tests/host")})
        reports, _, _ = out.partition("\n\n")
        for match in PYTHON.finditer(reports):
            name, _, verdict, reason = match.groups()
            cls = match[2].split(".")[1]
            with task.case(f"{task.job.name}/{cls}.{name}", 0.0):
                if reason is not None:
                    raise Skip(reason)
                expect(verdict == "ok", why_of(out, name))
        ran = re.search(r"^Ran (\d+) tests?", out, re.MULTILINE)
        expect(ran and int(ran[1]) == len(PYTHON.findall(reports)),
               "unittest's report cannot be read")
        expect(status == 0 or task.failed, f"unittest ended with {status}")
    return run


def why_of(out, name):
    found = re.search(rf"^(?:FAIL|ERROR): {name} .*?\n-+\n(.*?)\n\n(?:=|-)", out,
                      re.MULTILINE | re.DOTALL)
    return "\n".join(found[1].splitlines()[-6:]) if found else "see the log"


def jobs(settings):
    root = settings.root
    units = [path.stem[len("test_"):] for path in sorted((root / "tests/unit").glob("test_*.c"))]
    hosts = [path.stem for path in sorted((root / "tests/host").glob("test_*.py"))]
    return [Job(f"unit/{name}", unit(name), ("build/unit",), cases=(), quick=True)
            for name in units] + \
           [Job(f"host/{name[len('test_'):]}", python(name), cases=(), quick=True)
            for name in hosts]
