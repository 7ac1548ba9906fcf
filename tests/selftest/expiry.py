#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Expiration and collection, in virtual time (scripts/vm run --icount): half an hour of idling passes in seconds."""

import os
import time

from harness import Skip, case, eq, ge, gt, lacks, load_both, main, run
from lab import Lab, key, sysctl
from pair import Pair
from traces import Trace
from ynl import Listener

lab = Lab()
# In all cases, so that idle time passes fast: the estimator of IPVS wakes up 25 times a second, and virtual time stops
# each time.
sysctl("net/ipv4/vs/run_estimation", 0)
EXPIRATION = "net/ipv4/vs/lblc_expiration"
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
LIMIT = "net/ipv4/vs/lblc_rs_max_entries"
MAX = 16384
D = [key(n) for n in range(8)]

# The timer wheel lets a timer of 60 s fire up to 2 s late, and in C each tick begins when the last one ended: the
# 30th comes up to a minute after half an hour there.
HALF_HOUR, LATE = 30 * 60, 62


class Clock:
    """The time since a service was made."""

    def __init__(self):
        self.start = time.monotonic()

    def sleep_until(self, seconds):
        time.sleep(max(0, self.start + seconds - time.monotonic()))


def need_virtual_time():
    """Skips the case unless the kernel runs in virtual time."""
    with open("/proc/cmdline") as file:
        if "lblc.time=virtual" not in file.read():
            raise Skip("needs virtual time: scripts/vm run --icount")


def assign_to_s1(keys, expiration, scheduler="lblc_rs"):
    """Makes a service that has assigned the keys to s1; s2 is the least loaded server afterwards. Returns its clock."""
    lab.clear()
    lab.service(scheduler, weights={"s1": 10}, options="-o")
    sysctl(EXPIRATION, expiration)
    clock = Clock()
    eq(set(lab.send(keys)), {"s1"})
    lab.ipvs(lab.server("-a", "s2", 10))
    return clock


@case
def entries_expire_at_the_sysctls_time_and_not_before():
    need_virtual_time()
    clock = assign_to_s1(D, 3600)
    clock.sleep_until(HALF_HOUR + LATE)     # the first full collection has passed
    eq(lab.send(D[:1]), ["s1"])  # idle for half an hour, kept for an hour
    clock.sleep_until(3590)
    eq(lab.send(D[1:2]), ["s1"])
    clock.sleep_until(3610)
    eq(lab.send(D[:2]), ["s1", "s1"])  # used in time
    eq(lab.send(D[2:]), ["s2"] * 6)
    sysctl(EXPIRATION, 86400)


@case
def c_uses_an_expired_entry_until_it_is_collected_and_we_do_not():
    need_virtual_time()
    load_both()
    for scheduler, server in (("lblc", "s1"), ("lblc_rs", "s2")):
        clock = assign_to_s1(D, 86400, scheduler)
        clock.sleep_until(590)
        sysctl(EXPIRATION, 600)             # takes effect at once
        eq(lab.send(D[:1]), ["s1"])
        clock.sleep_until(620)
        eq(lab.send(D), ["s1"] + [server] * 7, f"the servers with {scheduler}")
        eq(lab.send(D), ["s1"] + [server] * 7)  # the new choice is kept
    sysctl(EXPIRATION, 86400)


@case
def expiration_0_remembers_nothing():
    need_virtual_time()
    clock = assign_to_s1(D, 86400)
    sysctl(EXPIRATION, 0)
    clock.sleep_until(5)
    eq(lab.send(D), ["s2"] * 8)
    sysctl(EXPIRATION, 86400)


@case
def expired_entries_are_collected_every_half_hour():
    need_virtual_time()
    clock, listener = assign_to_s1(D, 600), Listener()
    clock.sleep_until(HALF_HOUR - 10)
    sysctl(EXPIRATION, 86400)               # entries that were not collected are valid again
    eq(lab.send(D[:1]), ["s1"])
    sysctl(EXPIRATION, 600)
    clock.sleep_until(HALF_HOUR + LATE)
    sysctl(EXPIRATION, 86400)
    eq(lab.send(D), ["s1"] + ["s2"] * 7)
    told = [(change["kind"], change["entry"]["key"]) for _, change in listener.wait(14)]
    eq(set(told[:7]), {("expire", one) for one in D[1:]}, "the first changes that listeners receive")
    eq(set(told[7:]), {("insert", one) for one in D[1:]}, "the changes after these")
    listener.close()


