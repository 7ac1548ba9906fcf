#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A hostile neighbour: uid 1000, root of a user namespace with network namespaces of its own, uses everything that it
has access to (hostile.py). The machine's root must not be affected more than SECURITY.md says. FULL=1: the case
`neighbour` runs for 30 minutes. SEED=n: the random numbers of that seed."""

import contextlib
import json
import os
import queue
import random
import re
import subprocess
import sys
import threading
import time

from counted import EXPIRATION, LIMIT
from harness import SLOW, case, eq, ksft, le, loaded, main, run, unload_all, wait_until
from lab import Lab, key, sysctl
from memory import available, available_without_empty_slabs
from verdict import HERE, MACHINE, namespace, read, sysctls, write

FULL = bool(os.environ.get("FULL"))
SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
CGROUPS, CGROUP = "/sys/fs/cgroup", "/sys/fs/cgroup/neighbour"
BOUND = 32 << 20               # bytes of tables that grow at the same time; see SECURITY.md for others
# Bytes by which the machine's free memory varies. On kasan the kernel's debugging keeps the stacks of all allocations:
# 16.6 MB more were in use after 400 seconds. (kmemleak finds leaks there.)
SLACK = (32 if SLOW > 1 else 16) << 20
SOON = 60 * SLOW               # seconds that a command of root's may take; 9.4 were seen beside six guests on two CPUs
EVERYTHING = 65536 + 8         # services: more than the largest array that the kernel allocates without a warning has
FILES = [f"/proc/sys/{EXPIRATION}", f"/proc/sys/{LIMIT}", "/proc/net/ip_vs_lblc_rs", "/proc/net/ip_vs_lblc_rs_stats"]
REFUSED = "IPVS: ip_vs_lblc is refused"

lab = Lab()


def prepare():
    """Sets up what udev and systemd set up on a complete system."""
    if not os.path.exists("/dev/fuse"):
        run("modprobe fuse")
    os.chmod("/dev/fuse", 0o666)
    if not os.path.ismount(CGROUPS):
        run(f"mount -t cgroup2 cgroup2 {CGROUPS}")
    write(f"{CGROUPS}/cgroup.subtree_control", "+memory")


class User:
    """The user's process, in a cgroup of its own. All that it has started ends with it."""

    def __enter__(self):
        os.mkdir(CGROUP)
        self.process = subprocess.Popen(
            ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups",
             # In this order: /proc/net belongs to root of the user namespace if the map was written before.
             "unshare", "--user", "--map-root-user",
             "unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child=KILL",
             sys.executable, "hostile.py"],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=lambda: write(f"{CGROUP}/cgroup.procs", "0"))
        self.net = f"/proc/{self.process.pid}/ns/net"
        self.answers = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        eq(self.answer(), "ready", "the first line of the user's process")
        return self

    def listen(self):
        for line in self.process.stdout:
            self.answers.put(json.loads(line))

    def ask(self, *command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self, seconds=60 * SLOW):
        """The answer to the oldest command, or None if there is none in that time."""
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def do(self, *command, seconds=60 * SLOW):
        self.ask(*command)
        answer = self.answer(seconds)
        assert answer is not None, f"the user's process has not answered {command} in {seconds} s"
        return answer

    def tables(self):
        """The number of services in its namespace, and the sums of their entries and bytes, from the module's file."""
        found = {"services": 0, "entries": 0, "bytes": 0}
        for line in services_of(self.net):
            found["services"] += 1
            for what in ("entries", "bytes"):
                found[what] += int(re.search(rf" {what} (\d+)", line)[1])
        return found

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not read(f"{CGROUP}/cgroup.procs").strip(), "the user's processes end", 60)
        os.rmdir(CGROUP)
        wait_until(lambda: uses() <= len(services_of(HERE)), "the user's namespaces end", 60)
        if "ip_vs_lblcr" in loaded():
            run("rmmod ip_vs_lblcr")


def services_of(net):
    """The lines of services in the module's file, in a network namespace; none if the module is not loaded."""
    with namespace(net):
        if not os.path.exists("/proc/thread-self/net/ip_vs_lblc_rs"):
            return []
        with open("/proc/thread-self/net/ip_vs_lblc_rs") as file:
            return [line for line in file if not line.startswith("  ")]


def live():
    """The names of those of the two modules that are live. (C's is listed for a moment while it is being refused.)"""
    found = [line.split() for line in read("/proc/modules").splitlines()]
    return {word[0] for word in found if word[0] in ("ip_vs_lblc", "ip_vs_lblc_rs") and word[4] == "Live"}


