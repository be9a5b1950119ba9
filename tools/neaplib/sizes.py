# SPDX-License-Identifier: BSD-2-Clause
"""Sizes as Neap writes them: bytes, or with K, M or G (binary)."""

import re

from neaplib.errors import NeapError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text, what):
    """@text as bytes. NeapError names @what, the option it was given to."""
    match = re.fullmatch(r"([0-9]+)([KMG]?)", text, re.ASCII | re.IGNORECASE)
    if not match:
        raise NeapError(f"{what} {text}: not a size (a number of bytes, or with K, M or G: 64M)")
    size = int(match.group(1)) * UNITS[match.group(2).upper()]
    if size == 0 or size >= 1 << 63:
        raise NeapError(f"{what} {text}: out of range")
    return size


def format_size(size):
    """@size with the largest unit that divides it."""
    for unit in ("G", "M", "K"):
        if size % UNITS[unit] == 0:
            return f"{size // UNITS[unit]}{unit}"
    return str(size)
