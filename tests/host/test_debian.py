# SPDX-License-Identifier: BSD-2-Clause
"""tools/neap debian: the archive, the workload on this machine, and the command with programs that
stand in for Debian's, so that no network is asked."""

import gzip
import lzma
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import zlib
from pathlib import Path

from support import HostTest, ROOT, TOOLS

from neaplib import debian
from neaplib.args import parse_args
from neaplib.errors import NeapError

PAGE = 4096

FAKE_APT_CACHE = r"""
stanza() { printf 'Package: %s\nVersion: %s\nSize: 2097152\nArchitecture: amd64\n\n' "$1" "$2"; }
case $1 in
depends) printf 'linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-9-cloud-amd64\n' ;;
search)
    for v in 6.1.0-9 6.1.0-10 6.12.3+deb12; do
        echo "linux-image-$v-cloud-amd64 - Linux (signed)"
        echo "linux-image-$v-cloud-amd64-dbg - Debug symbols"
        echo "linux-image-$v-cloud-amd64-unsigned - Linux"
    done
    echo 'linux-image-6.1.0-11-cloud-amd64-unsigned - Linux'
    echo 'linux-image-6.12-cloud-amd64 - Linux (meta-package)' ;;
show)
    shift 2
    for name; do
        case $name in
        $UNKNOWN) echo "N: Unable to locate package $name" >&2 ;;
        linux-image-*) stanza "$name" "${name#linux-image-}" ;;
        *) stanza "$name" 1:2.3 ;;
        esac
    done ;;
esac
"""

FAKE_APT_GET = r"""
[ "$1" = download ] || exit 100
name=${2%%=*} version=${2#*=}
echo "$2" >> "$COUNT"
echo half > "$(echo "${name}_${version}_amd64.deb" | sed s/:/%3a/)"
if [ -n "$SLOW" ]; then echo $$ > "$SLOW"; exec sleep 60; fi
[ -z "$NO_NETWORK" ] || { rm *.deb; printf 'Err:1\nE: Failed to fetch: Could not resolve\n' >&2
                          exit 100; }
echo "$name" > "$(ls *.deb)"
"""

FAKE_DPKG_DEB = r"""
case $(cat "$2") in
linux*) mkdir -p "$3/boot"; echo kernel > "$3/boot/vmlinuz-6.1" ;;
busybox*) mkdir -p "$3/bin"; echo busybox > "$3/bin/busybox" ;;
*) echo 'dpkg-deb: error: not a Debian format archive' >&2; exit 2 ;;
esac
"""

FAKE_CC = r"""
[ -z "$NO_LIBC" ] || { echo '/usr/bin/ld: cannot find -lc: No such file' >&2; exit 1; }
while [ "$1" != -o ]; do shift; done
echo work > "$2"
"""


def read_cpio(data):
    """The entries of a newc archive: (name, fields by name, contents). ValueError if it is none."""
    keys = ("ino", "mode", "uid", "gid", "nlink", "mtime", "filesize", "devmajor", "devminor",
            "rdevmajor", "rdevminor", "namesize", "check")
    at, found = 0, []
    while True:
        if at % 4 or data[at:at + 6] != b"070701":
            raise ValueError(f"no header at {at}")
        fields = {key: int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i, key in enumerate(keys)}
        name = data[at + 110:at + 110 + fields["namesize"]]
        if name[-1:] != b"\0" or b"\0" in name[:-1]:
            raise ValueError(f"name at {at}")
        at = (at + 110 + fields["namesize"] + 3) & -4
        contents = data[at:at + fields["filesize"]]
        at = (at + fields["filesize"] + 3) & -4
        if name == b"TRAILER!!!\0":
            if at != len(data):
                raise ValueError("something follows the trailer")
            return found
        found.append((name[:-1].decode(), fields, contents))