def uses():
    """The number of services, in all namespaces, that use the module."""
    try:
        return int(read("/sys/module/ip_vs_lblc_rs/refcnt"))
    except OSError:  # the module was unloaded
        return 0


def charged():
    return int(read(f"{CGROUP}/memory.current"))


def in_slab():
    """The bytes of all entries, from the slab allocator."""
    found = re.search(r"^ip_vs_lblc_rs_entry +\d+ +(\d+) +(\d+)", read("/proc/slabinfo"), re.MULTILINE)
    return int(found[1]) * int(found[2])


def trees():
    """{(namespace, file): (mode, value)} of net.ipv4.vs, the machine's and the director's. (Without lblcr_expiration:
    any user can have its module loaded.)"""
    return {(where, name): told for where, path in (("machine's", MACHINE), ("director's", HERE))
            for name, told in sysctls(path).items() if name != "lblcr_expiration"}


def soon(*command):
    """Runs a command of root's, which must end within SOON; returns how long it took."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        status = process.wait(SOON)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{command} has not ended after {SOON} s") from None
    eq(status, 0, f"the status of {command}")
    return time.monotonic() - start


def root_is_not_blocked():
    """Makes and deletes namespaces; loads and unloads a module that has state in each of them."""
    soon("unshare", "--net", "true")
    soon("ip", "netns", "add", "roots")
    soon("ip", "netns", "del", "roots")
    soon("modprobe", "ip_vs_lblcr")
    soon("rmmod", "ip_vs_lblcr")


def stall(user):
    """Makes the user's process read all files of the module without an end, and then delete its service."""
    eq(user.do("add", "lblc_rs", 1, 1), [1, None], "a service, so that there is something to read")
    eq(user.do("stall", *FILES), len(FILES), "the number of stalled reads")
    user.do("flush")


def begin():
    """Loads our module, and sets root's own values."""
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    sysctl(EXPIRATION, 1234)
    sysctl(LIMIT, 5678)


# One thing at a time -------------------------------------------------------------------------------

@case
def a_read_that_never_ends_blocks_nothing_else():
    begin()
    before = trees()
    with User() as user:
        stall(user)
        user.ask("add", "lblc", 1, 1)
        answer = user.answer(SOON)
        root_is_not_blocked()
        eq(answer, [0, "ENOENT"], "the answer to -s lblc")
        eq(trees(), before, "net.ipv4.vs")
        eq(live(), {"ip_vs_lblc_rs"}, "the loaded modules")
    run("rmmod ip_vs_lblc_rs")


@case
def only_unloading_waits_for_a_read_that_never_ends():
    unload_all()
    base = trees()
    begin()
    with User() as user:
        stall(user)
        rmmod = subprocess.Popen(["rmmod", "ip_vs_lblc_rs"])
        time.sleep(1)
        for _ in range(3):
            root_is_not_blocked()
    eq(rmmod.wait(SOON), 0, "the status of rmmod")
    eq(trees(), base, "net.ipv4.vs")


@case
def any_number_of_services_leaves_memory_to_others():
    begin()
    with User() as user:
        made, error = user.do("add", "lblc_rs", 1, EVERYTHING, seconds=300 * SLOW)
        found = user.tables()
        ksft.print_msg(f"{made} services, then {error}: {found}")
        lab.service()
        assert lab.ask(key(1)), "no server answers a connection of root's service"
        eq(error, "ENOMEM", f"the error that ended {made} services")
        assert found["bytes"] <= BOUND, f"{found} is more than {BOUND} bytes"
        eq(user.do("add", "rr", EVERYTHING + 1, 1), [1, None], "another scheduler's service")
        user.do("delete", 1, 10)
        # Their memory is freed after a grace period.
        wait_until(lambda: user.do("add", "lblc_rs", 1, 1) == [1, None], "a service can be added in the place of ten")


@case
def entries_of_a_users_namespace_are_bounded():
    """Fills the tables of many services; the long form also fills the table of one."""
    filled(4000, 15000)
    if FULL:
        filled(1, 300000)


def filled(services, keys):
    """Adds `services` services, or the most that are allowed, and sends more keys than their tables may hold."""
    begin()
    with User() as user:
        made, error = user.do("add", "lblc_rs", 1, services)
        if error:
            user.do("delete", 2, 40)  # to make room for entries
        user.do("flood", 1, 0, keys)
        full = user.tables()
        ksft.print_msg(f"{made} services, then {error}; with {keys} keys: {full}, {in_slab()} bytes of entries")
        assert full["bytes"] <= BOUND, f"{full} is more than {BOUND} bytes"
        before = available()
        more = keys // 3
        eq(user.do("flood", 1, keys, more), more, "the number of packets scheduled with a full table")
        after = user.tables()
        assert after["bytes"] <= BOUND, f"{after} is more than {BOUND} bytes"
        assert in_slab() <= BOUND, f"entries take {in_slab()} bytes, more than {BOUND}"
        assert before - available() < SLACK, f"{before} bytes were free, {available()} are after {more} more keys"


