# SPDX-License-Identifier: BSD-2-Clause
"""What a test is, which of them are chosen, and how they run.

A *job* is a function that takes a Task: one test, or several that share a boot or a process. It
says what came of each by `with task.case(name):`, which a Failure or a Skip ends. A job that is one
test need not say anything.
"""

import contextlib
import fnmatch
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, List, Optional, Tuple


class Failure(Exception):
    """What should hold and does not; lines after the first are details."""


class Skip(Exception):
    """Why a test cannot run here."""


def expect(condition, why):
    if not condition:
        raise Failure(why)


@dataclass
class Settings:
    root: Path
    only: List[str] = field(default_factory=list)
    smp: Optional[int] = None
    seed: int = 1
    quick: bool = False
    stress: bool = False  # the long forms, in the place of the usual tests
    jobs: int = 2

    @property
    def logs(self):
        return self.root / "build" / "test-logs"

    def wants(self, name):
        """Whether --only names the test @name or something that it is part of."""
        return not self.only or any(fnmatch.fnmatchcase(name, form)
                                    for pattern in self.only
                                    for form in (pattern, f"{pattern}/*", f"*/{pattern}"))

    def smps(self, *numbers):
        """The machine sizes of @numbers to test; --smp=N replaces them."""
        return [self.smp] if self.smp else list(numbers)

    def cpus(self, usual):
        """The size of a machine that is usually one of @usual CPUs."""
        return self.smp or usual


@dataclass
class Job:
    name: str
    run: Callable[["Task"], None]
    needs: Tuple[str, ...] = ()  # names of jobs that must have passed
    cases: Optional[Tuple[str, ...]] = None  # its tests; (): not known before; None: itself
    quick: bool = False  # part of --quick
    stress: bool = False  # part of --stress, and of nothing else
    alone: bool = False  # runs before the others, one at a time: it uses all CPUs itself

    def names(self):
        return [self.name] if self.cases is None else list(self.cases) or [self.name + "/*"]


def choose(jobs, settings):
    """Those of @jobs that were asked for, and those that they need."""
    chosen = [job for job in jobs if job.stress == settings.stress and asked_for(job, settings)]
    if settings.quick:
        chosen = [job for job in chosen if job.quick]
    needed, by_name = set(), {job.name: job for job in jobs}
    for job in chosen:
        need(job, by_name, needed)
    wanted = {job.name for job in chosen} | needed
    return [job for job in jobs if job.name in wanted] if chosen else []


def asked_for(job, settings):
    if any(settings.wants(name) for name in job.names()):
        return True
    # Of tests whose names are not known, any pattern may mean one.
    return job.cases == () and any(pattern.startswith(job.name + "/") for pattern in settings.only)


def need(job, by_name, needed):
    for name in job.needs:
        needed.add(name)
        need(by_name[name], by_name, needed)


class Reporter:
    """Prints each outcome as it comes, and keeps count."""

    def __init__(self, settings):
        self.settings = settings
        self.lock = threading.Lock()
        self.count = {"PASS": 0, "FAIL": 0, "SKIP": 0}
        self.failed = []
        self.not_passed = set()  # names of jobs

    def tell(self, name, seconds, outcome, task):
        if outcome.why is not None:
            verdict = "FAIL"
            first, *more = outcome.why.strip().split("\n")
            log = task.log.relative_to(self.settings.root)
            text = "\n     ".join([f"{name} ({seconds:.1f} s): {first}", *more, f"log: {log}"])
        elif outcome.skip is not None:
            verdict, text = "SKIP", f"{name}: {outcome.skip}"
        else:
            note = f"; {outcome.note}" if outcome.note else ""
            verdict, text = "PASS", f"{name} ({seconds:.1f} s{note})"
        with self.lock:
            self.count[verdict] += 1
            if verdict == "FAIL":
                task.failed = True
                self.failed.append(name)
            if verdict != "PASS":
                self.not_passed.add(task.job.name)
            print(verdict, text, flush=True)

    def finish(self, seconds):
        print(f"\nThis took {seconds:.0f} s, with seed {self.settings.seed}.")
        if self.failed:
            print("Failed:", *self.failed)
        count = self.count
        print(f"{count['PASS']} passed, {count['FAIL']} failed, {count['SKIP']} skipped",
              flush=True)
        return 0 if count["PASS"] and not count["FAIL"] else 1


