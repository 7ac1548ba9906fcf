# SPDX-License-Identifier: GPL-2.0
"""Checks of the kernel after the last case, when the modules are unloaded; the host also scans the saved console.
Which checks are possible depends on the kernel's configuration. What the module touches outside of itself is compared
with its state before the first case, in the initial network namespace ("machine's") and in the director's."""

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
MOST = 8                                              # differences shown
FILES = {"lblc_expiration", "lblc_rs_keep", "lblc_rs_max_entries", "lblc_rs_seed"}  # removed with the modules
MACHINE, HERE = "/proc/1/ns/net", "/proc/thread-self/ns/net"

began, before = [], {}


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def begin():
    """Records the state before the first case; leaks from before are not reported."""
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
    """{where: {name: its value, or "there"}} of everything that the module touches outside of itself."""
    found = {}
    for where, path in (("the machine's", MACHINE), ("the director's", HERE)):
        found[f"{where} {VS}"] = sysctls(path)
        with namespace(path):
            found[f"{where} /proc/net"] = dict.fromkeys(os.listdir("/proc/thread-self/net"), "there")
    found["modules"] = dict.fromkeys((line.split()[0] for line in read("/proc/modules").splitlines()), "there")
    if os.path.exists(SLABS):
        found["slabs"] = dict.fromkeys((line.split()[0] for line in read(SLABS).splitlines()), "there")
    found["threads of the kernel"] = dict.fromkeys(threads(), "there")
    return found


def threads():
    """The names of the kernel threads that contain "lblc". The rescuer of a workqueue (kworker/R) has the name of its
    queue; any other worker serves all queues, and has the name of the last one."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it may have ended
            name = read(f"/proc/{pid}/comm").strip()
            ours = "lblc" in name and (name.startswith("kworker/R") or not name.startswith("kworker/"))
            if ours and not os.path.exists(f"/proc/{pid}/exe"):
                yield name


def differences(old, new):
    """A line for each key that has different values, or is in one dictionary only; at most MOST of them."""
    lines = [f"{name}: {old.get(name, 'nothing')} before, {new.get(name, 'nothing')} now"
             for name in sorted(old.keys() | new.keys(), key=str) if old.get(name) != new.get(name)]
    return lines[:MOST] + [f"and {len(lines) - MOST} more"] * (len(lines) > MOST)


def outside():
    """The differences from the state before the first case. In /proc/net, modules and slabs, cases may add what is not
    the module's, as they use more parts of the kernel."""
    wrong = []
    for where, now in surroundings().items():
        old = before[where]
        if not where.endswith(VS):
            now = {name: told for name, told in now.items() if name in old or "lblc" in name}
        wrong += [f"{where}: {line}" for line in differences(old, now)]
    return wrong


def jiffies():
    """The time now, in the unit that kmemleak reports use."""
    return max(int(line.split()[1]) for line in read("/proc/timer_list").splitlines()
               if line.startswith("jiffies:"))


def taints():
    """The kernel must have exactly the taints of an unsigned out-of-tree module."""
    signatures = os.path.exists("/sys/module/module/parameters/sig_enforce")
    expected = OUT_OF_TREE | (UNSIGNED if signatures else 0)
    tainted = int(read("/proc/sys/kernel/tainted"))
    return [f"tainted is {tainted}, not {expected}"] if tainted != expected else []


def locks():
    """Lockdep must still be on: it turns itself off with its first report."""
    if not os.path.exists(LOCKDEP):
        return []
    alive = [line.split()[1] for line in read(LOCKDEP).splitlines() if "debug_locks:" in line]
    return [] if alive == ["1"] else [f"lockdep does not watch any more: debug_locks {alive}"]


def races():
    """KCSAN must be on, and must have set up watchpoints."""
    if not os.path.exists(KCSAN):
        return []
    says = dict(line.split(": ") for line in read(KCSAN).splitlines() if ": " in line)
    watches = says["enabled"] == "1" and int(says["setup_watchpoints"]) > 0
    return [] if watches else [f"KCSAN does not watch: {says}"]


def references(seconds=60):
    """No removed server may have references other than that of the trash. Waits for the last connections to end."""
    done = subprocess.run(["modprobe", "lblc_watch"], capture_output=True, text=True, check=False)
    if done.returncode:  # kselftest does not build it, a guest of this project has it
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
    """Two scans of kmemleak, which does not report objects younger than five seconds, nor those that change between two
    scans. Pending RCU callbacks have run by then."""
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
    """The slab cache of entries must be gone. (The kernel complains, and keeps it, if an object is left.)"""
    if not os.path.exists(SLABS):
        return []
    return [line for line in read(SLABS).splitlines() if line.startswith("ip_vs_lblc_rs")]


def complaints():
    """All that is wrong with the kernel, as lines."""
    return references() + outside() + caches() + leaks() + locks() + races() + taints()
