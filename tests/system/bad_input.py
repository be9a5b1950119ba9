# SPDX-License-Identifier: BSD-2-Clause
"""Bad input: one clear line each, the others go on, and exit status 1."""

from harness import Job, expect
from images import Segment, elf32, elf64, multiboot_header
from machine import boot, guest, neap_command

MIB = 1 << 20
WHOLE = elf32(Segment(MIB))

IMAGES = {  # case: (the file's bytes, what the line must say)
    "text": (b"This is no guest image.\n" * 10, r"no guest image"),
    "one_byte": (b"\x7f", r"no guest image"),
    "zeros": (bytes(8192), r"no guest image"),
    "checksum": (WHOLE.replace(multiboot_header()[8:], b"\1\2\3\4"), r"checksum"),
    "multiboot_alone": (multiboot_header().ljust(4096, b"\0"), r"no ELF file"),
    "truncated_header": (elf64(Segment(MIB))[:40], r"truncated"),
    "truncated_table": (elf64(Segment(MIB))[:70], r"truncated"),
    "truncated_data": (elf64(Segment(MIB, 0x8000, 0x8000)), r"truncated"),
    "offset_wraps": (elf64(Segment(MIB, offset=(1 << 64) - 2)), r"segment 0"),
    "overlap": (elf64(Segment(MIB), Segment(MIB + 0x800)), r"segments 0 and 1 overlap"),
    "overlap_32": (elf32(Segment(MIB), Segment(MIB + 0x800)), r"segments 0 and 1 overlap"),
    "wraps": (elf64(Segment(MIB), Segment((1 << 64) - 0x800)), r"segment 1 wraps"),
    "wraps_32": (elf32(Segment(MIB), Segment(0xfffff800)), r"segment 1 wraps"),
    "wraps_by_size": (elf64(Segment(MIB, (1 << 64) - 1)), r"segment 0 wraps"),
    "outside": (elf64(Segment(64 * MIB)), r"needs memory up to \d+ MiB"),
    "far_outside": (elf64(Segment(MIB), Segment(1 << 45)), r"has no memory"),
    "crosses_the_end": (elf32(Segment(8 * MIB - 0x1000, 0x2000)), r"needs memory up to 9 MiB"),
    "in_the_hole": (elf32(Segment(0xa0000)), r"board's memory"),
    "file_beyond_memory": (elf64(Segment(MIB, 4, 0x800)), r"in the file"),
    "entry_nowhere": (elf32(Segment(MIB), entry=0x300000), r"entry point"),
    "other_processor": (elf32(Segment(MIB), machine=40), r"another processor"),
    "object_file": (elf32(Segment(MIB), kind=1), r"no executable"),
}

KEYS = {  # case: (keys, what the line must say)
    "mem_zero": ({"mem": "0"}, r"mem=0: "),
    "mem_too_much": ({"mem": "1G"}, r"allows a guest \d+K at most"),
    "mem_no_size": ({"mem": "lots"}, r"mem=lots: give a size"),
    "mem_half_page": ({"mem": "10000"}, r"multiple of 4K"),
    "mem_overflow": ({"mem": "99999999999999999999G"}, r"mem=99999999999999999999G"),
    "mem_tiny": ({"mem": "4K"}, r"."),
    "key": ({"colour": "blue"}, r"colour: no such key"),
    "cpus_zero": ({"cpus": "0"}, r"cpus=0: give 1 to 8"),
    "cpus_many": ({"cpus": "9"}, r"cpus=9: give 1 to 8"),
    "mmu": ({"mmu": "magic"}, r"mmu=magic: give one of"),
    "mmu_later": ({"mmu": "shadow"}, r"mmu=shadow comes with version"),
    "reset": ({"reset": "never"}, r"reset=never: give one of"),
    "apic": ({"apic": "yes"}, r"apic=yes: give one of"),
    "limit": ({"limit": "0"}, r"limit=0: "),
}


def expect_neighbours(result, *names):
    for name in names:
        result.expect_end(name)
    result.expect_status(1)


def bad_images(task):
    folder = task.file(".images")
    folder.mkdir(exist_ok=True)
    bad = []
    for case, (data, _) in IMAGES.items():
        (folder / case).write_bytes(data)
        bad.append(guest(folder / case, name=case, mem="8M"))
    first, last = guest("hello", name="first", mem="8M"), guest("hello", name="last", mem="8M")
    result = boot(task, [first, *bad, last], ram="64M", smp=task.settings.cpus(1))
    for case, (_, pattern) in IMAGES.items():
        with task.case(f"bad_input/image/{case}"):
            result.expect_refused(case, pattern)
    with task.case("bad_input/image/others_go_on"):
        expect_neighbours(result, "first", "last")
        expect(result.stat["vms_refused"] == len(IMAGES), f"counted: {result.stat}")


