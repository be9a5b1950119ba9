# SPDX-License-Identifier: BSD-2-Clause
"""The monitor, as an operator at a terminal finds it, with guests that go on all the while."""

from harness import Job, expect
from machine import guest
from terminal import (BACKSPACE, CTRL_A, DOWN, END, HOME, LEFT, PROMPT, RIGHT, TAB, UP, Terminal)

SPINNER = guest("spin", name="spinner", mem="8M")
COMMANDS = ["help", "vms", "vm", "mem", "cpus", "threads", "stat", "log", "audit", "quit"]


def with_monitor(test, guests=(SPINNER,), smp=2, **machine):
    def run(task):
        with Terminal(task, guests, smp=task.settings.cpus(smp), **machine) as terminal:
            # The prompt is drawn anew below what a guest prints, whichever comes first.
            spins = r"spinner\| spinner: spinning[\s\S]*" if SPINNER in guests else ""
            terminal.expect(spins + PROMPT)
            test(terminal)
    return run


def commands(terminal):
    # First: `log` shows the newest 4 KiB, and what commands say counts, too.
    terminal.command_says("log", r"spinner\| spinner: spinning")
    terminal.command_says("help", *(rf"^\s+{name} " for name in COMMANDS))
    terminal.command_says("help vm", r"usage: vm NAME ", r"pause, resume, kill, dump")
    terminal.command_says("vms", r"spinner +running +8 MiB +\d+ KiB +\d+ KiB +1 +\d+ s",
                          r"1 live, 0 ended well, 0 failed, 0 refused")
    terminal.command_says("mem", r"RAM in use under the cap: \d+ KiB", r"free +\d+ KiB",
                          r"guest memory +\d+ KiB", r"Object caches:")
    terminal.command_says("cpus", r"cpu +0 .* idle +\d+ %")
    terminal.command_says("threads", r"monitor .* cpu")
    terminal.command_says("stat", r"^STAT ram_kib=\d+", r"^STAT vms=1\r",
                          r"^STAT vm=spinner faults=\d+")
    terminal.command_says("audit", r"audit: 0 differences")


def one_vm(terminal):
    terminal.command_says("vm spinner pause", r"vm spinner paused")
    terminal.command_says("vms", r"spinner +paused ")
    first = rip_of(terminal)
    terminal.command_says("vm spinner resume")
    terminal.command_says("vms", r"spinner +running ")
    expect(rip_of(terminal) >= 0x100000 and first >= 0x100000, "its rip is not in its image")
    terminal.command_says("vm spinner stray", r"0 accesses that no device claims")
    terminal.command_says("vm spinner", r"usage: vm NAME")
    terminal.command_says("vm spinner dance", r"usage: vm NAME")
    terminal.command_says("vm nobody dump", r'there is no VM "nobody"')
    terminal.send("vm spinner kill\r")
    terminal.expect(r"SUMMARY vm=spinner .*status=killed code=1 reason=operator")
    terminal.command_says("vms", r"0 live, 0 ended well, 1 failed, 0 refused")
    terminal.command_says("audit", r"audit: 0 differences")


def rip_of(terminal):
    match, _ = terminal.command_says("vm spinner dump", r"vCPU 0: running.*\s+rip ([0-9a-f]{16})",
                                     r"r12 [0-9a-f]{16}")
    return int(match[1], 16)


def editing(terminal):
    terminal.command_says("frobnicate", r"frobnicate: no such command")
    terminal.command_says("halp", r'did you mean "help"\?')
    terminal.command_says("vmz" + BACKSPACE + "s", r"1 live")
    terminal.command_says("ms" + HOME + "v" + END, r"1 live")
    terminal.command_says("vs" + LEFT + "m" + RIGHT, r"1 live")
    terminal.command_says("vm 'spinner' \"stray\"", r"accesses that no device claims")
    terminal.command_says("vm 'spinner", r"quote is not closed")
    # History: the line before the last, and back.
    terminal.command_says("vms", r"1 live")
    terminal.command_says("cpus", r"cpu +0 ")
    terminal.command_says(UP + UP, r"vms[\s\S]*1 live")
    terminal.command_says("mem", r"RAM in use")
    terminal.command_says(UP + UP + DOWN, r"RAM in use")
    terminal.command_says("", "")


def completion(terminal):
    terminal.send("he" + TAB)
    terminal.expect(r"help $|help \r")
    terminal.command_says("vms", r"usage: vms|list the VMs")  # is now `help vms`
    terminal.command_says("vm sp" + TAB + "du" + TAB, r"rip [0-9a-f]{16}")
    terminal.send("vm spinner " + TAB)
    for verb in ("pause", "resume", "kill", "dump", "stray"):
        terminal.expect(rf"  {verb}\r")
    terminal.command_says("stray", r"accesses that no device claims")


def quit_ends(terminal):
    terminal.send("quit\r")
    terminal.expect(r"SUMMARY vm=spinner .*status=killed code=1 reason=quit")
    terminal.expect(r"SUMMARY machine ram_kib=\d+")
    status = terminal.wait()
    expect(status == 1, f"exit status {status}: a guest was killed, so 1 is right")


def quit_alone(terminal):
    terminal.send("quit\r")
    status = terminal.wait()
    expect(status == 0, f"exit status {status}")


def ctrl_a(terminal):
    terminal.send(CTRL_A + "x")
    status = terminal.wait()
    expect(status == 0, f"exit status {status}")


def no_svm(terminal):
    """The operator has the monitor and the memory manager without any guest."""
    terminal.command_says("vms", r"0 live, 0 ended well, 0 failed, 1 refused")
    terminal.command_says("mem", r"free +\d+ KiB")
    terminal.command_says("audit", r"audit: 0 differences")


def jobs(settings):
    needs = ("build/debug", "build/guests")
    return [
        Job("monitor/commands", with_monitor(commands), needs, quick=True),
        Job("monitor/one_vm", with_monitor(one_vm), needs, quick=True),
        Job("monitor/one_vm_smp1", with_monitor(one_vm, smp=1), needs),
        Job("monitor/editing", with_monitor(editing), needs),
        Job("monitor/completion", with_monitor(completion), needs),
        Job("monitor/quit", with_monitor(quit_ends), needs, quick=True),
        Job("monitor/quit_alone", with_monitor(quit_alone, ()), needs),
        Job("monitor/quit_uefi", with_monitor(quit_alone, (), firmware="uefi"), needs),
        Job("monitor/ctrl_a_x", with_monitor(ctrl_a), needs),
        Job("monitor/no_svm", with_monitor(no_svm, [guest("hello", mem="8M")], cpu="qemu64,-svm"),
            needs),
    ]
