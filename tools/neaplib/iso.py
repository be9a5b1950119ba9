# SPDX-License-Identifier: BSD-2-Clause
"""grub.cfg and the ISO image: hybrid, for BIOS and UEFI, for CDs and sticks.

What passes through GRUB: its script language is kept out by single quotes; the multiboot2 command
then joins the words with single spaces and puts a backslash before each backslash, ' and ". Neap
takes those away again. An empty word keeps two spaces two spaces, so every text arrives unchanged.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from neaplib.errors import NeapError, STATUS_GUEST_FAILED
from neaplib.host import ROOT, require, require_grub_platforms

TEMPLATE = ROOT / "iso" / "grub.cfg.in"

# All that grub.cfg uses. UEFI's GRUB looks for a file system below every partition table it knows
# of and complains on the screen about each that is missing.
GRUB_MODULES = ["normal", "multiboot2", "test", "all_video", "serial", "terminal", "echo", "iorw",
                "part_acorn", "part_amiga", "part_apple", "part_bsd", "part_dfly", "part_dvh",
                "part_gpt", "part_msdos", "part_plan", "part_sun", "part_sunpc"]


def grub_quote(text):
    """@text as GRUB script words that the multiboot2 command joins to @text again."""
    if text == "":
        return ""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in text.split(" "))


def grub_cfg(kernel_args, modules, screen):
    lines = []
    for module in modules:
        what = Path(module.iso_path).name
        lines.append(f"if ! module2 /{module.iso_path} {grub_quote(module.line)};"
                     f" then set missing=\"$missing {what}\"; fi")
    values = {"SCREEN": screen, "MODULES": "\n".join(lines),
              "KERNEL_ARGS": grub_quote(kernel_args)}
    return re.sub("@([A-Z_]+)@", lambda match: values[match.group(1)], TEMPLATE.read_text())


def make_iso(output, kernel, cfg, modules, scratch):
    """Make the ISO @output. @scratch is a directory of ours; whoever made it removes it."""
    require("grub-mkrescue", "xorriso", "mformat")
    require_grub_platforms()
    tree = scratch / "iso"
    (tree / "boot" / "grub").mkdir(parents=True)
    (tree / "boot" / "grub" / "grub.cfg").write_bytes(os.fsencode(cfg))
    shutil.copyfile(kernel, tree / "boot" / "neap.elf")
    for module in modules:
        if module.source:
            shutil.copyfile(module.source, tree / module.iso_path)
        else:
            (tree / module.iso_path).write_bytes(b"\n")

    # Fonts, themes and translations would triple the size; compressed modules save 0.5 MB and cost
    # more time than reading them does.
    command = ["grub-mkrescue", "--fonts=", "--themes=", "--locales=",
               "--install-modules=" + " ".join(GRUB_MODULES), "-o", str(output), str(tree)]
    result = subprocess.run(command, env={**os.environ, "TMPDIR": str(scratch)},
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, errors="replace", start_new_session=True)
    if result.returncode != 0:
        why = re.search(r"^.*(FAILURE : |error: )(.*)$", result.stdout, re.MULTILINE)
        raise NeapError(f"grub-mkrescue failed: {why.group(2) if why else result.stdout}",
                        STATUS_GUEST_FAILED)
