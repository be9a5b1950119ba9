# SPDX-License-Identifier: BSD-2-Clause
"""Every test that there is, in the order in which they start: those that wait for a clock first, so
that they overlap with those that need the processor."""

import bad_input
import batch
import bench_rows
import boards
import builds
import disks
import fuzz
import guests
import hostile
import kernel_suites
import linux
import linux_disks
import meter
import monitor
import on_host
import swap
import swap_faults

# A build must stand before whoever needs it.
MODULES = [builds, linux, linux_disks, kernel_suites, hostile, fuzz, guests, bad_input, boards, batch, disks, swap,
           swap_faults, meter, monitor, on_host, bench_rows]


def all_jobs(settings):
    return [job for module in MODULES for job in module.jobs(settings)]
