# SPDX-License-Identifier: BSD-2-Clause
"""The host side of Neap.

    args      what the operator asked for, checked
    guests    guest files, their names, and the module lines that Neap reads
    iso       grub.cfg and the ISO image
    swapdisk  the mark on a swap area, and the marks of others
    mkswap    marking, and what is refused
    debian    a Linux guest of Debian's packages
    qemu      the emulator's command line
    host      what this machine offers: programs, firmware, nested virtualisation
    terminal  the operator's keyboard in raw mode
    console   what comes out of the serial line
    verdict   what that says about the guests: the exit status
    runner    one emulator process from start to end
    main      the commands
"""

VERSION = "0.1"
