# SPDX-License-Identifier: BSD-2-Clause
"""What scripts rely on: exit statuses, the console's lines, SUMMARY and STAT figures; and that VMs
leave nothing behind when they end (N10)."""

import re

from harness import Job, expect
from images import Segment, elf32
from machine import boot, guest

MIB = 1 << 20

# Kept for the next VM and freed only under pressure: object caches, and the per-CPU frame caches'
# order of filling.
KEPT_KIB = 256

STAT_KEYS = ["ram_kib", "overhead_kib", "free_kib", "free_min_kib", "kernel_kib", "tables_kib",
             "sptables_kib", "guest_kib", "cpus", "ipis", "flushes", "vms", "vms_good",
             "vms_failed", "vms_refused"]


def talker(text):
    """An image that writes @text to COM1, waiting some tenths of a second at each byte 255."""
    code = bytes.fromhex(
        "be 40001000"            # mov esi, text
        "ac 84c0 740b"           # next: lodsb; test al, al; jz done
        "3cff 740e"              # cmp al, 255; je wait
        "66baf803 ee ebf0"       # mov dx, 0x3f8; out dx, al; jmp next
        "31c0 e6f4 f4 ebfd"      # done: xor eax, eax; out 0xf4, al; hlt for ever
        "0f31 89c3"              # wait: rdtsc; mov ebx, eax
        "0f31 29d8"              # more: rdtsc; sub eax, ebx
        "3d00ca9a3b 72f5 ebd8")  # cmp eax, 1000000000; jb more; jmp next
    return elf32(Segment(MIB, 0x2000, 0x1000), code=code.ljust(64, b"\x90") + text + b"\0")


def console_lines(task):
    """NAME| text; CR is dropped, control codes are not passed on, a line too long goes on in the
    next, a partial line is shown after 100 ms and at the end."""
    path = task.file(".elf")
    path.write_bytes(talker(b"first\r\nmid\rdle\n\n" + b"esc\x1b[2Jape\n" + b"long" * 200 +
                            b"\nbegun\xff and done\nno end"))
    result = boot(task, [guest(path, name="talker", mem="4M"), guest("hello", mem="8M")])
    result.expect_end("talker")
    expect_lines(result.said("talker"), ["first", "middle", "", "esc.[2Jape", "long" * 200, "begun",
                                         " and done", "no end"])
    texts = [line.text for line in result.lines]
    expect(all(re.match(r"[\x20-\x7e\t]*$", text) for text in texts), "a control code came through")
    last = max(number for number, text in enumerate(texts) if text.startswith("talker| "))
    ended = next(number for number, text in enumerate(texts) if text.startswith("SUMMARY vm=talk"))
    expect(last < ended, "its last words came after its SUMMARY")


def expect_lines(said, wanted):
    """@said is @wanted; a line may be cut, as one too long is, and any on a busy machine."""
    left = list(said)
    for line in wanted:
        got = left.pop(0) if left else None
        while got is not None and got != line and line.startswith(got) and left:
            got += left.pop(0)
        expect(got == line, f"{got!r} instead of {line!r}, among {said}")
    expect(not left, f"more than was said: {left}")


def exit_statuses(task):
    """0, 1 and 124; panic/* has 3 and bad_input/usage 2."""
    good, bad = guest("hello", mem="8M"), guest("badexit", mem="8M")
    for guests, status in (([], 0), ([good], 0), ([good, bad], 1), ([guest("triple", mem="8M")], 1),
                           ([guest("triple", mem="8M", reset="ok")], 0)):
        boot(task, guests).expect_status(status)


def timeout(task):
    """At the timeout every VM that is left is killed, with a line, and the status is 124."""
    result = boot(task, [guest("spin", mem="8M"), guest("hello", mem="8M")], timeout=4)
    expect(result.find("TIMEOUT after 4 s"), "no TIMEOUT line")
    result.expect_end("spin", "killed", None, "timeout")
    result.expect_end("hello")
    result.expect_status(124)


