# SPDX-License-Identifier: BSD-2-Clause
"""tools/neap mkswap: what it marks, and above all what it refuses. And --swap of run."""

import fcntl
import os
import re
import sys
import unittest
import uuid
import zlib
from pathlib import Path

from support import HostTest, ROOT

sys.path.insert(0, str(ROOT / "tests" / "system"))

import disk_images  # noqa: E402  (the path must be set first)
from neaplib import mkswap, swapdisk  # noqa: E402
from neaplib.args import parse_args  # noqa: E402
from neaplib.errors import NeapError  # noqa: E402


class HeaderTest(unittest.TestCase):
    def test_layout(self):
        """Byte by byte, as kernel/lib/swap_header.h has it."""
        name = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
        header = swapdisk.make_header(name, 0x123456000)
        self.assertEqual(len(header), 4096)
        self.assertEqual(header[:24], b"Neap swap area\n\x1a\x01\0\0\0\x00\x10\0\0")
        self.assertEqual(header[24:40].hex(), "00112233445566778899aabbccddeeff")
        self.assertEqual(header[40:48], bytes.fromhex("0060452301000000"))
        self.assertEqual(header[48:4092], bytes(4044))
        self.assertEqual(header[4092:], zlib.crc32(header[:4092]).to_bytes(4, "little"))

    def test_the_kernel_has_the_same_marks(self):
        text = (ROOT / "kernel/lib/disk_content.c").read_text()
        found = re.findall(r'\{(\d+), "((?:[^"\\]|\\.)*)", "([^"]+)"\}', text)
        theirs = [(int(at), mark.encode("latin-1").decode("unicode_escape").encode("latin-1"), name)
                  for at, mark, name in found]
        self.assertEqual(theirs, swapdisk.MARKS)
        self.assertFalse(any(b"\0" in mark for _, mark, _ in theirs))  # C strings hold them

    def test_the_kernel_has_the_same_type(self):
        self.assertIn(f'GPT_NEAP_TYPE "{swapdisk.NEAP_TYPE}"',
                      (ROOT / "kernel/lib/gpt.h").read_text())


class MkswapTest(HostTest):
    def marks(self, *args):
        result = self.neap("mkswap", *args)
        self.assertEqual((result.returncode, result.err), (0, ""))
        return result.out

    def refuses(self, path, pattern, *args):
        """One line, status 2, and not a byte of the file changed."""
        before = path.read_bytes() if path.is_file() else None
        result = self.neap("mkswap", path, *args)
        self.assertEqual((result.returncode, result.out), (2, ""))
        self.assertRegex(result.err, r"\Aneap: [^\n]+\n\Z")
        self.assertRegex(result.err, pattern)
        if before is not None:
            self.assertEqual(path.read_bytes(), before)

    def look(self, path):
        with open(path, "rb") as file:
            return swapdisk.look(file)

    def test_new_file(self):
        path = self.dir / "swap.img"
        out = self.marks(path, "--size", "3M")
        self.assertRegex(out, r"\A\S+: Neap swap area of 3M, UUID [0-9a-f-]{36}\n\Z")
        data = path.read_bytes()
        self.assertEqual(self.look(path), (swapdisk.SWAP, 3 << 20))
        self.assertEqual(data[:4096], data[-4096:])
        self.assertEqual(data[24:40], uuid.UUID(out.split()[-1]).bytes)
        self.assertFalse(any(data[4096:-4096]))

    def test_file_of_zeros(self):
        path = self.file("zeros.img", bytes((2 << 20) + 1536))
        self.marks(path)
        self.assertEqual(self.look(path)[0], swapdisk.SWAP)
        self.assertEqual(path.stat().st_size, (2 << 20) + 1536)

    def test_empty_file_takes_the_size(self):
        path = self.file("empty.img", b"")
        self.marks(path, "--size", "1M")
        self.assertEqual(self.look(path), (swapdisk.SWAP, 1 << 20))

    def test_own_area_again(self):
        path = self.file("own.img", disk_images.neap())
        old = path.read_bytes()
        self.marks(path)
        self.assertEqual(self.look(path)[0], swapdisk.SWAP)
        self.assertNotEqual(path.read_bytes()[24:40], old[24:40])
        self.assertEqual(path.read_bytes()[4096:-4096], old[4096:-4096])

    def test_others_marks(self):
        for name, (_, make) in {**disk_images.FOREIGN, **disk_images.PARTITIONED}.items():
            if name == "zeros":
                continue
            with self.subTest(name):
                self.refuses(self.file(f"{name}.img", make()), "nothing was written")

    def test_what_was_found_is_shown_and_cannot_be_forced(self):
        for name, word in (("ext4", "ext4"), ("gpt_ext4", "GPT"), ("linux_swap", "Linux swap"),
                           ("lvm", "LVM"), ("ntfs", "NTFS"), ("mbr", "MBR")):
            path = self.file(f"{name}.img", disk_images.FOREIGN[name][1]())
            for force in ([], ["--force-unknown", "--force-damaged"]):
                self.refuses(path, f"holds {word};", *force)

    def test_unknown_data_can_be_forced(self):
        path = self.file("data.img", disk_images.FOREIGN["unknown"][1]())
        self.refuses(path, "no mark", "--force-damaged")
        self.marks(path, "--force-unknown")
        self.assertEqual(self.look(path)[0], swapdisk.SWAP)

    def test_damaged_area_can_be_forced(self):
        path = self.file("damaged.img", disk_images.neap_flipped(100))
        self.refuses(path, "damaged Neap swap area", "--force-unknown")
        self.marks(path, "--force-damaged")
        self.assertEqual(self.look(path)[0], swapdisk.SWAP)

    def test_sizes(self):
        path = self.dir / "new.img"
        self.refuses(path, "no such file")
        for size in ("1000K", "1048577", "12Q", "0"):
            self.refuses(path, "--size", "--size", size)
        self.assertFalse(path.exists())
        self.refuses(self.file("small.img", bytes(4096)), "at least 1M")
        self.refuses(self.file("other.img", bytes(2 << 20)), "has 2097152 bytes", "--size", "3M")

    def test_neither_file_nor_disk(self):
        self.refuses(self.dir, "neither")
        self.refuses(Path("/dev/null"), "neither")

    def test_locked_file(self):
        """As an emulator locks a disk that it shows to a machine."""
        path = self.file("busy.img", bytes(2 << 20))
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 100)
            result = self.neap("mkswap", path)  # to look into the file here would drop the lock
        self.assertEqual(result.returncode, 2)
        self.assertIn("in use by another program", result.err)
        self.assertFalse(any(path.read_bytes()))


