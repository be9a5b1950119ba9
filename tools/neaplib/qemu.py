# SPDX-License-Identifier: BSD-2-Clause
"""The machine that QEMU is asked for."""

from neaplib.host import has_nested_svm, ovmf_args, qemu_program
from neaplib.sizes import format_size

MIB = 1 << 20
FIRMWARE_NEEDS = {"bios": 64 * MIB, "uefi": 256 * MIB}

# What Neap writes to the debug exit device is doubled and made odd by QEMU.
EXIT_OK, EXIT_GUEST_FAILED, EXIT_PANIC = 33, 35, 37


def machine_ram(options):
    """Bytes of RAM that the emulated machine has: whole MiB, as QEMU counts them."""
    wanted = options.machine_ram or max(options.ram or 0, FIRMWARE_NEEDS[options.firmware])
    return (wanted + MIB - 1) // MIB * MIB


def processor_args(options):
    """Accelerator and CPU model. A model that was named is one of TCG's, but for `host`; counting
    instructions is TCG's alone."""
    if options.cpu == "host" or (not options.cpu and not options.icount and has_nested_svm()):
        return ["-accel", "kvm", "-cpu", "host"]
    args = ["-accel", "tcg", "-cpu", options.cpu or "qemu64,+svm,+npt"]
    if options.icount:
        args += ["-icount", "shift=0,sleep=off"]
    return args


def disk_args(file):
    """@file as a virtio disk. Errors of the host reach Neap, which knows what to do (N6)."""
    name = str(file).replace(",", ",,")
    return ["-drive", f"if=none,format=raw,file={name},id=swap0", "-device",
            "virtio-blk-pci,drive=swap0,disable-legacy=on,werror=report,rerror=report"]


def qemu_command(options, iso, swap=None):
    """The command line for @options, the ISO at @iso and the swap disk at @swap. The serial line is
    on stdin and stdout."""
    command = [qemu_program(), "-nodefaults", "-machine", "pc",
               "-m", format_size(machine_ram(options)), "-smp", str(options.smp)]
    command += processor_args(options)
    if options.firmware == "uefi":
        command += ovmf_args()
    command += ["-vga", "std", "-display", options.display, "-serial", "stdio", "-monitor", "none",
                "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                "-cdrom", str(iso)]
    if swap:
        command += disk_args(swap)
    if options.gdb:
        command += ["-gdb", "tcp:127.0.0.1:1234", "-S"]
    return command
