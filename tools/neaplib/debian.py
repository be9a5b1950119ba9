# SPDX-License-Identifier: BSD-2-Clause
"""A Linux guest made of Debian's packages: an unmodified kernel, and an initramfs with a workload.

    linux-image-*-cloud-amd64  -> DIR/vmlinuz; /lib/modules, of what a disk needs
    busybox-static             -> /bin/busybox  \\
    tests/guest_linux/work.c   -> /bin/work      |
    tests/guest_linux/clock.c  -> /bin/clock     | DIR/initrd.gz
    tests/guest_linux/init.in  -> /init          |
    what --add names           -> /bin, /lib    /

Packages come from whatever archive this machine's apt trusts, and apt checks them; nothing is
installed. They are kept in a cache. DIR/made-of says what the two files were made of, and what they
are: where that still holds there is nothing to do. The same parts make the same bytes, since times,
owners, numbers and order in the archive are fixed.

Whatever way this ends, there are no half-written files: all is made in a directory of its own,
which goes, and each file that is complete is moved to its place.
"""

import fnmatch
import gzip
import hashlib
import io
import lzma
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from neaplib.errors import NeapError, STATUS_GUEST_FAILED
from neaplib.host import ROOT, require

DIRECTORY = ROOT / "build" / "debian"
SOURCES = ROOT / "tests" / "guest_linux"
META_PACKAGE = "linux-image-cloud-amd64"
KERNEL_NAME = re.compile(r"linux-image-([0-9]+\.[0-9]+\.[0-9]\S*?)-cloud-amd64(-unsigned)?")
PROGRAMS = ("work", "clock")
# What the kernel needs for a disk, in this order; it may have some of it built in.
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "virtio_blk")
CC = ["cc", "-std=gnu11", "-static", "-O2", "-s", "-Wall"]


# ---- the archive ------------------------------------------------------------------------------


@dataclass
class Entry:
    """One file of the initramfs; rdev is a device's number."""
    name: str
    mode: int
    data: bytes = b""
    rdev: int = 0


def cpio_entry(number, entry):
    """Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc")."""
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0,
              os.major(entry.rdev), os.minor(entry.rdev), len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return b"".join(part + bytes(-len(part) % 4) for part in (header, entry.data))


def make_cpio(entries):
    """@entries, folders before what lies in them, as an archive that the kernel unpacks."""
    parts = [cpio_entry(number, entry) for number, entry in enumerate(entries, 1)]
    return b"".join(parts) + cpio_entry(0, Entry("TRAILER!!!", 0))


def compress(data):
    """gzip's format, without the time and without a name."""
    result = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=result, mtime=0) as file:
        file.write(data)
    return result.getvalue()


def initramfs(init, files):
    """@files: {path: contents}, all of them programs or libraries."""
    folders = {"dev", "proc", "root", "sys", "tmp",
               *(str(folder) for path in files for folder in Path(path).parents[:-1])}
    return make_cpio([Entry(name, stat.S_IFDIR | 0o755) for name in sorted(folders)] + [
        Entry("dev/console", stat.S_IFCHR | 0o600, rdev=os.makedev(5, 1)),
        Entry("dev/null", stat.S_IFCHR | 0o666, rdev=os.makedev(1, 3)),
        Entry("init", stat.S_IFREG | 0o755, init)] + [
        Entry(path, stat.S_IFREG | 0o755, files[path]) for path in sorted(files)])


# ---- packages ---------------------------------------------------------------------------------


@dataclass
class Package:
    name: str
    version: str
    size: int
    arch: str

    @property
    def file(self):
        """As `apt-get download` calls it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"

    def __str__(self):
        return f"{self.name} {self.version}"


def say(text):
    print(text, flush=True)


def ask(*command, cwd=None):
    """Run @command in English and away from the terminal: (exit status, output, complaints)."""
    result = subprocess.run(command, cwd=cwd, env={**os.environ, "LC_ALL": "C"}, errors="replace",
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True)
    return result.returncode, result.stdout, result.stderr


def why(complaints):
    """The line of @complaints that says most."""
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"E: |.*(error: |cannot find )", line)]
    return re.sub(r"^E: ", "", (telling or lines or ["it does not say why"])[0])


def find_packages(names):
    """What apt would download as each of @names, by name; what it does not know is left out."""
    _, text, _ = ask("apt-cache", "show", "--no-all-versions", *names)
    found = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Size|Architecture): (.+)$", stanza,
                                 re.MULTILINE))
        if len(fields) == 4:
            found[fields["Package"]] = Package(fields["Package"], fields["Version"],
                                               int(fields["Size"]), fields["Architecture"])
    return found


def version_key(name):
    """For sorting: the numbers of a kernel's version; signed before unsigned of the same."""
    version, unsigned = KERNEL_NAME.fullmatch(name).groups()
    return [int(number) for number in re.findall("[0-9]+", version)], unsigned is None


