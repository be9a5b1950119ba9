# SPDX-License-Identifier: BSD-2-Clause
"""What the operator asked for: every option, checked before anything is made or started."""

import argparse
import sys
from pathlib import Path

from neaplib import VERSION
from neaplib.debian import DIRECTORY
from neaplib.errors import NeapError, STATUS_USAGE
from neaplib.guests import check_text, guest_file, name_guests, parse_guest
from neaplib.host import ROOT
from neaplib.mkswap import check_swap
from neaplib.sizes import format_size, parse_size

SMALLEST_RAM = 4 << 20

# QEMU's and Bochs' names of Intel processors, as they begin.
INTEL_CPUS = ("broadwell", "bx_generic", "cascadelake", "conroe", "cooperlake", "core", "denverton",
              "haswell", "icelake", "ivybridge", "knightsmill", "nehalem", "penryn",
              "sandybridge", "sapphirerapids", "skylake", "snowridge", "tigerlake", "westmere")

DESCRIPTION = """\
Neap is a small hypervisor for guest memory that does not fit.
This command makes a bootable ISO of Neap and your guests, and runs it in an emulator.
"""

COMMANDS = """\
commands:
  run    boot Neap with guests in an emulator
  iso    make an ISO of Neap with guests, to keep
  mkswap mark a file, a disk or a partition as Neap's swap area
  debian make a Linux guest of Debian's packages

`tools/neap COMMAND --help` lists the options of a command, with examples.
"""

GUESTS = """\
A guest is a Linux bzImage (`tools/neap debian` makes one), a multiboot kernel, as
`qemu-system-x86_64 -kernel` would run it, or a 64-bit ELF without such a header. Keys after its
name, with commas, tell Neap about it: mem=64M cpus=1 mmu=tdp limit=16M reset=ok|stop vm=NAME
part=GUID ...;
it refuses a guest whose keys it does not know. The same file may be named several times. Sizes are
bytes, or take K, M or G.
"""

RUN_EXAMPLES = GUESTS + """
examples:
  tools/neap run                                         Neap alone, with its monitor
  tools/neap run --guest build/guests/hello.elf          one guest
  tools/neap run --guest a.elf,mem=32M --guest a.elf,mem=32M,vm=other --ram 48M
  tools/neap run --guest a.elf --batch --timeout 20      no terminal: what scripts do
  tools/neap run --guest a.elf --dry-run                 show what would be run

In a terminal, Ctrl-A x ends the run and Ctrl-A a sends Ctrl-A; all other keys go to Neap.

exit status: 0 all guests ended with code 0; 1 a guest failed; 2 usage; 3 Neap panicked;
124 the timeout was reached.
"""

ISO_EXAMPLES = GUESTS + """
example:
  tools/neap iso -o neap.iso --guest vmlinuz --initrd initrd.img --append 'console=ttyS0'
  The ISO boots with BIOS and UEFI, from a CD or written to a stick as it is.
"""

MKSWAP_EXAMPLES = """
Neap swaps to nothing but what carries this mark: a file that an emulator shows as a disk, a disk
without a partition table, or a GPT partition of type 0a9d5c3e-7e51-4b6f-9a37-4e6561705357. Beside
that it writes only to a partition that a guest was given with part=GUID:rw. What is mounted or
otherwise in use is refused, and so is all that carries somebody else's mark.

examples:
  tools/neap mkswap swap.img --size 512M      make a file; `run --swap swap.img` uses it
  tools/neap mkswap /dev/sdX                  a whole disk that is empty
"""

DEBIAN_EXAMPLES = """
The guest is Debian's kernel for virtual machines and an initramfs whose one program fills memory
and verifies it, prints `VERDICT ok ...` or `VERDICT bad ...`, and powers off. Nothing is installed;
packages are kept in build/debian/cache, or where NEAP_DEB_CACHE says. On the guest's command line
work.rounds=2 work.seed=1 work.children=3 work.share=90 work.mem=SIZE change what it does,
work.end=reboot how it ends, and `-- PROGRAM ARGUMENT...` at its end names another program to run
(tests/guest_linux/ has more).

examples:
  tools/neap debian                           the kernel that this release of Debian maintains
  tools/neap debian --kernel '6.1.*' -o old   the newest such kernel that apt knows
  tools/neap debian --add stress-ng -o stress with a package's programs, and what they need
"""


