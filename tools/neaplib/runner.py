# SPDX-License-Identifier: BSD-2-Clause
"""One emulator process from start to end.

The emulator's stdin and stdout are the serial line. It has a session of its own, so that Ctrl-C
reaches us alone; whatever way run_emulator() is left, the process is gone.
"""

import os
import select
import subprocess
import sys
import time

KILL_AFTER = 1  # seconds between asking the emulator to end and ending it
CHUNK = 4096


class TimedOut(Exception):
    """The time for the run is over."""


def run_emulator(command, console, keyboard, keys, seconds):
    """Run @command until it ends, or until @keys (may be None) say so.

    @console takes its output; @keyboard is the file descriptor that its input comes from, or None.
    Returns the emulator's exit status, None if the operator ended it. TimedOut after @seconds.
    """
    deadline = time.monotonic() + seconds if seconds else None
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                               start_new_session=True)
    try:
        if not shuttle(process, console, keyboard, keys, deadline):
            return None
        try:
            return process.wait(remaining(deadline))
        except subprocess.TimeoutExpired:
            raise TimedOut() from None
    finally:
        stop(process)
        console.finish()


def shuttle(process, console, keyboard, keys, deadline):
    """Carry bytes both ways until the emulator closes its end (True) or the operator quits."""
    pending = b""
    while True:
        # Input waits until Neap listens: firmware and GRUB would take it for theirs.
        reads = [process.stdout]
        if keyboard is not None and not pending and (keys or console.started):
            reads.append(keyboard)
        writes = [process.stdin] if pending else []
        reads, writes, _ = select.select(reads, writes, [], remaining(deadline))
        if not reads and not writes:
            raise TimedOut()
        if process.stdout in reads:
            data = os.read(process.stdout.fileno(), CHUNK)
            if not data:
                return True
            console.feed(data)
        if keyboard in reads:
            data = os.read(keyboard, CHUNK)
            if not data:
                keyboard = None
            pending = keys.feed(data) if keys else data
            if keys and keys.quit:
                return False
        if writes:
            try:
                pending = pending[os.write(process.stdin.fileno(), pending):]
            except BrokenPipeError:
                pending, keyboard = b"", None


def remaining(deadline):
    return None if deadline is None else max(0, deadline - time.monotonic())


def stop(process):
    """End the emulator if it still runs: by its own process id, politely first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(KILL_AFTER)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    process.stdin.close()
    process.stdout.close()


def keyboard_fd(batch):
    """Where the run's input comes from: (file descriptor or None, whether it is a terminal)."""
    if batch or sys.stdin is None:
        return None, False
    return sys.stdin.fileno(), sys.stdin.isatty()