class ArchiveTest(unittest.TestCase):
    def setUp(self):
        self.data = debian.initramfs(b"#!/bin/busybox sh\n", {
            "bin/busybox": b"bb" * 1001, "bin/work": b"w", "lib/libw.so.1": b"lib"})
        self.entries = {name: (fields, data) for name, fields, data in read_cpio(self.data)}

    def test_contents(self):
        self.assertEqual(self.entries["init"][1], b"#!/bin/busybox sh\n")
        self.assertEqual(self.entries["bin/busybox"][1], b"bb" * 1001)
        self.assertEqual(self.entries["bin/work"][1], b"w")

    def test_modes_and_devices(self):
        modes = {name: stat.filemode(fields["mode"]) for name, (fields, _) in self.entries.items()}
        self.assertEqual(modes, {
            **dict.fromkeys(("bin", "dev", "lib", "proc", "root", "sys", "tmp"), "drwxr-xr-x"),
            **dict.fromkeys(("bin/busybox", "bin/work", "init", "lib/libw.so.1"), "-rwxr-xr-x"),
            "dev/console": "crw-------", "dev/null": "crw-rw-rw-"})
        for name, major, minor in (("dev/console", 5, 1), ("dev/null", 1, 3)):
            fields = self.entries[name][0]
            self.assertEqual((fields["rdevmajor"], fields["rdevminor"]), (major, minor))

    def test_folders_come_before_what_lies_in_them(self):
        names = list(self.entries)
        for name in names:
            if "/" in name:
                self.assertLess(names.index(name.rpartition("/")[0]), names.index(name))

    def test_the_same_parts_make_the_same_bytes(self):
        for fields, _ in self.entries.values():
            self.assertEqual((fields["mtime"], fields["uid"], fields["gid"]), (0, 0, 0))
        numbers = [fields["ino"] for fields, _ in self.entries.values()]
        self.assertEqual(len(set(numbers)), len(numbers))  # two of a number would be links
        packed = debian.compress(self.data)
        self.assertEqual(packed, debian.compress(self.data))
        self.assertEqual(packed[:10], b"\x1f\x8b\x08\x00\0\0\0\0\x02\xff")  # no name, no time
        self.assertEqual(gzip.decompress(packed), self.data)

    def test_cpio_reads_it(self):
        cpio = shutil.which("cpio")
        command = [cpio] if cpio else [shutil.which("busybox"), "cpio"]
        if command[0] is None:
            self.skipTest("neither cpio nor busybox is here")
        listed = subprocess.run([*command, "-t"], input=self.data, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, check=True).stdout.decode().split()
        self.assertEqual(listed, list(self.entries))


class FilesTest(HostTest):
    """What of unpacked packages goes into the guest."""

    def test_kernel_modules_in_the_order_of_their_needs(self):
        folder = self.dir / "linux/lib/modules/6.1/kernel/drivers"
        (folder / "virtio").mkdir(parents=True)
        (folder / "block").mkdir()
        (folder / "virtio/virtio_ring.ko").write_bytes(b"ring")
        (folder / "virtio/virtio.ko.xz").write_bytes(lzma.compress(b"virtio"))
        (folder / "block/virtio_blk.ko").write_bytes(b"blk")
        (folder / "block/loop.ko").write_bytes(b"loop")
        self.assertEqual(debian.kernel_modules(self.dir / "linux"), {
            "lib/modules/0-virtio_ring.ko": b"ring", "lib/modules/1-virtio.ko": b"virtio",
            "lib/modules/5-virtio_blk.ko": b"blk"})

    def test_programs_bring_their_libraries(self):
        program = Path(shutil.which("true")).resolve()
        found = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
        libraries = [Path(path) for path in re.findall(r"(/\S+) \(0x", found)]
        tools, libc = self.dir / "tools", self.dir / "libc"
        (tools / "usr/bin").mkdir(parents=True)
        (libc / "lib").mkdir(parents=True)
        shutil.copy(program, tools / "usr/bin/nothing")
        (tools / "usr/bin/script").write_text("#!/bin/sh\n")
        for library in libraries:
            shutil.copy(library, libc / "lib" / library.name)
        files = debian.added_files(["tools"], {"tools": tools, "libc": libc})
        self.assertEqual(set(files), {"bin/nothing", "bin/script", *(
            f"lib64/{path.name}" if path.name.startswith("ld-") else f"lib/{path.name}"
            for path in libraries)})
        self.assertEqual(files["bin/nothing"], program.read_bytes())
        with self.assertRaisesRegex(NeapError, "none of its packages has"):
            debian.added_files(["tools"], {"tools": tools})
        with self.assertRaisesRegex(NeapError, "libc: there is no program in it"):
            debian.added_files(["libc"], {"libc": libc})


