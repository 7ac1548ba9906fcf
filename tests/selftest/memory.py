# SPDX-License-Identifier: GPL-2.0
"""The machine's free memory."""

import os
import re

from verdict import read, write

PAGE = os.sysconf("SC_PAGE_SIZE")
SIZES = {"ip_vs_lblc_rs_entry": 64, "kmemleak_object": 0}


def available():
    """The machine's memory that is free or only cached, in bytes. MemFree excludes the free pages that the page
    allocator keeps for each CPU: up to 27 MiB for each of two CPUs on stock with 1 GiB. (MemAvailable also excludes
    the kernel's reserve, which changes: on stock 740 MiB were available when 811 MiB were free.) What the kernel's
    debugging takes is added, so that bounds are those of stock."""
    sizes = {name: int(size) << 10 for name, size in re.findall(r"^(\w+): *(\d+)", read("/proc/meminfo"), re.MULTILINE)}
    of_cpus = sum(map(int, re.findall(r"^ +count: +(\d+)", read("/proc/zoneinfo"), re.MULTILINE)))
    return sizes["MemFree"] + sizes["Cached"] + sizes["SReclaimable"] - sizes["Shmem"] + of_cpus * PAGE + debugging()


def debugging():
    """What the kernel's debugging adds to slabs, in bytes: red zones and the like of kmalloc() and of our entries, and
    kmemleak's objects, one for each allocation. On kasan an entry takes 256 bytes and an object of 320; on stock
    this is 0."""
    added = 0
    for name, number, size in re.findall(r"^(\S+) +\d+ +(\d+) +(\d+)", read("/proc/slabinfo"), re.MULTILINE):
        usual = re.fullmatch(r"kmalloc-(?:.*-)?(\d+)(k?)", name)
        if usual:
            added += int(number) * (int(size) - (int(usual[1]) << (10 if usual[2] else 0)))
        elif name in SIZES:
            added += int(number) * (int(size) - SIZES[name])
    return added


def available_without_empty_slabs():
    """As available(), after the slab caches have returned their empty slabs to the page allocator. After four minutes
    of all attacks those of the kernel's own caches had 12 MiB of them on stock."""
    for cache in os.scandir("/sys/kernel/slab"):
        if not cache.is_symlink():
            write(f"{cache.path}/shrink", "1")
    return available()
