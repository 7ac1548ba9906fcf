# SPDX-License-Identifier: GPL-2.0
"""The machine's free memory."""

import os
import re

from verdict import read, write

PAGE = os.sysconf("SC_PAGE_SIZE")


def available():
    """The machine's memory that is free or only cached, in bytes. MemFree excludes the free pages that the page
    allocator keeps for each CPU: up to 27 MiB for each of two CPUs on stock with 1 GiB. (MemAvailable also excludes
    the kernel's reserve, which changes: on stock 740 MiB were available when 811 MiB were free.)"""
    sizes = {name: int(size) << 10 for name, size in re.findall(r"^(\w+): *(\d+)", read("/proc/meminfo"), re.MULTILINE)}
    of_cpus = sum(map(int, re.findall(r"^ +count: +(\d+)", read("/proc/zoneinfo"), re.MULTILINE)))
    return sizes["MemFree"] + sizes["Cached"] + sizes["SReclaimable"] - sizes["Shmem"] + of_cpus * PAGE


def available_without_empty_slabs():
    """As available(), after the slab caches have returned their empty slabs to the page allocator. After four minutes
    of all attacks those of the kernel's own caches had 12 MiB of them on stock."""
    for cache in os.scandir("/sys/kernel/slab"):
        if not cache.is_symlink():
            write(f"{cache.path}/shrink", "1")
    return available()
