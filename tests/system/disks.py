# SPDX-License-Identifier: BSD-2-Clause
"""Disks: Neap's own, attached by --swap, and those of others, which it names and never writes.

Foreign disks are attached by a program in QEMU's place that adds them to the command line. It takes
the exit port away as well and keeps the machine after its power-off, so that QEMU can be asked,
when all is over, how many writes there were (N12).
"""

import contextlib
import hashlib
import json
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import disk_images
from harness import Failure, Job, expect
from machine import boot, neap_command
from terminal import PROMPT, Terminal

STAND_IN = """\
#!/usr/bin/env python3
import os, sys
words = sys.argv[1:]
at = words.index("isa-debug-exit,iobase=0xf4,iosize=4")
if {keep}:
    del words[at - 1:at + 1]
    words += ["-no-shutdown"]
words += ["-qmp", "unix:{qmp},server=on,wait=off"] + {disks!r}
os.execvp("qemu-system-x86_64", ["qemu-system-x86_64", *words])
"""


class Qmp:
    """QEMU's own monitor."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise Failure("QEMU's monitor cannot be reached") from None
                time.sleep(0.1)
        self.socket.settimeout(60)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command):
        self.file.write(json.dumps({"execute": command}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Failure(f"QEMU says {answer['error']}")

    def operations(self):
        """{disk: (reads, writes)}"""
        return {one["device"]: (one["stats"]["rd_operations"], one["stats"]["wr_operations"])
                for one in self.ask("query-blockstats") if one.get("device")}

    def close(self):
        self.file.close()
        self.socket.close()


class Disks:
    """Images in a directory of their own, QEMU's stand-in, and what they must be at the end."""

    def __init__(self, directory, images, keep, legacy=False):
        self.directory = Path(directory)
        self.qmp = self.directory / "qmp"
        self.hashes = {}
        words = []
        for name, (_, make) in images.items():
            path = self.directory / f"{name}.img"
            path.write_bytes(make())
            self.hashes[path] = self.hash(path)
            words += ["-drive", f"if=none,format=raw,file={path},id={name}", "-device",
                      f"virtio-blk-pci,drive={name},"
                      + ("disable-modern=on,disable-legacy=off" if legacy else "disable-legacy=on")]
        self.qemu = self.directory / "qemu"
        self.qemu.write_text(STAND_IN.format(keep=keep, qmp=self.qmp, disks=words))
        self.qemu.chmod(0o755)

    @staticmethod
    def hash(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def expect_unchanged(self):
        for path, was in self.hashes.items():
            expect(self.hash(path) == was, f"{path.stem} has changed")


@contextlib.contextmanager
def attached(images, keep=False, **how):
    with tempfile.TemporaryDirectory(prefix="neap-disks-") as directory:
        yield Disks(directory, images, keep, **how)


def command_of(disks, **machine):
    """tools/neap with the stand-in for QEMU."""
    return ["env", f"NEAP_QEMU={disks.qemu}", *neap_command(**machine)]


def read_until(child, pattern, task):
    lines = []
    for line in child.stdout:
        task.write(line)
        lines.append(line.rstrip("\n"))
        if re.match(pattern, lines[-1]):
            return lines
    raise Failure("\n".join([f"nothing like {pattern!r} came", *lines[-8:]]))


def expect_names(lines, images):
    for name, (words, _) in images.items():
        size = len(images[name][1]()) // 1024
        expect(f" KiB: {words}" in "\n".join(lines), f"no disk is called {words!r} ({name})")
        expect(any(line.endswith(f", {size} KiB: {words}") for line in lines), f"{name}: {lines}")


def untouched(images, extra=()):
    """All of @images beside a marked swap disk, through boot and the kernel's disk tests."""
    def run(task):
        with attached(images, keep=True) as disks:
            command = command_of(disks, smp=task.settings.cpus(2), kernel_args="selftest=disk",
                                 options=("--batch", "--timeout", "90", "--swap", "16M"))
            child = task.popen(command, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
            try:
                lines = read_until(child, r"TESTS ", task)
                qmp = Qmp(disks.qmp)
                while qmp.ask("query-status")["status"] != "shutdown":
                    time.sleep(0.1)
                operations = qmp.operations()
                qmp.ask("quit")
                qmp.close()
            finally:
                child.terminate()
                child.wait()
                child.stdout.close()
            expect(re.fullmatch(r"TESTS passed=\d+ failed=0 skipped=0", lines[-1]),
                   "\n".join([line for line in lines if line.startswith("FAIL")] + lines[-1:]))
            expect_names(lines, images)
            for pattern in extra:
                expect(any(re.fullmatch(pattern, line) for line in lines),
                       f"nothing says {pattern}")
            task.write(f"{operations}\n")
            for name in images:
                reads, writes = operations[name]
                expect(reads > 0, f"{name} was not even looked at")
                expect(writes == 0, f"{name} was written {writes} times")
            expect(operations["swap0"][1] > 1000, f"the swap disk: {operations['swap0']}")
            disks.expect_unchanged()
        return f"{len(images)} disks unchanged; swap0 {operations['swap0'][1]} writes"
    return run


def selftest(smp):
    def run(task):
        result = boot(task, smp=task.settings.cpus(smp), kernel_args="selftest=disk",
                      options=("--swap", "16M"))
        result.expect_status(0)
        expect(result.find(r"Neap: disk vda, 16384 KiB: Neap swap area [0-9a-f-]{36}"),
               "no swap area")
        expect(result.find(r"TESTS passed=\d+ failed=0 skipped=0"), "not all passed")
        note = result.find(r"vda: \d+ reads, .*")
        return note.text if note else ""
    return run


def command(task):
    """`disks` names each, with its figures."""
    images = {name: disk_images.FOREIGN[name] for name in ("ext4", "zeros", "no_last_header")}
    with attached(images) as disks:
        terminal = Terminal(task, (), options=("--swap", "8M"))
        terminal.command = ["env", f"NEAP_QEMU={disks.qemu}", *terminal.command]
        with terminal:
            terminal.expect(PROMPT)
            terminal.command_says(
                "disks", r"vda +8192 KiB  Neap swap area [0-9a-f-]{36}",
                r"\d+ reads, 0 writes, 0 flushes, 0 errors, 0 in flight",
                r"vdb +4096 KiB  ext4, not Neap's", r"vdc +4096 KiB  empty, not Neap's",
                r"vdd +4096 KiB  damaged Neap swap area \(no header at its end\), not used")
            terminal.send("quit\r")
            expect(terminal.wait() == 0, "it did not end well")
        disks.expect_unchanged()


def legacy(task):
    """A disk with the legacy interface alone is declined in one line, and the others are used."""
    images = {"zeros": disk_images.FOREIGN["zeros"]}
    with attached(images, legacy=True) as disks:
        status, out = task.output(command_of(disks, options=("--batch", "--timeout", "60",
                                                             "--swap", "8M")), timeout=100)
    expect(status == 0, f"exit status {status}")
    expect(len(re.findall(r"^Neap: virtio disk at .* left out: it is legacy: .*$", out, re.M)) == 1,
           "no line declines the legacy disk")
    expect(re.search(r"^Neap: disk vda, 8192 KiB: Neap swap area", out, re.M), "no swap area")


def jobs(settings):
    needs = ("build/debug",)
    partitions = (r"Neap: disk vd.2, 1024 KiB: Neap swap area [0-9a-f-]{36}",
                  r"Neap: disk vd.1, 1024 KiB: ext4, not Neap's",
                  r"Neap: disk vd.1, 2048 KiB: damaged Neap swap area \(in a partition that is not"
                  r" of Neap's type\), not used")
    return [
        Job("disk/foreign", untouched(disk_images.FOREIGN, (
            r"Neap: disk vd.1, 2048 KiB: ext4, not Neap's",)), needs, quick=True),
        Job("disk/partitions", untouched(disk_images.PARTITIONED, partitions), needs),
        *(Job(f"disk/swap_smp{smp}", selftest(smp), needs) for smp in settings.smps(1, 4)),
        Job("disk/command", command, needs),
        Job("disk/legacy", legacy, needs),
    ]