class WorkTest(unittest.TestCase):
    """The workload is a program like any other: here it runs on this machine."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="neap-test-")
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.program = Path(cls.scratch.name) / "work"
        subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
                        str(cls.program), str(ROOT / "tests/guest_linux/work.c")], check=True)

    def work(self, *args):
        result = subprocess.run([str(self.program), *args], stdout=subprocess.PIPE, timeout=60)
        return result.returncode, result.stdout.decode()

    def start(self, *args):
        """A long run after its first line of progress, and its children's process ids."""
        process = subprocess.Popen([str(self.program), "rounds=1000000", *args],
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.stdout.readline()
        self.assertRegex(process.stdout.readline(), r"\Awork: \d+ %, \d+ MiB written, \d+ MiB"
                                                    r" verified, mismatches=0\n\Z")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return process, [int(child) for child in children]

    def test_verdict_ok(self):
        for rounds, children in ((1, 1), (2, 3), (3, 5)):
            code, out = self.work("mem=4M", f"rounds={rounds}", f"children={children}")
            pages = (4 << 20) // children // (PAGE + 16) // 2 * 2 * children
            self.assertEqual(out.splitlines()[-1], f"VERDICT ok bytes_written="
                             f"{pages * PAGE + rounds * pages // 2 * PAGE} bytes_verified="
                             f"{(rounds + 1) * pages * PAGE} mismatches=0")
            self.assertEqual(code, 0)

    def test_share_of_what_is_available(self):
        _, out = self.work("share=1", "mem=1M")
        used, available = map(int, re.match(r"work: (\d+) of (\d+) MiB", out).groups())
        self.assertEqual(used, 1)
        lines = Path("/proc/meminfo").read_text()
        now = int(re.search(r"MemAvailable: *(\d+)", lines).group(1)) >> 10
        self.assertLess(abs(available - now), now / 4)

    def test_a_flipped_bit_is_found(self):
        for page in ("1", "200", "100001"):
            code, out = self.work("mem=4M", "children=2", f"flip={page}")
            self.assertEqual(code, 1)
            self.assertRegex(out.splitlines()[-1], r"\AVERDICT bad bytes_written=\d+ "
                                                   r"bytes_verified=\d+ mismatches=[123]\Z")
            want, got = re.search(r"MISMATCH child=0 .* word want=(\w+) got=(\w+)", out).groups()
            self.assertEqual(bin(int(want, 16) ^ int(got, 16)).count("1"), 1)

    def test_a_killed_child_is_no_success(self):
        process, children = self.start("mem=2M")
        self.assertEqual(len(children), 3)
        for child in children:
            os.kill(child, signal.SIGKILL)
        out = process.stdout.read()
        self.assertRegex(out, r"process \d+ was killed by signal 9\n(.*\n)*VERDICT bad .*=0\n\Z")
        self.assertEqual(process.wait(), 1)

    def test_pages_are_unique_and_do_not_compress(self):
        process, children = self.start("mem=3M")
        pages = []
        for child in children:
            os.kill(child, signal.SIGSTOP)
            with open(f"/proc/{child}/maps") as maps:
                areas = [tuple(int(x, 16) for x in line.split()[0].split("-")) for line in maps
                         if len(line.split()) == 5]
            start, end = max(areas, key=lambda area: area[1] - area[0])
            with open(f"/proc/{child}/mem", "rb") as memory:
                memory.seek(start)
                data = memory.read(end - start)
            pages += [data[at:at + PAGE] for at in range(0, len(data), PAGE)]
        filled = [page for page in pages if page[-8:].strip(b"\0")]
        self.assertGreater(len(filled), (3 << 20) // PAGE * 2 // 5)  # half may be given back now
        self.assertEqual(len(set(filled)), len(filled))
        data = b"".join(filled)
        self.assertGreater(len(zlib.compress(data, 9)), len(data) * 0.999)

    def test_mistakes(self):
        for word in ("share=0", "share=101", "rounds=0", "children=65", "seed=", "seed=x", "mem=1",
                     "mem=1Q", "mem=99999999999G", "colour=red", "share", "flip=-1"):
            code, out = self.work(word)
            self.assertEqual(code, 2, word)
            self.assertRegex(out, r"\Awork: [^\n]+\n\Z")


class CommandTest(HostTest):
    def setUp(self):
        super().setUp()
        self.program("apt-cache", FAKE_APT_CACHE)
        self.program("apt-get", FAKE_APT_GET)
        self.program("dpkg-deb", FAKE_DPKG_DEB)
        self.program("cc", FAKE_CC)
        self.out = self.dir / "out"
        self.cache = self.dir / "cache"
        self.count = self.file("count", b"")
        self.env = {"NEAP_DEB_CACHE": str(self.cache), "COUNT": str(self.count)}

    def debian(self, *args, **env):
        return self.neap("debian", "-o", self.out, *args, env={**self.env, **env})

    def makes(self, *args, **env):
        result = self.debian(*args, **env)
        self.assertEqual((result.returncode, result.err), (0, ""))
        return result.out

    def fails(self, pattern, status, *args, **env):
        """One line, and nothing half-written."""
        result = self.debian(*args, **env)
        self.assertEqual(result.returncode, status, result.err)
        self.assertRegex(result.err, r"\Aneap: [^\n]+\n\Z")
        self.assertRegex(result.err, pattern)
        self.assert_nothing_half_written()

    def assert_nothing_half_written(self):
        self.assertEqual([path for folder in (self.out, self.cache) if folder.exists()
                          for path in folder.iterdir() if path.name.startswith("part-")
                          or path.read_bytes() == b"half\n"], [])

    def downloaded(self):
        return self.count.read_text().splitlines()

    def test_makes_a_guest(self):
        out = self.makes()
        self.assertIn("linux-image-6.1.0-9-cloud-amd64 6.1.0-9-cloud-amd64: downloading 2.0 MiB",
                      out)
        self.assertRegex(out.splitlines()[-1], r"\Atools/neap run --guest \S+vmlinuz,")
        self.assertEqual(sorted(path.name for path in self.out.iterdir()),
                         ["initrd.gz", "made-of", "vmlinuz"])
        self.assertEqual((self.out / "vmlinuz").read_bytes(), b"kernel\n")
        archive = gzip.decompress((self.out / "initrd.gz").read_bytes())
        files = {name: data for name, _, data in read_cpio(archive)}
        self.assertEqual((files["bin/work"], files["bin/busybox"]), (b"work\n", b"busybox\n"))
        self.assertIn(b"args=share=90\n", files["init"])

    def test_the_second_time_there_is_nothing_to_do(self):
        self.makes()
        before = {path: path.stat().st_mtime_ns for path in self.out.iterdir()}
        out = self.makes(NO_NETWORK="1", NO_LIBC="1")
        self.assertRegex(out, r"\A\S+: up to date \(linux-image-6\S+ \S+, busybox-static 1:2.3\)\n"
                              r"\Z")
        self.assertEqual({path: path.stat().st_mtime_ns for path in self.out.iterdir()}, before)

    def test_what_has_changed_is_made_anew(self):
        self.makes()
        initrd = (self.out / "initrd.gz").read_bytes()
        self.file("out/initrd.gz", b"damaged")
        self.assertIn("in the cache", self.makes())
        self.assertEqual((self.out / "initrd.gz").read_bytes(), initrd)
        (self.out / "vmlinuz").unlink()
        self.assertIn("compiling", self.makes())
        self.assertIn("compiling", self.makes("--mem-share", "50"))
        self.assertIn(b"share=50", gzip.decompress((self.out / "initrd.gz").read_bytes()))
        self.assertEqual(len(self.downloaded()), 2)

    def test_the_newest_kernel_of_a_version(self):
        """By number, not by letter; a signed one where there are both; neither -dbg nor meta."""
        for glob, want in (("6.1.*", "6.1.0-11-cloud-amd64-unsigned"),
                           ("6.1.0-1*", "6.1.0-11-cloud-amd64-unsigned"),
                           ("6.1.0-10", "6.1.0-10-cloud-amd64"), ("6.1.0-?", "6.1.0-9-cloud-amd64"),
                           ("*", "6.12.3+deb12-cloud-amd64")):
            for folder in (self.cache, self.out):
                shutil.rmtree(folder, ignore_errors=True)
            self.count.write_bytes(b"")
            self.makes("--kernel", glob)
            self.assertEqual(self.downloaded()[0].partition("=")[0], f"linux-image-{want}", glob)

    def test_unsigned_where_there_is_no_signed(self):
        self.makes(UNKNOWN="linux-image-6.1.0-9-cloud-amd64")
        self.assertIn("linux-image-6.1.0-9-cloud-amd64-unsigned=", self.downloaded()[0])

    def test_unknown_packages(self):
        self.fails("linux-image-cloud-amd64: apt knows no such", 2, UNKNOWN="linux-image-*")
        self.fails("linux-image-7.*-cloud-amd64: apt knows no such", 2, "--kernel", "7.*")
        self.fails("busybox-static: apt knows no such", 2, UNKNOWN="busybox-static")
        self.fails("stress-ng: apt knows no such", 2, "--add", "stress-ng", UNKNOWN="stress-ng")

    def test_no_network(self):
        self.fails(r"not downloaded: Failed to fetch: Could not resolve \(is there a network", 1,
                   NO_NETWORK="1")
        self.makes()

    def test_damaged_package(self):
        self.makes()
        next(self.cache.glob("busybox*")).write_bytes(b"damaged")
        (self.out / "vmlinuz").unlink()
        self.fails("not unpacked, perhaps damaged .*: dpkg-deb: error: not a Debian", 1)

    def test_no_static_library(self):
        self.fails("work.c: not compiled: .*cannot find -lc.*libc6-dev", 1, NO_LIBC="1")
        self.assertFalse((self.out / "vmlinuz").exists())

    def test_missing_programs(self):
        for name, pattern in (("cc", r"cc: not found \(apt-get install gcc libc6-dev\)"),
                              ("apt-get", "apt-get: not found")):
            bare = self.dir / f"without-{name}"
            bare.mkdir()
            for other in ("apt-get", "apt-cache", "dpkg-deb", "cc"):
                if other != name:
                    (bare / other).symlink_to(self.bin / other)
            self.fails(pattern, 2, PATH=str(bare))

    def test_signals(self):
        for signum in (signal.SIGINT, signal.SIGTERM):
            slow = self.dir / f"slow-{signum}"
            process = subprocess.Popen([sys.executable, str(TOOLS / "neap"), "debian", "-o",
                                        str(self.out)], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE,
                                       env=self.environment(SLOW=str(slow), **self.env))
            while not (slow.exists() and slow.read_text()):
                time.sleep(0.01)
            process.send_signal(signum)
            _, err = process.communicate(timeout=20)
            self.assertEqual((process.returncode, err), (128 + signum, b""))
            self.assert_nothing_half_written()
            with self.assertRaises(ProcessLookupError):
                os.kill(int(slow.read_text()), 0)

    def test_mistakes(self):
        for args in (["--mem-share", "0"], ["--mem-share", "101"], ["--mem-share", "x"],
                     ["--kernel"], ["-o"], ["stray"], ["--guest", "x"]):
            with self.assertRaises(NeapError, msg=args) as caught:
                parse_args(["debian", *args])
            self.assertEqual(caught.exception.status, 2)

    def test_defaults(self):
        options = parse_args(["debian"])
        self.assertEqual((options.output, options.kernel, options.mem_share),
                         (ROOT / "build" / "debian", None, 90))
