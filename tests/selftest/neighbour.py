#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A hostile neighbour: uid 1000, root of a user namespace with a network namespace of its own, does all that it can
reach (hostile.py). The machine's root must not notice more of it than SECURITY.md says. FULL=1: the storm goes on
for 30 minutes. SEED=n: the storm of that seed."""

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
from harness import SLOW, case, eq, ksft, loaded, main, run, unload_all, wait_until
from lab import Lab, key, sysctl
from verdict import HERE, MACHINE, namespace, read, sysctls, write

FULL = bool(os.environ.get("FULL"))
SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
CGROUPS, CGROUP = "/sys/fs/cgroup", "/sys/fs/cgroup/neighbour"
BOUND = 32 << 20               # bytes of tables that grow together; SECURITY.md says what the bound is if they do not
SLACK = 16 << 20               # bytes that the machine's free memory varies by
SOON = 10 * SLOW               # seconds that anything of root's may take
EVERYTHING = 65536 + 8         # services: more than fit into one array that the kernel gives without a warning
FILES = [f"/proc/sys/{EXPIRATION}", f"/proc/sys/{LIMIT}", "/proc/net/ip_vs_lblc_rs", "/proc/net/ip_vs_lblc_rs_stats"]
REFUSED = "IPVS: ip_vs_lblc is refused"

lab = Lab()


def prepare():
    """What udev and systemd do on a whole machine."""
    if not os.path.exists("/dev/fuse"):
        run("modprobe fuse")
    os.chmod("/dev/fuse", 0o666)
    if not os.path.ismount(CGROUPS):
        run(f"mount -t cgroup2 cgroup2 {CGROUPS}")
    write(f"{CGROUPS}/cgroup.subtree_control", "+memory")


class User:
    """The user's process, in a cgroup of its own. When it goes, all that it has started goes."""

    def __enter__(self):
        os.mkdir(CGROUP)
        self.process = subprocess.Popen(
            ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups",
             # In this order: /proc/net belongs to root of the user namespace if its map is there already.
             "unshare", "--user", "--map-root-user",
             "unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child=KILL",
             sys.executable, "hostile.py"],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=lambda: write(f"{CGROUP}/cgroup.procs", "0"))
        self.net = f"/proc/{self.process.pid}/ns/net"
        self.answers = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        eq(self.answer(), "ready", "what the user says first")
        return self

    def listen(self):
        for line in self.process.stdout:
            self.answers.put(json.loads(line))

    def ask(self, *command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self, seconds=60 * SLOW):
        """What it answers to the oldest question, or None if it does not in that time."""
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def do(self, *command, seconds=60 * SLOW):
        self.ask(*command)
        answer = self.answer(seconds)
        assert answer is not None, f"no answer of the user to {command} in {seconds} s"
        return answer

    def tables(self):
        """The sums of what our file says of the services in its namespace, and how many there are."""
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
    """The lines of our file on services, in a network namespace; none if the module is not there."""
    with namespace(net):
        if not os.path.exists("/proc/thread-self/net/ip_vs_lblc_rs"):
            return []
        with open("/proc/thread-self/net/ip_vs_lblc_rs") as file:
            return [line for line in file if not line.startswith("  ")]


def live():
    """Which of the two modules is loaded. C's is seen for a moment while it is being refused."""
    found = [line.split() for line in read("/proc/modules").splitlines()]
    return {word[0] for word in found if word[0] in ("ip_vs_lblc", "ip_vs_lblc_rs") and word[4] == "Live"}


def uses():
    """How many services, of any namespace, use our module."""
    try:
        return int(read("/sys/module/ip_vs_lblc_rs/refcnt"))
    except OSError:  # it has been unloaded
        return 0


def charged():
    return int(read(f"{CGROUP}/memory.current"))


def available():
    """The machine's free memory, in bytes."""
    return int(re.search(r"MemAvailable: *(\d+)", read("/proc/meminfo"))[1]) << 10


def in_slab():
    """Bytes of entries, as the slab allocator counts them."""
    found = re.search(r"^ip_vs_lblc_rs_entry +\d+ +(\d+) +(\d+)", read("/proc/slabinfo"), re.MULTILINE)
    return int(found[1]) * int(found[2])


def trees():
    """{(whose, file): (mode, value)} of net.ipv4.vs, the machine's and the director's. (lblcr_expiration comes with
    a module that any user can have loaded.)"""
    return {(who, name): told for who, path in (("machine's", MACHINE), ("director's", HERE))
            for name, told in sysctls(path).items() if name != "lblcr_expiration"}