@case
def tables_are_charged_to_the_users_cgroup():
    begin()
    with User() as user:
        user.do("add", "lblc_rs", 1, 10)
        before, tables = charged(), user.tables()["bytes"]
        services, _ = user.do("add", "lblc_rs", 100, 2000)
        ours, tables = charged() - before, user.tables()["bytes"] - tables
        before = charged()
        eq(user.do("add", "rr", 1 << 20, services), [services, None], "services of another scheduler")
        others = charged() - before
        said = f"{services} services: {ours} bytes are charged, of tables of {tables}; with rr {others}"
        ksft.print_msg(said)
        assert ours - others > 0.8 * tables > 1 << 20, said


@case
def buckets_of_a_table_that_grows_are_charged_to_the_users_cgroup():
    """A work item allocates them, in a thread of the kernel."""
    begin()
    with User() as user:
        user.do("add", "lblc_rs", 1, 1)
        user.do("flood", 1, 0, 1)  # what a first packet allocates
        before = charged()
        user.do("flood", 1, 0, 60000)

        def buckets():
            found = user.tables()
            return found["bytes"] - found["entries"] * 64
        wait_until(lambda: buckets() > 60000 * 2 * 8, "the table has grown")
        ksft.print_msg(f"{charged() - before} bytes are charged, for buckets of {buckets()}")
        wait_until(lambda: charged() - before > 0.8 * buckets(), "the cgroup is charged for the buckets")


# All at once --------------------------------------------------------------------------------------

@case
def neighbour():
    """Everything that the user can do, at the same time."""
    begin()
    lab.service()
    keys = [key(n) for n in range(12)]
    homes = [lab.ask(it) for it in keys]
    assert None not in homes, homes
    free = available_without_empty_slabs()
    before, turns, slowest, low, did = trees(), 0, 0, [], {"nothing": 0}
    start = told = time.monotonic()
    seconds = 1800 if FULL else 10
    with User() as user:
        user.do("stress", SEED)
        while time.monotonic() < start + seconds or turns < 4 or not all(did.values()):
            assert time.monotonic() < start + seconds + 120 * SLOW, f"a worker does nothing: {did}"
            turns += 1
            slowest = max(slowest, soon("unshare", "--net", "true"))
            eq([lab.ask(it) for it in keys], homes, f"the servers of root's keys in turn {turns}")
            eq(trees(), before, f"net.ipv4.vs in turn {turns}")
            eq(live(), {"ip_vs_lblc_rs"}, "the loaded modules")
            low.append(available())
            did = user.do("how_far")
            if FULL and time.monotonic() > told + 30:
                told = time.monotonic()
                ksft.print_msg(f"{turns} turns so far")
        bytes_charged = charged()
    ksft.print_msg(f"SEED={SEED}: {turns} turns of root's, {slowest:.1f} s the longest unshare --net; "
                   f"{free >> 20} MiB free before, {min(low) >> 20} at least; charged {bytes_charged >> 20} MiB")
    ksft.print_msg(f"the user's: {did}")
    most = (len(did) + 1) * BOUND  # each worker has a namespace, one makes another
    assert free - min(low) < most, f"{free} bytes were free, {min(low)} at least: more than {most} less"
    first, second = low[:len(low) // 2], low[len(low) // 2:]
    assert min(second) > min(first) - BOUND, f"free memory keeps shrinking: {min(first)}, then {min(second)} bytes"
    # The user's processes have ended, so all of their memory is freed.
    with contextlib.suppress(RuntimeError):  # the value is asserted
        wait_until(lambda: free - available_without_empty_slabs() < SLACK, f"{free} bytes are free again")
    lost = free - available()
    ksft.print_msg(f"{lost} bytes less are free than before")
    le(lost, SLACK, "the number of bytes that are not free again")
    refusals = run("dmesg").count(REFUSED)
    took = time.monotonic() - start
    assert refusals <= 10 * (took // 5 + 10), f"the log has {refusals} refusals in {took:.0f} s"
    eq([lab.ask(it) for it in keys], homes, "the servers of root's keys afterwards")
    lab.clear()
    run("rmmod ip_vs_lblc_rs")


prepare()
main(lab)
