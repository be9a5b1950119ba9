# SPDX-License-Identifier: BSD-2-Clause
"""`tools/neap mkswap`: mark a file, a disk or a partition as Neap's.

The mark is all that lets Neap write there, so this command is where somebody's data are kept from
harm: it refuses whatever is in use, and whatever carries another's mark. There is no option to
write over a file system: whoever wants that erases it first, by a tool that says so.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

from neaplib import swapdisk
from neaplib.errors import NeapError
from neaplib.sizes import format_size, parse_size


def device_name(path, number):
    return f"{os.major(number)}:{os.minor(number)}" if number else str(path)


def users_of_device(number, root=Path("/")):
    """Why the block device @number must be left alone: a list. @root holds proc and sys."""
    name = f"{os.major(number)}:{os.minor(number)}"
    node = root / "sys/dev/block" / name
    parts = [name]
    found = []
    if node.is_dir():
        parts += [(path.parent / "dev").read_text().strip() for path in node.glob("*/partition")]
        for holders in [node / "holders", *node.glob("*/holders")]:
            if holders.is_dir():
                found += [f"it is used by {path.name}" for path in sorted(holders.iterdir())]
    for line in read_lines(root / "proc/self/mountinfo"):
        words = line.split()
        if len(words) > 4 and words[2] in parts:
            found.append(f"it is mounted on {words[4]}")
    for line in read_lines(root / "proc/swaps")[1:]:
        path = line.split()[0]
        try:
            used = os.stat(path).st_rdev
        except OSError:
            continue
        if used and device_name(path, used) in parts:
            found.append("it is Linux's swap now")
    return found


def users_of_file(path, root=Path("/")):
    """The same for a file: what Linux does with it, that locks do not tell."""
    real = os.path.realpath(path)
    found = []
    for line in read_lines(root / "proc/swaps")[1:]:
        if line.split()[0] == real:
            found.append("it is Linux's swap now")
    for backing in sorted((root / "sys/block").glob("loop*/loop/backing_file")):
        if read_lines(backing) == [real]:
            found.append(f"it is attached to {backing.parent.parent.name}")
    return found


def read_lines(path):
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def check_partition(path, number, root=Path("/")):
    """A partition must be of Neap's type, or the kernel would not take it."""
    node = root / "sys/dev/block" / f"{os.major(number)}:{os.minor(number)}"
    index = read_lines(node / "partition")
    if not index:
        return  # a whole disk
    disk = Path("/dev") / node.resolve().parent.name
    with open(disk, "rb") as file:
        kind = swapdisk.partition_type(file.read(swapdisk.HEAD_BYTES), int(index[0]))
    if kind != swapdisk.NEAP_TYPE:
        raise NeapError(f"{path}: is a partition of another type; if it is free to use:"
                        f" sgdisk --typecode={index[0]}:{swapdisk.NEAP_TYPE} {disk}")


def check_content(options, path, found):
    """Refuse @found, what is there now, unless it is nothing, Neap's own, or forced."""
    if found in (swapdisk.EMPTY, swapdisk.SWAP):
        return
    if found == swapdisk.UNKNOWN:
        if not options.force_unknown:
            raise NeapError(f"{path}: holds data that carry no mark that is known; nothing was"
                            " written (--force-unknown, if they are not needed)")
    elif found.startswith("damaged Neap"):
        if not options.force_damaged:
            raise NeapError(f"{path}: {found}; nothing was written (--force-damaged makes it new)")
    else:
        raise NeapError(f"{path}: holds {found}; nothing was written (if it is not needed, erase it"
                        " first: wipefs --all)")


def create(path, size):
    """A new sparse file, marked."""
    try:
        with open(path, "xb") as file:
            os.truncate(file.fileno(), size)
            return swapdisk.write_headers(file, size)
    except OSError as error:
        raise NeapError(f"{path}: {error.strerror}") from None


def asked_size(text):
    size = parse_size(text, "--size")
    if size < swapdisk.MIN_BYTES or size % swapdisk.HEADER_BYTES:
        raise NeapError(f"--size {text}: at least 1M, and a multiple of 4K")
    return size


def open_unused(path):
    """@path open for reading and writing, with what keeps others out; refuses what is in use."""
    mode = os.stat(path).st_mode
    flags = os.O_RDWR | os.O_CLOEXEC
    if stat.S_ISBLK(mode):
        users = users_of_device(os.stat(path).st_rdev)
        flags |= os.O_EXCL  # of a block device: nobody else may have claimed it
    elif stat.S_ISREG(mode):
        users = users_of_file(path)
    else:
        raise NeapError(f"{path}: is neither a file nor a disk")
    if users:
        raise NeapError(f"{path}: {users[0]}; nothing was written")
    try:
        file = os.fdopen(os.open(path, flags), "r+b")
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise NeapError(f"{path}: in use; nothing was written") from None
        raise NeapError(f"{path}: {error.strerror}") from None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # emulators lock their disks
    except OSError:
        file.close()
        raise NeapError(f"{path}: in use by another program; nothing was written") from None
    return file


def mark_existing(options, path):
    with open_unused(path) as file:
        number = os.fstat(file.fileno()).st_rdev
        if number:
            check_partition(path, number)
        found, size = swapdisk.look(file)
        if size == 0 and options.size and not number:
            size = asked_size(options.size)
            file.truncate(size)
            found = swapdisk.EMPTY
        elif options.size and asked_size(options.size) != size:
            raise NeapError(f"--size {options.size}: {path} has {size} bytes already")
        if size < swapdisk.MIN_BYTES:
            raise NeapError(f"{path}: {size} bytes; at least 1M is needed")
        check_content(options, path, found)
        name = swapdisk.write_headers(file, size)
        os.fsync(file.fileno())
        return name, size


def command_mkswap(options):
    path = options.path
    if path.exists():
        name, size = mark_existing(options, path)
    elif not options.size:
        raise NeapError(f"{path}: no such file (--size SIZE makes one)")
    else:
        size = asked_size(options.size)
        name = create(path, size)
    print(f"{path}: Neap swap area of {format_size(swapdisk.area_bytes(size))}, UUID {name}")
    return 0


# ---- for `run --swap` -------------------------------------------------------------------------


def check_swap(text):
    """@text of --swap: None (no swap), a size in bytes, or the Path of a marked disk."""
    if text == "none":
        return None
    if text[:1].isdigit() and not os.path.exists(text):
        size = parse_size(text, "--swap")
        if size < swapdisk.MIN_BYTES or size % swapdisk.HEADER_BYTES:
            raise NeapError(f"--swap {text}: at least 1M, and a multiple of 4K")
        return size
    path = Path(text)
    if text == "" or not path.exists():
        raise NeapError(f"--swap {text}: no such file, and not a size (mkswap makes one)")
    if path.is_dir() or not os.access(path, os.R_OK | os.W_OK):
        raise NeapError(f"--swap {text}: cannot be read and written")
    try:
        with open(path, "rb") as file:
            found, _ = swapdisk.look(file)
    except OSError as error:
        raise NeapError(f"--swap {text}: {error.strerror or error}") from None
    if found != swapdisk.SWAP:
        raise NeapError(f"--swap {text}: not marked as Neap's: {found} (see mkswap)")
    return path
