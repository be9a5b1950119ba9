# SPDX-License-Identifier: BSD-2-Clause
"""What this machine offers: the source tree, programs, firmware, nested virtualisation."""

import os
import shutil
from pathlib import Path

from neaplib.errors import NeapError

ROOT = Path(__file__).resolve().parents[2]

# Debian's package of each program that may be missing.
PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "grub-mkrescue": "grub-common grub-pc-bin grub-efi-amd64-bin",
    "xorriso": "xorriso",
    "mformat": "mtools",
}

GRUB_DIR = Path("/usr/lib/grub")

# Firmware in one image, for -bios; then code without its variables, for a flash drive.
OVMF_IMAGES = ["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd",
               "/usr/share/edk2-ovmf/x64/OVMF.fd", "/usr/share/edk2/x64/OVMF.4m.fd"]
OVMF_CODE = ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd",
             "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/qemu/edk2-x86_64-code.fd"]


def require(*programs):
    """NeapError with the line that installs what is missing of @programs."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(PACKAGES.get(Path(program).name, "") for program in missing).strip()
        hint = f" (apt-get install {packages})" if packages else ""
        raise NeapError(f"{', '.join(missing)}: not found{hint}")


def require_grub_platforms():
    """grub-mkrescue quietly leaves out the firmware whose half of GRUB is not installed."""
    halves = {"i386-pc": "grub-pc-bin", "x86_64-efi": "grub-efi-amd64-bin"}
    missing = [package for half, package in halves.items() if not (GRUB_DIR / half).is_dir()]
    if missing and GRUB_DIR.is_dir():
        raise NeapError(f"GRUB is there only in part (apt-get install {' '.join(missing)})")


def qemu_program():
    return os.environ.get("NEAP_QEMU", "qemu-system-x86_64")


def ovmf_args():
    """QEMU's options for UEFI firmware."""
    for image in OVMF_IMAGES:
        if os.path.exists(image):
            return ["-bios", image]
    for code in OVMF_CODE:
        if os.path.exists(code):
            return ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
    raise NeapError("UEFI firmware not found (apt-get install ovmf)")


def has_nested_svm():
    """Whether KVM can hand SVM on to Neap. (An Intel host offers VMX, which is not of use yet.)"""
    try:
        nested = Path("/sys/module/kvm_amd/parameters/nested").read_text().strip()
    except OSError:
        return False
    return nested in ("1", "Y") and os.access("/dev/kvm", os.R_OK | os.W_OK)
