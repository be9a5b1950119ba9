# SPDX-License-Identifier: BSD-2-Clause
"""Disks of Linux guests: a root file system on a copy of a file, partitions for reading and for writing,
and what is refused. What comes back is compared with what was there, on both sides."""

import hashlib
import random
import shutil
import subprocess
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

import disk_images
from disks import attached
from harness import Job, Skip, expect
from linux import INITRD, KERNEL, PLAIN, SECONDS
from machine import boot, guest
from neaplib import debian
from terminal import Terminal

MIB = 1 << 20
MKE2FS = "/usr/sbin/mke2fs"

ROOT_INIT = """\
#!/bin/busybox sh
PATH=/bin
busybox md5sum </known
busybox dd if=/dev/urandom of=/data bs=65536 count=200 2>/dev/null
was=$(busybox md5sum </data)
busybox sync
echo 3 >/proc/sys/vm/drop_caches
[ "$was" = "$(busybox md5sum </data)" ] && echo "root: 12 MiB written and read again"
busybox mount -o remount,ro / && echo "root: clean"
busybox poweroff -f
"""


def busybox(task, directory):
    """Debian's static busybox, from the package that the guest is made of."""
    package = debian.find_packages(["busybox-static"])["busybox-static"]
    debian.unpack(debian.fetch(package), directory / "package")
    return directory / "package/bin/busybox"


