# SPDX-License-Identifier: BSD-2-Clause
"""The commands, and how each of them ends."""

import contextlib
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from neaplib.args import kernel_args, parse_args
from neaplib.console import Console
from neaplib.debian import command_debian
from neaplib.errors import NeapError, STATUS_OK, STATUS_PANIC, STATUS_TIMEOUT, Stopped
from neaplib.guests import modules_of
from neaplib.host import qemu_program, require
from neaplib.iso import grub_cfg, make_iso
from neaplib.mkswap import command_mkswap, create
from neaplib.qemu import qemu_command
from neaplib.runner import TimedOut, keyboard_fd, run_emulator
from neaplib.terminal import Keys, RawTerminal
from neaplib.verdict import Report, judge

# In batch mode Neap ends the run itself, with a summary; if it can't any more, we do.
BACKSTOP = 10

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def scratch_directory():
    """A private directory, removed whatever happens."""
    with tempfile.TemporaryDirectory(prefix="neap-") as name:
        yield Path(name)


def command_iso(options):
    modules = modules_of(options.guests)
    cfg = grub_cfg(kernel_args(options), modules, options.screen)
    with scratch_directory() as scratch:
        make_iso(options.output, options.kernel, cfg, modules, scratch)
    return STATUS_OK


def command_run(options):
    modules = modules_of(options.guests)
    cfg = grub_cfg(kernel_args(options), modules, options.screen)
    if options.dry_run:
        print(cfg)
        print("# the emulator, with what `tools/neap iso -o neap.iso` makes of the same guests:")
        swap = "swap.img" if isinstance(options.swap, int) else options.swap
        print(shlex.join(qemu_command(options, "neap.iso", swap)))
        return STATUS_OK
    require(qemu_program())
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open_log(options.log)) if options.log else None
        scratch = stack.enter_context(scratch_directory())
        make_iso(scratch / "neap.iso", options.kernel, cfg, modules, scratch)
        swap = options.swap
        if isinstance(swap, int):
            swap = scratch / "swap.img"
            create(swap, options.swap)
        return run_machine(options, qemu_command(options, scratch / "neap.iso", swap), log)


def run_machine(options, command, log):
    """Run the emulator for the operator or for a script; returns the exit status."""
    keyboard, is_terminal = keyboard_fd(options.batch)
    report = Report()
    console = Console(report, log, clean=not is_terminal)
    seconds = options.timeout
    if seconds and options.batch:
        seconds += BACKSTOP
    try:
        with RawTerminal() if is_terminal else contextlib.nullcontext():
            returncode = run_emulator(command, console, keyboard,
                                      Keys() if is_terminal else None, seconds)
    except TimedOut:
        complain(f"timeout after {options.timeout} s")
        return STATUS_PANIC if report.panicked else STATUS_TIMEOUT
    if returncode is None:  # the operator has seen enough
        print()
        return STATUS_OK
    status, message = judge(report, returncode, options.batch)
    if message:
        complain(message)
    return status


def open_log(path):
    try:
        return open(path, "wb")
    except OSError as error:
        raise NeapError(f"--log {path}: {error.strerror}") from None


def complain(message):
    print(f"neap: {message}", file=sys.stderr)


def stop_by_signal(signum, _frame):
    """Once: what is being put back must not be interrupted."""
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(signum)


def main(argv):
    for signum in STOP_SIGNALS:
        if signal.getsignal(signum) != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(signum, stop_by_signal)
    try:
        options = parse_args(argv)
        commands = {"run": command_run, "iso": command_iso, "mkswap": command_mkswap,
                    "debian": command_debian}
        return commands[options.command](options)
    except NeapError as error:
        complain(error)
        return error.status
    except Stopped as stopped:
        return 128 + stopped.signum
    except BrokenPipeError:  # nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        complain(f"{error.filename or 'error'}: {error.strerror}")
        return 1
