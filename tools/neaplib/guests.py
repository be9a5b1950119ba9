# SPDX-License-Identifier: BSD-2-Clause
"""Guest files, their names, and the module lines that tell Neap about them.

A module line is `key=value ... -- the guest's command line`. Keys are not judged here: Neap knows
which it understands, and refuses a guest with one line. Only what could not arrive in one piece is
refused on the host.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

from neaplib.errors import NeapError

# What these mean depends on the other modules of the ISO, so only this file writes them.
RESERVED_KEYS = {"initrd": "use --initrd FILE after the guest",
                 "disk": "use --guest-disk FILE after the guest",
                 "image": "name the same file again, it goes into the ISO once"}


NAME_MAX = 31


@dataclass
class Guest:
    file: Path
    name: str = ""  # set by name_guests() unless vm= gave it
    keys: Dict[str, str] = field(default_factory=dict)
    initrd: Optional[Path] = None
    disk_image: Optional[Path] = None
    append: Optional[str] = None


@dataclass
class Module:
    """One file on the ISO and the line that goes with it."""
    iso_path: str
    source: Optional[Path]  # None: the line is all that matters
    line: str


def parse_guest(text):
    """FILE[,key=value]... as a Guest."""
    file, *words = check_text(text, "--guest").split(",")
    guest = Guest(file=guest_file(file, "--guest"))
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_.-]+", key):
            raise NeapError(f"--guest {text}: '{word}' is not key=value")
        if value == "" or re.search(r"[ \"'\\]|[^\x20-\x7e]", value):
            raise NeapError(f"--guest {text}: the value of {key} is empty or holds a space, a quote"
                            " or a backslash")
        if key in RESERVED_KEYS:
            raise NeapError(f"--guest {text}: {key}= is Neap's own: {RESERVED_KEYS[key]}")
        if key in guest.keys or (key == "vm" and guest.name):
            raise NeapError(f"--guest {text}: {key} is given twice")
        if key != "vm":
            guest.keys[key] = value
        elif len(value) <= NAME_MAX and re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            guest.name = value
        else:
            raise NeapError(f"--guest {text}: a name is 1 to {NAME_MAX} letters, digits, '_', '.'"
                            " and '-'")
    return guest


def guest_file(text, what):
    """@text as the path of a readable file that is not empty (GRUB refuses empty modules)."""
    path = Path(text)
    if text == "" or not path.exists():
        raise NeapError(f"{what} {text}: no such file")
    if not path.is_file():
        raise NeapError(f"{what} {text}: not a file")
    if not os.access(path, os.R_OK):
        raise NeapError(f"{what} {text}: not readable")
    if path.stat().st_size == 0:
        raise NeapError(f"{what} {text}: the file is empty")
    return path


def check_text(text, what):
    """@text reaches the kernel through one line of grub.cfg."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise NeapError(f"{what}: the text holds a line break or another control character")
    return text


def name_guests(guests):
    """Give each nameless guest its file's stem, cut to size, then -2, -3 where that is taken."""
    taken = {guest.name for guest in guests if guest.name}
    for guest in guests:
        if guest.name:
            continue
        stem = re.sub(r"[^A-Za-z0-9_.-]", "-", guest.file.stem)
        name, number = stem[:NAME_MAX], 1
        while name in taken:
            number += 1
            name = f"{stem[:NAME_MAX - len(str(number)) - 1]}-{number}"
        guest.name = name
        taken.add(name)


def modules_of(guests) -> List[Module]:
    """The modules of @guests, which have their names. A file that serves several guests is carried
    by the first; the others say `image=` and bring one byte."""
    modules = []
    carrier = {}  # real path -> name of the guest whose module holds the file
    for number, guest in enumerate(guests, 1):
        words = [f"vm={guest.name}"]
        real = os.path.realpath(guest.file)
        source = None if real in carrier else guest.file
        if source is None:
            words.append(f"image={carrier[real]}")
        carrier.setdefault(real, guest.name)
        words += [f"{key}={value}" for key, value in guest.keys.items()]
        line = " ".join(words)
        if guest.append:
            line += f" -- {guest.append}"
        modules.append(Module(f"boot/guest{number}", source, line))
        if guest.initrd:
            line = f"initrd={guest.name} -- {guest.initrd.name}"  # what the guest sees of its name
            modules.append(Module(f"boot/initrd{number}", guest.initrd, line))
        if guest.disk_image:
            modules.append(Module(f"boot/disk{number}", guest.disk_image, f"disk={guest.name}"))
    return modules