def kernel_names(glob):
    """Names to try, best first. Without @glob what the meta package depends on: the kernel that
    this release of Debian maintains."""
    if glob is None:
        _, text, _ = ask("apt-cache", "depends", "--important", META_PACKAGE)
        names = re.findall(r"^\s*Depends: (linux-image-\S+)$", text, re.MULTILINE)
        return [name + suffix for name in names for suffix in ("", "-unsigned")]
    _, text, _ = ask("apt-cache", "search", "--names-only", "^linux-image-.*-cloud-amd64")
    found = [KERNEL_NAME.fullmatch(line.split()[0]) for line in text.splitlines() if line]
    return sorted((match.group(0) for match in found
                   if match and fnmatch.fnmatchcase(match.group(1), glob)),
                  key=version_key, reverse=True)


def with_dependencies(names):
    """The names of all packages that those of @names need to run."""
    if not names:
        return []
    _, text, _ = ask("apt-cache", "depends", "--recurse", "--important",
                     *names)
    return sorted(set(re.findall(r"^([a-z0-9][a-z0-9+.-]*)$", text, re.MULTILINE)))


def choose_packages(glob, added):
    """The kernel, busybox, and those of @added with what they need."""
    kernels, extra = kernel_names(glob), with_dependencies(added)
    found = find_packages([*kernels, "busybox-static", *extra])
    linux = next((found[name] for name in kernels if name in found), None)
    kernel = META_PACKAGE if glob is None else f"linux-image-{glob}-cloud-amd64"
    missing = [] if linux else [kernel]
    missing += [name for name in ("busybox-static", *added) if name not in found]
    if missing:
        raise NeapError(f"{missing[0]}: apt knows no such package"
                        " (apt-get update fetches Debian's lists)")
    return [linux, found["busybox-static"], *(found[name] for name in extra if name in found)]


def cache_directory():
    return Path(os.environ.get("NEAP_DEB_CACHE", DIRECTORY / "cache"))


def fetch(package):
    """The path of @package's file in the cache; downloads it if it is not there."""
    cache = cache_directory()
    path = cache / package.file
    if path.exists():
        say(f"{package}: in the cache")
        return path
    say(f"{package}: downloading {package.size / (1 << 20):.1f} MiB")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part-", dir=cache) as scratch:
        # As root, apt lets an unprivileged user write there.
        os.chmod(scratch, 0o755)
        status, _, complaints = ask("apt-get", "download", f"{package.name}={package.version}",
                                    cwd=scratch)
        part = Path(scratch) / package.file
        if status != 0 or not part.exists():
            raise NeapError(f"{package}: not downloaded: {why(complaints)} (is there a network? are"
                            " the lists old? see apt-get update)", STATUS_GUEST_FAILED)
        os.replace(part, path)
    return path


def unpack(deb, directory):
    status, _, complaints = ask("dpkg-deb", "-x", str(deb), str(directory))
    if status != 0:
        raise NeapError(f"{deb}: not unpacked, perhaps damaged (remove it): {why(complaints)}",
                        STATUS_GUEST_FAILED)


def only_file(directory, pattern, package):
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise NeapError(f"{package}: {len(found)} files {pattern} in it instead of one",
                        STATUS_GUEST_FAILED)
    return found[0]


# ---- the guest --------------------------------------------------------------------------------


def compiled(name, scratch):
    """The program that tests/guest_linux/@name.c makes."""
    say(f"compiling tests/guest_linux/{name}.c")
    output = scratch / name
    status, _, complaints = ask(*CC, "-o", str(output), str(SOURCES / f"{name}.c"))
    if status != 0:
        raise NeapError(f"{name}.c: not compiled: {why(complaints)} (a static program needs"
                        " libc6-dev)", STATUS_GUEST_FAILED)
    return output.read_bytes()


def kernel_modules(linux):
    """{path in the guest: contents} of the kernel's MODULES, numbered in their order."""
    files = {}
    for number, name in enumerate(MODULES):
        for path in sorted(linux.glob(f"lib/modules/*/kernel/drivers/**/{name}.ko*")):
            data = path.read_bytes()
            files[f"lib/modules/{number}-{name}.ko"] = (
                lzma.decompress(data) if path.suffix == ".xz" else data)
    return files