def soon(*command):
    """Runs a command of root's; how long it took. It is not waited for if that is too long: it may not end."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        status = process.wait(SOON)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{command} of root's has not ended after {SOON} s") from None
    eq(status, 0, f"the status of {command}")
    return time.monotonic() - start


def root_goes_on():
    """Namespaces come and go, and so does a module that has something in each of them."""
    soon("unshare", "--net", "true")
    soon("ip", "netns", "add", "roots")
    soon("ip", "netns", "del", "roots")
    soon("modprobe", "ip_vs_lblcr")
    soon("rmmod", "ip_vs_lblcr")


def stall(user):
    """The user's reads of all of our files in its namespace wait; the module is not in use."""
    eq(user.do("add", "lblc_rs", 1, 1), [1, None], "a service, or there would be nothing to read")
    eq(user.do("stall", *FILES), len(FILES), "the number of stalled reads")
    user.do("flush")


def begin():
    """Ours is loaded, with root's own values."""
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    sysctl(EXPIRATION, 1234)
    sysctl(LIMIT, 5678)


# FAULTS: what single things can do ----------------------------------------------------------------

@case
def a_read_that_never_ends_keeps_nobody_waiting():
    begin()
    before = trees()
    with User() as user:
        stall(user)
        user.ask("add", "lblc", 1, 1)
        answer = user.answer(SOON)
        root_goes_on()
        eq(answer, [0, "ENOENT"], "the answer to -s lblc")
        eq(trees(), before, "net.ipv4.vs")
        eq(live(), {"ip_vs_lblc_rs"}, "what is loaded")
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
            root_goes_on()
    eq(rmmod.wait(SOON), 0, "the status of rmmod")
    eq(trees(), base, "net.ipv4.vs")


@case
def services_without_number_take_nothing_from_others():
    begin()
    with User() as user:
        made, error = user.do("add", "lblc_rs", 1, EVERYTHING, seconds=300 * SLOW)
        found = user.tables()
        ksft.print_msg(f"{made} services, then {error}: {found}")
        lab.service()
        assert lab.ask(key(1)), "root's service does not schedule"
        eq(error, "ENOMEM", f"the error that ended {made} services")
        assert found["bytes"] <= BOUND, f"{found} is more than {BOUND} bytes"
        eq(user.do("add", "rr", EVERYTHING + 1, 1), [1, None], "another scheduler's service")
        user.do("delete", 1, 10)
        # What they had is freed after a grace period.
        wait_until(lambda: user.do("add", "lblc_rs", 1, 1) == [1, None], "another service in the place of ten")


@case
def entries_of_a_users_namespace_are_bounded():
    """Of many services; the long form also fills the table of one."""
    filled(4000, 15000)
    if FULL:
        filled(1, 300000)


def filled(services, keys):
    """As many services as there may be, but few; and more keys than there is room for."""
    begin()
    with User() as user:
        made, error = user.do("add", "lblc_rs", 1, services)
        if error:
            user.do("delete", 2, 40)  # room for entries
        user.do("flood", 1, 0, keys)
        full = user.tables()
        ksft.print_msg(f"{made} services, then {error}; with {keys} keys: {full}, {in_slab()} bytes of entries")
        assert full["bytes"] <= BOUND, f"{full} is more than {BOUND} bytes"
        before = available()
        more = keys // 3
        eq(user.do("flood", 1, keys, more), more, "the packets of a full table that were scheduled")
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


# All at once --------------------------------------------------------------------------------------

@case
def neighbour():
    """The storm: all that the user can do, at once."""
    begin()
    lab.service()
    keys = [key(n) for n in range(12)]
    homes = [lab.ask(it) for it in keys]
    assert None not in homes, homes
    before, free, turns, slowest, low, did = trees(), available(), 0, 0, [], {"nothing": 0}
    start = told = time.monotonic()
    seconds = 1800 if FULL else 10
    with User() as user:
        user.do("storm", SEED)
        while time.monotonic() < start + seconds or turns < 4 or not all(did.values()):
            assert time.monotonic() < start + seconds + 60 * SLOW, f"a worker does nothing: {did}"
            turns += 1
            slowest = max(slowest, soon("unshare", "--net", "true"))
            eq([lab.ask(it) for it in keys], homes, f"where root's keys are in turn {turns}")
            eq(trees(), before, f"net.ipv4.vs in turn {turns}")
            eq(live(), {"ip_vs_lblc_rs"}, "what is loaded")
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
    assert min(second) > min(first) - BOUND, f"free memory goes on shrinking: {min(first)}, then {min(second)} bytes"
    # The user has gone, and so has all that was the user's.
    wait_until(lambda: free - available() < SLACK, f"{free} bytes are free again", 60)
    refusals = run("dmesg").count(REFUSED)
    took = time.monotonic() - start
    assert refusals <= 10 * (took // 5 + 10), f"the log has {refusals} refusals in {took:.0f} s"
    eq([lab.ask(it) for it in keys], homes, "where root's keys are afterwards")
    lab.clear()
    run("rmmod ip_vs_lblc_rs")


prepare()
main(lab)