def figures(task):
    """Every figure that the design names is there, and they agree with one another."""
    one = guest("memory", mem="8M")
    result = boot(task, [one], smp=task.settings.cpus(2), ram="64M")
    got = result.expect_end("memory")
    expect(got["engine"] == "npt" and int(got["mem_kib"]) == 8192, f"{got}")
    # All of its RAM was written to, but for the pages of the legacy area; tables come on top.
    expect(8192 - 512 < int(got["resident_max_kib"]) < 8192 + 512, f"resident_max of {got}")
    expect(int(got["resident_kib"]) <= int(got["resident_max_kib"]), f"{got}")
    expect(int(got["faults"]) >= 1900 and got["swapin"] == got["swapout"] == "0", f"{got}")
    machine, stat = result.machine, result.stat
    expect(60 * 1024 < machine["ram_kib"] <= 64 * 1024, f"{machine}")
    expect(0 < machine["overhead_kib"] < 8 * 1024, f"{machine}")
    missing = [key for key in STAT_KEYS if key not in stat]
    expect(not missing, f"no STAT line of {missing}")
    expect(stat["ram_kib"] == machine["ram_kib"] and stat["cpus"] == task.settings.cpus(2),
           f"{stat}")
    expect(stat["free_min_kib"] < stat["free_kib"] - 8192 + 512, f"the low water mark: {stat}")
    last = next(number for number, line in enumerate(result.lines)
                if line.text.startswith("SUMMARY machine"))
    expect(not any(line.text.startswith("SUMMARY") for line in result.lines[last + 1:]),
           "SUMMARY lines after the machine's")


def frames_come_back(task):
    """However VMs end, all their frames are free again, but for what caches keep."""
    empty = boot(task, smp=task.settings.cpus(2), ram="128M").stat
    ends = [guest("memory", f"seed={n}", name=f"memory{n}", mem="16M") for n in range(3)]
    ends += [guest("hello", mem="8M"), guest("triple", mem="8M"), guest("halt", mem="8M"),
             guest("jump", mem="8M"), guest("spin", mem="8M"),
             guest("hello", name="refused", mem="8M", colour="blue"),
             guest("smp", mem="8M", cpus=4)]
    result = boot(task, ends, smp=task.settings.cpus(2), ram="128M", timeout=12)
    result.expect_end("spin", "killed", None, "timeout")
    for one in ends[:3]:
        result.expect_end(one.name)
    stat = result.stat
    for key in ("tables_kib", "sptables_kib", "guest_kib"):
        expect(stat[key] == 0, f"{key}={stat[key]} when all VMs have ended")
    expect(stat["free_kib"] + stat["kernel_kib"] == empty["free_kib"] + empty["kernel_kib"],
           f"frames were lost or found: {stat} instead of {empty}")
    kept = empty["free_kib"] - stat["free_kib"]
    expect(kept <= KEPT_KIB, f"{kept} KiB were not freed")
    return f"{kept} KiB kept in caches"


def oom(task):
    """More memory asked for than there is: in batch mode one VM is killed, not more, and the other
    finishes (N13)."""
    hungry = [guest("memory", f"seed={n} loops=12", name=f"hungry{n}", mem="40M") for n in (1, 2)]
    result = boot(task, [*hungry, guest("hello", mem="8M")], ram="48M",
                  smp=task.settings.cpus(2))
    ends = [result.summary(one.name) for one in hungry]
    words = sorted((end["status"], end["reason"]) for end in ends)
    expect(words == [("exited", "exit-port"), ("killed", "oom")], f"{ends}")
    expect(any(end["code"] == "0" for end in ends), f"{ends}")
    expect(len(result.all(r"Neap: vm hungry\d killed: memory is used up .*")) == 1, "no line")
    result.expect_end("hello")
    result.expect_status(1)


def limit(task):
    """limit= holds, and who needs more ends alone."""
    result = boot(task, [guest("memory", name="limited", mem="16M", limit="4M"),
                         guest("memory", name="free", mem="16M")])
    got = result.expect_end("limited", "killed", None, "oom")
    expect(int(got["resident_max_kib"]) <= 4096, f"it held {got['resident_max_kib']} KiB")
    result.expect_end("free")
    result.expect_status(1)


def jobs(settings):
    needs = ("build/debug", "build/guests")
    return [
        Job("batch/exit_statuses", exit_statuses, needs),
        Job("batch/timeout", timeout, needs),
        Job("batch/figures", figures, needs, quick=True),
        Job("batch/frames_come_back", frames_come_back, needs, quick=True),
        Job("batch/oom", oom, needs),
        Job("batch/limit", limit, needs),
        Job("batch/console_lines", console_lines, needs, quick=True),
    ]