def partial_collection(scheduler):
    """The number of MAX + 600 entries that are collected once they have been idle for six minutes."""
    lab.clear()
    sysctl(LIMIT, MAX * 3 // 2)             # C's limit
    lab.service(scheduler, weights={"s1": 10}, options="-o")
    clock = Clock()
    keys = [key(n) for n in range(MAX + 600)]
    eq(set(lab.send(keys)), {"s1"})
    lab.ipvs(lab.server("-a", "s2", 10))
    late = time.monotonic() - clock.start
    clock.sleep_until(5 * 60)
    eq(lab.send(keys[:50]), ["s1"] * 50)  # nothing is collected before six minutes
    clock.sleep_until(late + 8 * 60)
    sysctl(LIMIT, 1 << 18)
    return lab.send(keys).count("s2")


def table():
    """{name: number} from the service's line."""
    with open("/proc/net/ip_vs_lblc_rs") as file:
        word = file.readline().split()
    return dict(zip(word[2::2], map(int, word[3::2])))


@case
def the_table_shrinks_when_its_entries_have_expired():
    need_virtual_time()
    clock = assign_to_s1([key(n) for n in range(3000)], 600)
    eq(table()["entries"], 3000)
    ge(table()["buckets"], 6000)
    clock.sleep_until(HALF_HOUR + LATE + 5)
    found = table()
    eq((found["entries"], found["buckets"]), (0, 1024), "entries and buckets")
    sysctl(EXPIRATION, 86400)


@case
def a_server_that_returns_when_the_core_has_freed_it_has_its_keys_again():
    need_virtual_time()
    clock = assign_to_s1(D, 86400)
    lab.ipvs(lab.server("-d", "s1"))
    eq(lab.send(D[:2]), ["s2"] * 2)
    clock.sleep_until(10 * 60)              # IPVS empties its trash within three minutes
    lab.ipvs(lab.server("-a", "s1", 10), lab.server("-e", "s2", 9))
    eq(lab.send(D), ["s2"] * 2 + ["s1"] * 6)


@case
def a_removed_server_without_entries_is_forgotten():
    need_virtual_time()
    clock = assign_to_s1(D, 600)
    lab.ipvs(lab.server("-d", "s1"))
    eq(lab.send(D[:2]), ["s2"] * 2)
    clock.sleep_until(HALF_HOUR + LATE + 60)
    eq(table()["entries"], 0)
    lab.ipvs(lab.server("-a", "s1", 10))
    lacks(lab.send(D), None)
    sysctl(EXPIRATION, 86400)


@case
def calls_with_pauses_differ_from_c_as_documented():
    need_virtual_time()
    print(f"# SEED={SEED}")
    pair = Pair(SEED)
    sysctl(EXPIRATION, 100)
    for _ in range(2):
        clock = Clock()
        # End before the first collection, which would remove C's entries. No entry is idle for close to 100 s.
        while time.monotonic() < clock.start + HALF_HOUR - 300:
            pair.calls(2000)
            pair.change()
            time.sleep(30 * pair.random.randint(1, 2))
        pair.swap()
    got = pair.counted()
    print(f"# {got}")
    assert got["expiry"] > 0 and got["differences"] == got["expiry"] + got["parted"], got
    sysctl(EXPIRATION, 86400)
    lab.clear()
    run("rmmod lblc_direct")


@case
def connections_with_pauses_differ_from_c_as_documented():
    need_virtual_time()
    print(f"# SEED={SEED}")
    trace = Trace(lab, SEED, ("lblc", "lblc_rs"), pauses=(0, 0, 0, 0, 30))
    sysctl(EXPIRATION, 100)
    while trace.decisions < 300:
        trace.step()
    trace.end()
    print(f"# {trace.decisions} decisions, {trace.moves} moves, differences: {trace.explained}")
    gt(trace.explained["expiry"], 0)
    sysctl(EXPIRATION, 86400)


@case
def partial_collection_takes_the_excess_and_a_third():
    need_virtual_time()
    load_both()
    for scheduler in ("lblc", "lblc_rs"):
        gone = partial_collection(scheduler)
        # Buckets are collected as a whole: the goal of 800 may be exceeded by a chain.
        assert 800 <= gone <= 850, (scheduler, gone)


main(lab)