@dataclass
class Outcome:
    note: str = ""
    why: Optional[str] = None  # it failed
    skip: Optional[str] = None


class Task:
    """A job that runs."""

    def __init__(self, job, settings, reporter, children):
        self.job = job
        self.settings = settings
        self.reporter = reporter
        self.children = children
        self.started = None
        self.reported = set()
        self.failed = False
        self.log = settings.logs / (job.name.replace("/", "-") + ".log")
        self.log.write_bytes(b"")

    @contextlib.contextmanager
    def case(self, name, seconds=None, always=False):
        """The test @name is the body of the `with`, which may set .note of what it gets. Nothing is
        reported twice, nor, without @always, what nobody asked for. @seconds is the time to show,
        if not that of the body."""
        report = name not in self.reported and (always or self.settings.wants(name))
        self.reported.add(name)
        outcome = Outcome()
        started = time.monotonic()
        try:
            yield outcome
        except Skip as reason:
            outcome.skip = str(reason)
        except Failure as failure:
            outcome.why = str(failure)
        except Exception as error:
            self.write(traceback.format_exc())
            outcome.why = f"{type(error).__name__}: {error}"
        if report:
            seconds = time.monotonic() - started if seconds is None else seconds
            self.reporter.tell(name, seconds, outcome, self)

    def write(self, text):
        with open(self.log, "a", encoding="utf-8", errors="replace") as file:
            file.write(text)

    def file(self, suffix):
        """The path of one more file beside the log."""
        return self.log.with_suffix(suffix)

    def popen(self, command, **kwargs):
        """A child that is ended if the run is."""
        child = subprocess.Popen([str(word) for word in command], cwd=self.settings.root, **kwargs)
        self.children.add(child)
        return child

    def output(self, command, timeout, env=None):
        """Run @command to its end; (exit status, what it printed), which the log has as well."""
        self.write(f"$ {' '.join(map(str, command))}\n")
        child = self.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, errors="replace", env=env)
        try:
            out, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, _ = child.communicate()
            self.write(out)
            raise Failure(f"not done after {timeout} s") from None
        self.write(out)
        return child.returncode, out

    def run(self):
        job = self.job
        self.started = time.monotonic()
        missing = [name for name in job.needs if name in self.reporter.not_passed]
        if missing:
            for name in job.names():
                with self.case(name):
                    raise Skip(f"{missing[0]} did not pass")
        elif job.cases is None:
            with self.case(job.name, always=True) as outcome:
                outcome.note = job.run(self) or ""
        else:
            self.run_group()

    def run_group(self):
        """All tests of the job must have been reported at its end; if not, it says why."""
        why = "the job ended without a word about it"
        try:
            self.job.run(self)
        except Exception as error:
            self.write(traceback.format_exc())
            why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            if not self.job.cases:
                self.reported.discard(self.job.name)
        for name in self.job.cases or () if self.reported else [self.job.name]:
            with self.case(name, time.monotonic() - self.started, always=not self.job.cases):
                raise Failure(why)


def run_jobs(jobs, settings):
    """Run @jobs; returns the exit status."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(settings)
    children = set()
    started = time.monotonic()
    pool = ThreadPoolExecutor(settings.jobs)
    try:
        for job in jobs:
            if job.alone:
                Task(job, settings, reporter, children).run()
        futures = [pool.submit(Task(job, settings, reporter, children).run)
                   for job in jobs if not job.alone]
        for future in futures:
            future.result()
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            if child.poll() is None:
                child.terminate()
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        pool.shutdown()
    return reporter.finish(time.monotonic() - started)