class Parser(argparse.ArgumentParser):
    """argparse, with one line for a mistake instead of a page."""

    def __init__(self, **kwargs):
        super().__init__(add_help=False, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
        self.add_argument("-h", "--help", action="help", help="show this text")

    def error(self, message):
        raise NeapError(f"{message} (see {self.prog} --help)")


class AddGuest(argparse.Action):
    def __call__(self, parser, namespace, value, option=None):
        namespace.guests = namespace.guests + [parse_guest(value)]


class AddToGuest(argparse.Action):
    """--initrd, --guest-disk and --append belong to the --guest before them."""

    def __call__(self, parser, namespace, value, option=None):
        if not namespace.guests:
            raise NeapError(f"{option} {value}: stands before the first --guest")
        guest = namespace.guests[-1]
        if getattr(guest, self.dest) is not None:
            raise NeapError(f"{option} {value}: given twice for {guest.file}")
        setattr(guest, self.dest, check_text(value, option) if self.dest == "append"
                else guest_file(value, option))


def positive(text):
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def percentage(text):
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a percentage from 1 to 100")
    return int(text)


def add_machine_options(parser):
    """What `run` and `iso` have in common: all that ends up on the ISO."""
    group = parser.add_argument_group("guests")
    group.add_argument("--guest", dest="guests", action=AddGuest, default=[],
                       metavar="FILE[,key=value]...", help="boot this guest; may be repeated")
    group.add_argument("--initrd", action=AddToGuest, default=argparse.SUPPRESS, metavar="FILE",
                       help="the initrd of the guest before")
    group.add_argument("--guest-disk", dest="disk_image", action=AddToGuest,
                       default=argparse.SUPPRESS, metavar="FILE",
                       help="a copy of FILE is the disk of the guest before, for this run")
    group.add_argument("--append", action=AddToGuest, default=argparse.SUPPRESS, metavar="TEXT",
                       help="the command line of the guest before")
    group = parser.add_argument_group("Neap")
    group.add_argument("--ram", metavar="SIZE",
                       help="cap on all memory that Neap and its guests use (run: 64M)")
    group.add_argument("--engine", default="auto", choices=["auto", "tdp", "shadow"],
                       help="how guest memory is translated, where a guest does not say (auto)")
    group.add_argument("--screen", default="text", choices=["text", "fb"],
                       help="text mode, or a 1024x768 framebuffer; UEFI always has the latter")
    group.add_argument("--kernel-args", default="", metavar="TEXT",
                       help="more arguments for Neap")
    group.add_argument("--kernel", type=Path, metavar="FILE",
                       help="boot this multiboot2 kernel instead of build/neap.elf")
    group.add_argument("--debug", action="store_true",
                       help="use build/debug/neap.elf, which checks itself")


def add_run_options(parser):
    group = parser.add_argument_group("the emulated machine")
    group.add_argument("--machine-ram", metavar="SIZE",
                       help="memory of the machine (--ram, or what the firmware needs)")
    group.add_argument("--smp", type=positive, default=1, metavar="N", help="processors (1)")
    group.add_argument("--cpu", metavar="MODEL",
                       help="processor model (KVM's where the host can nest, else "
                            "qemu64,+svm,+npt)")
    group.add_argument("--firmware", default="bios", choices=["bios", "uefi"], help="(bios)")
    group.add_argument("--emulator", default="qemu", choices=["qemu", "bochs"], help="(qemu)")
    group.add_argument("--swap", default="512M", metavar="SIZE|none|FILE",
                       help="the swap disk: a new one of SIZE, or FILE, marked by mkswap (512M)")
    group.add_argument("--disk", default="virtio", choices=["virtio", "nvme", "ahci", "ata"],
                       help="how a disk is attached (virtio)")
    group.add_argument("--icount", action="store_true",
                       help="count instructions as time: exact and repeatable, slower")
    group.add_argument("--display", default="none", choices=["none", "gtk", "sdl"],
                       help="show the machine's screen in a window (none)")
    group.add_argument("--gdb", action="store_true",
                       help="wait for gdb on localhost:1234 before the first instruction")
    group = parser.add_argument_group("this run")
    group.add_argument("--batch", action="store_true",
                       help="no terminal and no escape codes; ends when every guest has ended")
    group.add_argument("--timeout", type=positive, metavar="S", help="end after S seconds")
    group.add_argument("--log", type=Path, metavar="FILE", help="copy the serial line to FILE")
    group.add_argument("--dry-run", action="store_true",
                       help="print grub.cfg and the emulator's command line, run nothing")


def refuse_what_comes_later(options):
    """Options that the design has and this version does not."""
    later = []
    if options.engine == "shadow":
        later.append(("--engine shadow", "0.4 (shadow paging)"))
    if options.command == "run":
        model = (options.cpu or "").lower()
        if options.emulator == "bochs":
            later.append(("--emulator bochs", "0.5 (Intel)"))
        if model.startswith(INTEL_CPUS) or "+vmx" in model:
            later.append((f"--cpu {options.cpu}", "0.5 (Intel)"))
        if options.disk != "virtio":
            later.append((f"--disk {options.disk}", "0.6 (bare boards)"))
    if later:
        raise NeapError(f"{later[0][0]} comes with Neap {later[0][1]}; this is {VERSION}")


def check_run_options(options):
    options.swap = check_swap(options.swap)
    if options.machine_ram is not None:
        options.machine_ram = parse_size(options.machine_ram, "--machine-ram")
        if options.machine_ram < options.ram:
            raise NeapError("--machine-ram is less than --ram")
    if options.icount and options.cpu == "host":
        raise NeapError("--icount counts in TCG, and --cpu host is KVM's: choose one")


def kernel_file(options):
    """The Neap kernel to boot."""
    if options.kernel:
        return guest_file(options.kernel, "--kernel")
    file = ROOT / "build" / ("debug/neap.elf" if options.debug else "neap.elf")
    if not file.exists():
        raise NeapError(f"{file}: not built yet (run make{' DEBUG=1' if options.debug else ''})")
    return file


def kernel_args(options):
    """Neap's own command line."""
    words = []
    if options.ram is not None:
        words.append(f"ram={format_size(options.ram)}")
    words.append(f"mmu={options.engine}")
    if options.command == "run" and options.batch:
        words.append("batch")
        if options.timeout:
            words.append(f"timeout={options.timeout}")
    if options.kernel_args:
        words.append(options.kernel_args)
    return " ".join(words)


def parse_args(argv):
    """@argv as options, ready to use: files exist, sizes are bytes, guests have names."""
    top = Parser(prog="tools/neap", description=DESCRIPTION, epilog=COMMANDS,
                 usage="tools/neap COMMAND [option]...")
    top.add_argument("--version", action="version", version=f"Neap {VERSION}")
    commands = top.add_subparsers(dest="command", prog="tools/neap", help=argparse.SUPPRESS)
    run = commands.add_parser("run", description="Boot Neap with guests in an emulator.",
                              usage="tools/neap run [option]...", epilog=RUN_EXAMPLES)
    add_machine_options(run)
    add_run_options(run)
    iso = commands.add_parser("iso", description="Make an ISO of Neap with guests, to keep.",
                              usage="tools/neap iso -o FILE [option]...", epilog=ISO_EXAMPLES)
    iso.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    add_machine_options(iso)
    mkswap = commands.add_parser("mkswap", description="Mark what Neap may swap to.",
                                 usage="tools/neap mkswap FILE|DEVICE [option]...",
                                 epilog=MKSWAP_EXAMPLES)
    mkswap.add_argument("path", type=Path, metavar="FILE|DEVICE")
    mkswap.add_argument("--size", metavar="SIZE", help="of a file that does not exist yet")
    mkswap.add_argument("--force-unknown", action="store_true",
                        help="write over data that carry no known mark")
    mkswap.add_argument("--force-damaged", action="store_true",
                        help="write over a Neap swap area that is damaged")
    debian = commands.add_parser("debian", description="Make a Linux guest of Debian's packages.",
                                 usage="tools/neap debian [option]...", epilog=DEBIAN_EXAMPLES)
    debian.add_argument("-o", "--output", type=Path, default=DIRECTORY, metavar="DIR",
                        help="where vmlinuz and initrd.gz go (build/debian)")
    debian.add_argument("--kernel", metavar="VERSION-GLOB",
                        help="the newest kernel of such a version, such as '6.1.*'")
    debian.add_argument("--add", action="append", default=[], metavar="PACKAGE",
                        help="put this package's programs into the guest, too")
    debian.add_argument("--mem-share", type=percentage, default=90, metavar="PERCENT",
                        help="of the guest's available memory that its workload uses (90)")

    options = top.parse_args(argv)
    if options.command is None:
        top.print_help(sys.stderr)
        raise SystemExit(STATUS_USAGE)
    if options.command in ("mkswap", "debian"):
        return options
    refuse_what_comes_later(options)
    if options.ram is None and options.command == "run":
        options.ram = "64M"
    if options.ram is not None:
        text, options.ram = options.ram, parse_size(options.ram, "--ram")
        if options.ram < SMALLEST_RAM:
            raise NeapError(f"--ram {text}: less than {format_size(SMALLEST_RAM)}")
    if options.command == "run":
        check_run_options(options)
    check_text(options.kernel_args, "--kernel-args")
    options.kernel = kernel_file(options)
    name_guests(options.guests)
    return options