def whole_image(task):
    """The image that the bad ones were made from is a good one: it halts."""
    path = task.file(".elf")
    for name, data in (("elf32", WHOLE), ("elf64", elf64(Segment(MIB)))):
        path.write_bytes(data)
        result = boot(task, [guest(path, name=name, mem="8M")])
        result.expect_end(name, "stopped", None, "halted")


def bad_keys(task):
    bad = [guest("hello", name=case, **{"mem": "8M", **keys}) for case, (keys, _) in KEYS.items()]
    first, last = guest("hello", name="first", mem="8M"), guest("hello", name="last", mem="8M")
    result = boot(task, [first, *bad, last], ram="64M", smp=task.settings.cpus(1))
    for case, (_, pattern) in KEYS.items():
        with task.case(f"bad_input/key/{case}"):
            result.expect_refused(case, pattern)
    with task.case("bad_input/key/others_go_on"):
        expect_neighbours(result, "first", "last")


def same_name(task):
    """Two VMs of one name: the second is refused."""
    twins = [guest("hello", "one", name="twin", mem="8M"), guest("memory", name="twin", mem="8M")]
    result = boot(task, [*twins, guest("hello", name="other", mem="8M")],
                  smp=task.settings.cpus(1))
    lines = result.all(r"Neap: vm twin refused: .*name exists.*")
    expect(len(lines) == 1, f"{len(lines)} lines instead of one tell of it")
    expect("command line: twin one" in result.said("twin"), "the first of the two did not run")
    result.expect_end("twin")
    expect_neighbours(result, "other")


def kernel_option(task):
    """An unknown option of the kernel is left out, with a line."""
    result = boot(task, [guest("hello", mem="8M")], kernel_args="colour=blue shiny mmu=tdp")
    for word in ("colour=blue", "shiny"):
        expect(result.find(rf'Neap: kernel option "{word}" is not understood and left out'),
               f"no line about {word}")
    result.expect_end("hello")
    result.expect_status(0)


def no_virtualisation(cpu, why):
    """Without it no guest runs, and a line says why; the rest of Neap does."""
    def run(task):
        result = boot(task, [guest("hello", mem="8M"), guest("memory", mem="8M")], cpu=cpu)
        told = result.all(rf"Neap: no guests can run: .*{why}.*")
        expect(len(told) == 1, "no line says why")
        expect(told[0].text.endswith("qemu64,+svm,+npt)"), f"cut short: {told[0].text}")
        for name in ("hello", "memory"):
            result.expect_refused(name, why)
        expect(result.machine["ram_kib"] > 0 and result.stat["vms_refused"] == 2, "no figures")
        result.expect_status(1)
        alone = boot(task, cpu=cpu, kernel_args="selftest=mm")
        alone.expect_status(0)
        expect(alone.find(r"TESTS passed=[1-9]\d* failed=0 skipped=\d+"), "mm's tests did not run")
    return run


def usage(task):
    """What tools/neap can see itself is refused before anything starts: one line, status 2."""
    for words in (["--guest", "build/guests/none.elf"], ["--guest", "README.md,mem"],
                  ["--ram", "much"], ["--frobnicate"], ["--smp", "0"], ["--engine", "shadow"],
                  ["--emulator", "bochs"], ["--cpu", "Skylake-Client"], ["--disk", "nvme"]):
        status, out = task.output(neap_command(options=words), timeout=30)
        expect(status == 2, f"{' '.join(words)}: exit status {status}")
        expect(len(out.splitlines()) == 1 and out.startswith("neap: "), f"{words}: {out}")


def jobs(settings):
    needs = ("build/debug", "build/guests")
    return [
        Job("bad_input/image", bad_images, needs, quick=True, cases=tuple(
            f"bad_input/image/{case}" for case in [*IMAGES, "others_go_on"])),
        Job("bad_input/whole_image", whole_image, needs),
        Job("bad_input/key", bad_keys, needs, cases=tuple(
            f"bad_input/key/{case}" for case in [*KEYS, "others_go_on"])),
        Job("bad_input/same_name", same_name, needs),
        Job("bad_input/kernel_option", kernel_option, needs),
        Job("bad_input/no_svm", no_virtualisation("qemu64,-svm", "offers no SVM"), needs,
            quick=True),
        Job("bad_input/no_npt", no_virtualisation("qemu64,+svm,-npt", "no nested paging"), needs),
        Job("bad_input/usage", usage, needs),
    ]
