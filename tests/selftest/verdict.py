# SPDX-License-Identifier: GPL-2.0
"""Is the kernel unharmed? Asked last, when every case has ended and the modules are gone; the host
judges the saved console as well. Each kernel can answer some of the questions. What is outside of the module is
compared with what was there before the first case, in the machine's own network namespace and in the director's."""

import contextlib
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

VS = "/proc/sys/net/ipv4/vs"
MOST = 8                                              # lines of what differs
FILES = {"lblc_expiration", "lblc_rs_max_entries"}    # gone when the modules are
MACHINE, HERE = "/proc/1/ns/net", "/proc/thread-self/ns/net"

began, before = [], {}


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
    subprocess.run(["modprobe", "ip_vs"], check=False)
    before.update(surroundings())
    for title in before:
        if title.endswith(VS):
            before[title] = {name: told for name, told in before[title].items() if name not in FILES}


@contextlib.contextmanager
def namespace(path):
    """Makes this thread a thread of that network namespace."""
    with open(HERE) as here, open(path) as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(here.fileno(), os.CLONE_NEWNET)


def sysctls(path=HERE):
    """{name: (mode, value)} of net.ipv4.vs in a network namespace."""
    with namespace(path):
        names = os.listdir(VS) if os.path.isdir(VS) else []
        return {name: (oct(os.stat(f"{VS}/{name}").st_mode), read(f"{VS}/{name}").strip()) for name in names}


def surroundings():
    """{where: {name: what is said of it}} of all that the module touches outside of itself."""
    found = {}
    for who, path in (("the machine's", MACHINE), ("the director's", HERE)):
        found[f"{who} {VS}"] = sysctls(path)
        with namespace(path):
            found[f"{who} /proc/net"] = dict.fromkeys(os.listdir("/proc/thread-self/net"), "there")
    found["modules"] = dict.fromkeys((line.split()[0] for line in read("/proc/modules").splitlines()), "there")
    if os.path.exists(SLABS):
        found["slabs"] = dict.fromkeys((line.split()[0] for line in read(SLABS).splitlines()), "there")
    found["threads of the kernel"] = dict.fromkeys(threads(), "there")
    return found


def threads():
    """The names of the kernel's threads that have ours in them; a work queue's rescuer (R) has the queue's. Any
    other worker serves all queues, and has the name of the last one."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it may have ended
            name = read(f"/proc/{pid}/comm").strip()
            ours = "lblc" in name and (name.startswith("kworker/R") or not name.startswith("kworker/"))
            if ours and not os.path.exists(f"/proc/{pid}/exe"):
                yield name


def differences(old, new):
    """A line for each key whose value is another one, or is there in one dictionary only; not too many."""
    lines = [f"{name}: {old.get(name, 'nothing')} before, {new.get(name, 'nothing')} now"
             for name in sorted(old.keys() | new.keys(), key=str) if old.get(name) != new.get(name)]
    return lines[:MOST] + [f"and {len(lines) - MOST} more"] * (len(lines) > MOST)


def outside():
    """What is not as it was. Of /proc/net, modules and slabs, cases may add what is not ours: they use more of the
    kernel than was used before."""
    wrong = []
    for where, now in surroundings().items():
        old = before[where]
        if not where.endswith(VS):
            now = {name: told for name, told in now.items() if name in old or "lblc" in name}
        wrong += [f"{where}: {line}" for line in differences(old, now)]
    return wrong



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
    return references() + outside() + caches() + leaks() + locks() + races() + taints()