def root_image(task, directory, known):
    """An ext4 file system of 64 MiB whose init writes and reads."""
    tree, image = directory / "tree", directory / "root.img"
    for name in ("bin", "sbin", "dev", "proc", "sys"):
        (tree / name).mkdir(parents=True)
    shutil.copyfile(busybox(task, directory), tree / "bin/busybox")
    (tree / "known").write_bytes(known)
    (tree / "sbin/init").write_text(ROOT_INIT)
    for program in ("bin/busybox", "sbin/init"):
        (tree / program).chmod(0o755)
    subprocess.run([MKE2FS, "-q", "-t", "ext4", "-d", str(tree), str(image), "64M"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return image


def with_disk(name, image, append, **keys):
    it = guest(KERNEL, append, name=name, initrd=INITRD, **keys)
    it.disk = str(image)
    return it


def root(task):
    """Two guests with a copy each of one image, in less memory than one of them believes to have."""
    if not Path(MKE2FS).exists():
        raise Skip(f"{MKE2FS} is not here (apt-get install e2fsprogs)")
    known = random.Random(1).randbytes(3 * MIB + 5)
    with TemporaryDirectory(prefix="neap-root-") as scratch:
        image = root_image(task, Path(scratch), known)
        before = hashlib.sha256(image.read_bytes()).digest()
        names = ("first", "second")
        result = boot(task, [with_disk(name, image, f"{PLAIN} root=/dev/vda", mem="160M", limit="96M")
                             for name in names], ram="256M", swap="768M", timeout=SECONDS)
        for name in names:
            got, said = result.expect_end(name, status="poweroff"), "\n".join(result.said(name))
            for line in (hashlib.md5(known).hexdigest(), "root: 12 MiB written and read again",
                         "root: clean"):
                expect(line in said, f"{name} does not say {line!r}:\n{said}")
            expect(int(got["swapin"]) > 200, f"only {got['swapin']} pages came back")
        expect(hashlib.sha256(image.read_bytes()).digest() == before, "the file has changed")
    return f"{got['swapin']} pages came back"


FIRST, SECOND, SWAP = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
AT, BYTES = 2048 * 512, MIB  # of the first partition


def partitioned():
    """Two partitions of somebody's, with his data, and one of Neap's type. (A BIOS tries to boot the first disk;
    so that must be another.)"""
    def contents(seed, size):
        return random.Random(seed).randbytes(size)
    kind = uuid.UUID("0a9d5c3e-7e51-4b6f-9a37-4e6561705357")
    return disk_images.gpt((disk_images.LINUX_TYPE, AT // 512, contents(5, BYTES)),
                           (disk_images.LINUX_TYPE, 4096, contents(6, MIB // 2)),
                           (kind, 6144, bytes(MIB // 2)))



SHELL = "console=ttyS0 quiet -- busybox sh -c"


def partitions(task):
    """One guest reads a partition and cannot write it, then another writes it; nothing else changes."""
    images = {"foreign": ("", partitioned)}
    with attached(images) as disks:
        image = disks.directory / "foreign.img"
        was = image.read_bytes()

        def run(name, part, script):
            one = guest(KERNEL, f'{SHELL} "{script}"', name=name, initrd=INITRD, mem="128M", part=part)
            result = boot(task, [one], ram="256M", swap="16M", emulator=disks.qemu, timeout=SECONDS)
            result.expect_end(name, status="poweroff")
            return "\n".join(result.said(name))
        with task.case("linux_disks/read_only"):
            said = run("reader", FIRST.upper(), "busybox md5sum /dev/vda; busybox dd if=/dev/zero "
                       "of=/dev/vda bs=4096 count=1 conv=fsync; busybox md5sum /dev/vda")
            expect(said.count(hashlib.md5(was[AT:AT + BYTES]).hexdigest()) == 2, said)
            expect("init: busybox ended with code 0" in said, said)
            expect(image.read_bytes() == was, "the disk was written")
        with task.case("linux_disks/writable"):
            said = run("writer", f"{FIRST}:rw", "busybox dd if=/dev/zero of=/dev/vda bs=4096 seek=5 "
                       "count=7 conv=fsync,notrunc; echo 3 >/proc/sys/vm/drop_caches; "
                       "busybox md5sum /dev/vda")
            start, end = AT + 5 * 4096, AT + 12 * 4096
            want = was[:start] + bytes(end - start) + was[end:]
            expect(image.read_bytes() == want, "the disk is not as it should be now")
            expect(hashlib.md5(want[AT:AT + BYTES]).hexdigest() in said, said)


def killed(task):
    """A VM that ends in the midst of requests gives all back, and its partition can be had again."""
    with attached({"foreign": ("", partitioned)}) as disks:
        copying = "while :; do busybox dd if=/dev/vda of=/dev/vda bs=64k; done"
        one = guest(KERNEL, f'{SHELL} "{copying}"', name="busy", initrd=INITRD, mem="128M",
                    part=f"{FIRST}:rw", limit="64M")
        terminal = Terminal(task, [one, guest("halt")], ram="256M", options=("--swap", "128M"))
        terminal.command = ["env", f"NEAP_QEMU={disks.qemu}", *terminal.command]
        with terminal:
            terminal.expect(r"records in", SECONDS)
            terminal.send("vm busy kill\r")
            terminal.expect(r"SUMMARY vm=busy .*status=killed")
            terminal.command_says("audit", r"audit: 0 differences")
            terminal.send(f"start halt vm=again part={FIRST}:rw\r")
            terminal.expect(r"vm again: ")
            terminal.send("quit\r")
            expect(terminal.wait() == 1, "it did not end as it should")
        image = (disks.directory / "foreign.img").read_bytes()
        expect(image == partitioned(), "the disk has changed by being copied onto itself")


def refusals(task):
    """Each wrong disk is refused in one line, and nothing is written."""
    with attached({"foreign": ("", partitioned)}) as disks:
        wrong = {
            "unknown": ({"part": str(uuid.UUID(int=77))}, r"part=.*no disk has such"),
            "neaps": ({"part": SWAP}, r"part=.*Neap"),
            "taken": ({"part": f"{FIRST}:rw"}, r"part=.*(in use|has it|another)"),
            "garbled": ({"part": "12345"}, r"part=12345: give a partition's own GUID"),
        }
        guests = [guest("pattern", name="holder", mem="16M", part=FIRST),
                  *(guest("hello", name=name, **keys) for name, (keys, _) in wrong.items())]
        both = with_disk("both", "build/guests/hello.elf", "", part=SECOND)
        both.image, both.initrd = "hello", None
        result = boot(task, [*guests, both], swap="16M", emulator=disks.qemu, timeout=60)
        for name, (_, line) in {**wrong, "both": (None, r"two disks")}.items():
            with task.case(f"linux_disks/refused_{name}"):
                result.expect_refused(name, line)
        with task.case("linux_disks/refused_unchanged"):
            disks.expect_unchanged()


def jobs(settings):
    needs = ("build/debug", "build/linux")
    refused = ("unknown", "neaps", "taken", "garbled", "both", "unchanged")
    return [
        Job("linux_disks/root", root, needs),
        Job("linux_disks/killed", killed, (*needs, "build/guests")),
        Job("linux_disks", partitions, needs,
            cases=("linux_disks/read_only", "linux_disks/writable")),
        Job("linux_disks/refused", refusals, ("build/debug", "build/guests"),
            cases=tuple(f"linux_disks/refused_{name}" for name in refused)),
    ]
