# SPDX-License-Identifier: GPL-2.0
"""Is the kernel unharmed? Asked last, when every case has ended and the modules are gone; the host
judges the saved console as well. Each kernel can answer some of the questions."""

import os
import re
import subprocess
import time

KMEMLEAK = "/sys/kernel/debug/kmemleak"
LOCKDEP = "/proc/lockdep_stats"
SLABS = "/proc/slabinfo"
KCSAN = "/sys/kernel/debug/kcsan"
REFERENCES = "/proc/ipvs_references"
OUT_OF_TREE, UNSIGNED = 1 << 12, 1 << 13

began = []


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def begin():
    """Before the first case: what the kernel lost earlier is not ours."""
    if os.path.isdir("/sys/kernel/debug") and not os.path.ismount("/sys/kernel/debug"):
        subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=False)
    if os.path.exists(KMEMLEAK):
        began.append(jiffies())


def jiffies():
    """Now, as kmemleak dates what it shows."""
    return max(int(line.split()[1]) for line in read("/proc/timer_list").splitlines()
               if line.startswith("jiffies:"))


def taints():
    """Exactly the taints of an unsigned module from outside the tree."""
    signatures = os.path.exists("/sys/module/module/parameters/sig_enforce")
    expected = OUT_OF_TREE | (UNSIGNED if signatures else 0)
    tainted = int(read("/proc/sys/kernel/tainted"))
    return [f"tainted is {tainted}, not {expected}"] if tainted != expected else []


def locks():
    """Lockdep stops watching after its first report: is it still alive?"""
    if not os.path.exists(LOCKDEP):
        return []
    alive = [line.split()[1] for line in read(LOCKDEP).splitlines() if "debug_locks:" in line]
    return [] if alive == ["1"] else [f"lockdep does not watch any more: debug_locks {alive}"]


def races():
    """KCSAN looks at some accesses of all: did it?"""
    if not os.path.exists(KCSAN):
        return []
    says = dict(line.split(": ") for line in read(KCSAN).splitlines() if ": " in line)
    watches = says["enabled"] == "1" and int(says["setup_watchpoints"]) > 0
    return [] if watches else [f"KCSAN does not watch: {says}"]


def references(seconds=20):
    """Nobody holds a removed server but the trash. The last connections may still be on their way out."""
    done = subprocess.run(["modprobe", "lblc_watch"], capture_output=True, text=True, check=False)
    if done.returncode:  # kselftest does not build it; a guest of this project has it
        return [done.stderr.strip()] if os.path.isdir("/lblc") else []
    end = time.monotonic() + seconds
    while True:
        held = [line for line in read(REFERENCES).splitlines()
                if not line.endswith((" references 1", "connections 0"))]
        if not held or time.monotonic() > end:
            break
        time.sleep(0.1)
    subprocess.run(["rmmod", "lblc_watch"], check=True)
    return held


def leaks():
    """Two scans: what is new is not reported before it is five seconds old, nor what changes between
    them. Callbacks of RCU that were on their way have run by then."""
    if not os.path.exists(KMEMLEAK):
        return []
    write(KMEMLEAK, "scan")
    time.sleep(6)
    write(KMEMLEAK, "scan")
    lost = re.split("^(?=unreferenced object)", read(KMEMLEAK), flags=re.MULTILINE)
    lost = [report for report in lost if report and
            int(re.search(r", jiffies (\d+)", report)[1]) >= began[0]]
    return "".join(lost).splitlines()[:60]


def caches():
    """The cache of entries has gone with the module. (C says so, and keeps it, if an object is left.)"""
    if not os.path.exists(SLABS):
        return []
    return [line for line in read(SLABS).splitlines() if line.startswith("ip_vs_lblc_rs")]


def complaints():
    """What is wrong with the kernel, as lines; empty if nothing is."""
    return references() + caches() + leaks() + locks() + races() + taints()