def libraries_of(program, folders):
    """{name: file} of the shared libraries that @program needs, itself and through others; they and
    the dynamic linker are looked for in the unpacked packages @folders."""
    found, wanted = {}, [program]
    while wanted:
        _, text, _ = ask("objdump", "-p", str(wanted.pop()))
        for name in ["ld-linux-x86-64.so.2", *re.findall(r"^ *NEEDED +(\S+)$", text, re.MULTILINE)]:
            if name in found:
                continue
            file = next((path for folder in folders for path in sorted(folder.rglob(name))), None)
            if file is None:
                raise NeapError(f"{program.name}: none of its packages has {name}",
                                STATUS_GUEST_FAILED)
            found[name] = file
            wanted.append(file)
    return found


def added_files(added, folders):
    """{path in the guest: contents} of the programs of the packages @added, and their libraries;
    @folders: where each package was unpacked, by its name."""
    files = {}
    for package in added:
        programs = [path for place in ("bin", "sbin", "usr/bin", "usr/sbin")
                    for path in sorted((folders[package] / place).glob("*")) if path.is_file()]
        if not programs:
            raise NeapError(f"{package}: there is no program in it")
        for program in programs:
            files[f"bin/{program.name}"] = program.read_bytes()
            if files[f"bin/{program.name}"][:4] != b"\x7fELF":
                continue
            for name, file in libraries_of(program, folders.values()).items():
                files[f"lib64/{name}" if name.startswith("ld-") else f"lib/{name}"] = (
                    file.read_bytes())
    return files


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parts_of(packages, share):
    """The parts of the guest, one a line."""
    lines = [str(package) for package in packages]
    lines += [f"{path.name} {digest(path)}"
              for path in (*sorted(SOURCES.iterdir()), Path(__file__))]
    return lines + [f"mem-share {share}"]


def made_of(parts, directory):
    """The text of DIR/made-of while the guest in @directory is what @parts make; or None."""
    try:
        results = [f"{name} {digest(directory / name)}" for name in ("vmlinuz", "initrd.gz")]
    except FileNotFoundError:
        return None
    return "\n".join(parts + results) + "\n"


def is_up_to_date(parts, directory):
    try:
        return (directory / "made-of").read_text() == made_of(parts, directory)
    except FileNotFoundError:
        return False


def make_guest(directory, packages, added, share):
    """vmlinuz, initrd.gz and made-of in @directory."""
    parts = parts_of(packages, share)
    debs = [fetch(package) for package in packages]
    with tempfile.TemporaryDirectory(prefix="part-", dir=directory) as name:
        scratch = Path(name)
        say("unpacking")
        for package, deb in zip(packages, debs):
            unpack(deb, scratch / package.name)
        folders = {package.name: scratch / package.name for package in packages}
        linux, busybox = packages[:2]
        shutil.copyfile(only_file(folders[linux.name], "boot/vmlinuz-*", linux),
                        scratch / "vmlinuz")
        files = {**kernel_modules(folders[linux.name]), **added_files(added, folders)}
        files["bin/busybox"] = only_file(folders[busybox.name], "bin/busybox", busybox).read_bytes()
        files.update({f"bin/{name}": compiled(name, scratch) for name in PROGRAMS})
        init = (SOURCES / "init.in").read_bytes().replace(b"@SHARE@", b"%d" % share)
        (scratch / "initrd.gz").write_bytes(compress(initramfs(init, files)))
        (scratch / "made-of").write_text(made_of(parts, scratch))
        for result in ("vmlinuz", "initrd.gz", "made-of"):
            os.replace(scratch / result, directory / result)


def command_debian(options):
    require("apt-get", "apt-cache", "dpkg-deb")
    if shutil.which("cc") is None:
        raise NeapError("cc: not found (apt-get install gcc libc6-dev)")
    packages = choose_packages(options.kernel, options.add)
    directory = options.output
    directory.mkdir(parents=True, exist_ok=True)
    if is_up_to_date(parts_of(packages, options.mem_share), directory):
        say(f"{directory}: up to date ({', '.join(map(str, packages))})")
        return 0
    make_guest(directory, packages, options.add, options.mem_share)
    vmlinuz, initrd = (directory / name for name in ("vmlinuz", "initrd.gz"))
    for path in (vmlinuz, initrd):
        say(f"{path}: {path.stat().st_size / (1 << 20):.1f} MiB")
    say(shlex.join(["tools/neap", "run", "--guest", f"{vmlinuz},mem=192M,vm=debian",
                    "--initrd", str(initrd), "--append", "console=ttyS0"]))
    return 0