class DeviceTest(HostTest):
    """What /proc and /sys tell about a disk."""

    def setUp(self):
        super().setUp()
        self.number = os.makedev(8, 16)
        self.file("proc/self/mountinfo", b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
        self.file("proc/swaps", b"Filename Type Size Used Priority\n")
        self.node = self.dir / "sys/dev/block/8:16"
        (self.node / "holders").mkdir(parents=True)

    def users(self):
        return mkswap.users_of_device(self.number, self.dir)

    def test_unused(self):
        self.assertEqual(self.users(), [])

    def test_mounted(self):
        self.file("proc/self/mountinfo", b"22 1 8:16 / /mnt rw - ext4 /dev/sdb rw\n")
        self.assertEqual(self.users(), ["it is mounted on /mnt"])

    def test_mounted_partition_of_a_disk(self):
        self.file("sys/dev/block/8:16/sdb1/partition", b"1\n")
        self.file("sys/dev/block/8:16/sdb1/dev", b"8:17\n")
        self.file("proc/self/mountinfo", b"22 1 8:17 / /srv rw - ext4 /dev/sdb1 rw\n")
        self.assertEqual(self.users(), ["it is mounted on /srv"])

    def test_held(self):
        (self.node / "holders" / "dm-0").mkdir()
        self.assertEqual(self.users(), ["it is used by dm-0"])

    def test_file_behind_a_loop(self):
        path = self.file("image", b"x")
        self.file("sys/block/loop3/loop/backing_file", os.path.realpath(path).encode() + b"\n")
        self.assertEqual(mkswap.users_of_file(path, self.dir), ["it is attached to loop3"])

    def test_swapped_on_file(self):
        path = self.file("image", b"x")
        self.file("proc/swaps", f"Filename Type\n{os.path.realpath(path)} file 1 0 -2\n".encode())
        self.assertEqual(mkswap.users_of_file(path, self.dir), ["it is Linux's swap now"])

    def test_types_of_partitions(self):
        image = disk_images.PARTITIONED["gpt_neap"][1]()
        self.assertEqual(swapdisk.partition_type(image, 1), disk_images.LINUX_TYPE)
        self.assertEqual(swapdisk.partition_type(image, 2), swapdisk.NEAP_TYPE)
        self.assertEqual(swapdisk.partition_type(image, 999), None)
        self.assertEqual(swapdisk.partition_type(bytes(68 << 10), 1), None)


class RunTest(HostTest):
    def dry_run(self, *args):
        result = self.neap("run", "--dry-run", "--kernel", self.kernel, *args)
        self.assertEqual((result.returncode, result.err), (0, ""))
        return result.out.rstrip("\n").rpartition("\n")[2]

    def test_there_is_a_disk_unless_told_otherwise(self):
        self.assertIn("file=swap.img,id=swap0", self.dry_run())
        self.assertEqual(parse_args(["run", "--kernel", str(self.kernel)]).swap, 512 << 20)
        self.assertNotIn("virtio-blk", self.dry_run("--swap", "none"))

    def test_the_standard_disk_takes_no_room(self):
        self.qemu('for word; do case $word in if=none*) f=${word#*file=}; f=${f%%,*};'
                  f' stat -c "%s %b" "$f" > "{self.dir}/size";; esac; done')
        self.run_batch()
        size, blocks = map(int, (self.dir / "size").read_text().split())
        self.assertEqual(size, 512 << 20)
        self.assertLess(blocks * 512, 1 << 20)

    def test_disk_on_the_command_line(self):
        path = self.file("a,b.img", disk_images.neap())
        command = self.dry_run("--swap", path)
        self.assertIn(f"if=none,format=raw,file={str(path).replace(',', ',,')},id=swap0", command)
        self.assertIn("virtio-blk-pci,drive=swap0,disable-legacy=on", command)
        self.assertIn("file=swap.img,id=swap0", self.dry_run("--swap", "64M"))

    def test_new_disk_of_a_size(self):
        self.qemu('for word; do case $word in if=none*) f=${word#*file=}; f=${f%%,*};'
                  f' cp "$f" "{self.dir}/kept";; esac; done')
        self.run_batch("--swap", "2M")
        with open(self.dir / "kept", "rb") as file:
            self.assertEqual(swapdisk.look(file), (swapdisk.SWAP, 2 << 20))

    def test_refused(self):
        self.file("ext4.img", disk_images.ext4())
        for text, why in (("12Q", "not a size"), ("4K", "at least 1M"), ("1048577", "multiple"),
                          ("/nowhere", "no such file"), ("/dev/null", "not marked"),
                          (str(self.dir), "cannot be read"),
                          (str(self.dir / "ext4.img"), "not marked as Neap's: ext4"),
                          ("", "no such file")):
            with self.assertRaisesRegex(NeapError, why, msg=text):
                mkswap.check_swap(text)
