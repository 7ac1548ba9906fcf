#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The table: resizing, the limit, and the counters."""

import os
import socket
import subprocess
import threading
import time
from collections import Counter

from counted import DEFAULT_LIMIT, EXPIRATION, LIMIT, STATS, TABLE, calls, numbers
from harness import case, eq, ge, lacks, le, main, refuses, run, wait_until
from lab import Lab, inside, key, sysctl

lab = Lab()
DEFAULT = str(DEFAULT_LIMIT)


def fits():
    """Whether there are 2 to 64 buckets for each entry, or the minimum of 1024."""
    table = numbers(TABLE)
    return table["buckets"] == 1024 and table["entries"] <= 64 or \
        2 * table["entries"] <= table["buckets"] <= 64 * table["entries"]


@case
def it_grows_under_traffic_and_loses_nothing():
    lab.service(options="-o", weights={"s1": 10})
    keys = [key(n) for n in range(6000)]
    first = lab.send(keys[:3000])
    lab.ipvs(lab.server("-a", "s2", 10))
    first += lab.send(keys[3000:])
    assert first == ["s1"] * 3000 + ["s2"] * 3000, Counter(first)
    wait_until(fits, "the table has grown")
    table, stats = numbers(TABLE), numbers(STATS)
    assert table["entries"] == 6000 and table["buckets"] >= 12000, table
    assert table["bytes"] <= 100 * table["entries"], table
    assert stats["resizes"] >= 1 and stats["inserts"] == 6000, stats
    eq(lab.send(keys), first)
    eq(numbers(STATS)["hits"], stats["hits"] + 6000)


@case
def it_shrinks_when_the_limit_is_lowered():
    lab.service(options="-o")
    keys = [key(n) for n in range(3000)]
    lacks(lab.send(keys), None)
    wait_until(lambda: fits() and numbers(TABLE)["buckets"] >= 4096, "the table has grown")
    sysctl(LIMIT, 40)
    try:
        wait_until(lambda: numbers(TABLE)["entries"] <= 40, "the entries over the limit are evicted")
        wait_until(fits, "the table has shrunk")
        eq(numbers(STATS)["evictions"], 3000 - 40)
        lacks(lab.send(keys[:200]), None)
        le(numbers(TABLE)["entries"], 40)
    finally:
        sysctl(LIMIT, DEFAULT)


@case
def entries_in_use_stay_when_a_flood_fills_the_table():
    lab.service(options="-o")
    sysctl(LIMIT, 400)
    try:
        hot = [key(n) for n in range(20)]
        home = lab.send(hot)
        kept = asked = 0
        for start in range(1000, 9000, 100):
            lab.send([key(n) for n in range(start, start + 100)])
            before = numbers(STATS)
            lab.send(hot)
            le(numbers(TABLE)["entries"], 400)
            kept += numbers(STATS)["hits"] - before["hits"]
            asked += len(hot)
        assert kept >= 0.95 * asked, (kept, asked)
        ge(numbers(STATS)["evictions"], 7000)
        lacks(home, None)
    finally:
        sysctl(LIMIT, DEFAULT)


@case
def entries_of_removed_servers_make_room_first():
    """Also if they were used later than the others."""
    lab.service(options="-o", weights={"s2": 1000})
    sysctl(LIMIT, 600)
    try:
        stay, go = ([key(n) for n in range(start, start + 300)] for start in (0, 1000))
        eq(set(lab.send(stay)), {"s2"})
        time.sleep(0.1)  # so that they have been idle for more jiffies
        lab.ipvs(lab.server("-a", "s1", 1000), lab.server("-e", "s2", 0))
        eq(set(lab.send(go)), {"s1"})
        lab.ipvs(lab.server("-e", "s2", 1000), lab.server("-d", "s1"))
        before = numbers(STATS)
        lacks(lab.send([key(n) for n in range(5000, 5200)]), None)
        eq(numbers(STATS)["evictions"], before["evictions"] + 200)
        lab.send(stay)
        # Of the 600 entries 300 to 100 belong to the removed server: a sample of 8 almost always has one of them.
        ge(numbers(STATS)["hits"] - before["hits"], 270, "the number of other entries that are left")
    finally:
        sysctl(LIMIT, DEFAULT)


@case
def the_limit_has_bounds_and_is_per_netns():
    run("modprobe ip_vs_lblc_rs")
    eq(sysctl(LIMIT), DEFAULT)
    for value in ("1", str(1 << 24), "5000"):
        sysctl(LIMIT, value)
        eq(sysctl(LIMIT), value)
    refuses(sysctl, LIMIT, ("0", "-1", (1 << 24) + 1, "x", "99999999999"))
    eq(run(f"ip netns exec s1 cat /proc/sys/{LIMIT}"), DEFAULT)
    sysctl(LIMIT, DEFAULT)


@case
def in_a_users_own_namespace_the_default_is_the_most():
    run("modprobe ip_vs_lblc_rs")
    file = f"/proc/sys/{LIMIT}"
    script = "".join(f"echo {value} 2>/dev/null >{file}; echo $? $(cat {file}); "
                     for value in (77, DEFAULT, int(DEFAULT) + 1, 0, 1))
    done = run(["unshare", "--user", "--map-root-user", "--net", "--mount-proc", "--fork", "--pid",
                "bash", "-c", f"cat {file}; {script}"])
    eq(done.splitlines(), [DEFAULT, "0 77", f"0 {DEFAULT}", f"1 {DEFAULT}", f"1 {DEFAULT}", "0 1"])
    eq(sysctl(LIMIT), DEFAULT)


# Run in a new network namespace: every server is a local address, and each packet is scheduled.
FLOOD = """
import errno, socket, sys
sys.path.insert(0, "/work/tests/selftest")
from counted import TABLE
from harness import run
from sockopt import Ipvs

run("ip link set lo up; ip addr add 192.0.2.1/32 dev lo; ip route add 10.0.0.0/8 dev lo")
ipvs = Ipvs()

def add(mark):
    ipvs.add(mark, "lblc_rs")
    ipvs.add_server(mark, "192.0.2.1", 0, 1)

def flood(mark, number):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        for n in range(number):
            sock.sendto(b"", (f"10.{1 + (n >> 16)}.{n >> 8 & 255}.{n & 255}", 9))

def entries(mark):
    with open(TABLE) as file:
        return [int(line.split()[3]) for line in file if line.startswith(f"FWM {mark} ")][0]
"""


def in_a_users_own_namespace(script):
    """Runs FLOOD and `script` as root of a user namespace; returns the output."""
    run("modprobe ip_vs_lblc_rs")
    return run(["unshare", "--user", "--map-root-user", "--net", "--mount-proc", "--fork", "--pid",
                "python3", "-c", FLOOD + script])


@case
def a_user_may_have_1024_services_with_entries():
    done = in_a_users_own_namespace("""
add(1)
for mark in range(2, 1025):
    ipvs.add(mark, "lblc_rs")
try:
    ipvs.add(1025, "lblc_rs")
    print("1025 services")
except OSError as error:
    print(errno.errorcode[error.errno])
flood(1, 300)
print(entries(1))
""")
    eq(done.split(), ["ENOMEM", "300"])


@case
def a_flood_leaves_room_for_a_users_other_services():
    done = in_a_users_own_namespace("""
add(1)
flood(1, 140000)
print(entries(1))
add(2)
flood(2, 1000)
print(entries(2))
""")
    flooded, other = map(int, done.split())
    assert 120000 < flooded <= 1 << 17 and other == 1000, (flooded, other)


@case
def every_call_is_a_hit_or_a_miss_with_a_reason():
    def step(keys, **expected):
        before = numbers(STATS)
        lab.send(keys)
        after = numbers(STATS)
        grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        eq(grown, expected, "what the counters have grown by")
        eq(calls(after) - calls(before), len(keys))

    keys = [key(n) for n in range(30)]
    lab.service(options="-o", weights={"s1": 10})
    step(keys, unknown=30, inserts=30)
    step(keys, hits=30)
    lab.ipvs(lab.server("-a", "s2", 10))
    sysctl(EXPIRATION, 0)
    wait_until(lambda: numbers(TABLE) and idle() > 0, "the entries become idle")
    step(keys[:10], expired=10, replaces=10)
    sysctl(EXPIRATION, 86400)
    lab.ipvs(lab.server("-e", "s1", 0))
    step(keys[10:20], weight0=10, replaces=10)
    lab.ipvs(lab.server("-d", "s1"))
    step(keys[20:], unavailable=10, replaces=10)
    lab.ipvs(lab.server("-e", "s2", 0))
    step(keys, none=30)


def idle():
    """The idle time in seconds of the entry that was used last."""
    with open(TABLE) as file:
        ages = [int(line.split()[2]) for line in file if line.startswith("  ")]
    return min(ages)


@case
def spills_are_counted_by_reason():
    lab.service(weights={"s1": 1})
    lab.hold(key(1), 2)                      # s1 has two connections, and is the only server
    lab.ipvs(lab.server("-a", "s2", 1000))
    before = numbers(STATS)
    lab.hold(key(1))
    after = numbers(STATS)
    eq(after["overloaded"], before["overloaded"] + 1)
    lab.ipvs(lab.server("-e", "s2", 1000, more="-x 1"))
    lab.hold(key(1))
    eq(numbers(STATS)["threshold"], after["threshold"] + 1)


@case
def counters_add_up_under_load():
    lab.service(options="-o")
    senders, each = 4, 1500
    with inside("client"):
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(senders)]

    def work(sock, seed):
        for n in range(each):
            sock.sendto(b"", (key((n * 7 + seed * 131) % 900), 80))

    threads = [threading.Thread(target=work, args=it) for it in zip(socks, range(senders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sock in socks:
        sock.close()
    # IPVS sums up its counters every two seconds.
    wait_until(lambda: calls(numbers(STATS)) == conns() >= senders * each / 2,
               "lblc_rs has counted as many calls as IPVS has connections")
    stats = numbers(STATS)
    assert stats["inserts"] == numbers(TABLE)["entries"] <= stats["unknown"], stats


def conns():
    """The number of connections that IPVS has scheduled for the service."""
    for line in run("ipvsadm -Ln --stats --exact").splitlines():
        if line.startswith("FWM  1"):
            return int(line.split()[2])
    raise RuntimeError("ipvsadm shows no service FWM 1")


@case
def the_counters_are_for_root_of_this_namespace():
    lab.service()
    lab.ask(key(1))
    eq(os.stat(STATS).st_mode & 0o777, 0o400)
    denied = subprocess.run(["setpriv", "--reuid", "1000", "--clear-groups", "cat", STATS],
                            capture_output=True, text=True)
    eq((denied.returncode, denied.stdout), (1, ""), "status and output of cat as uid 1000")
    with inside("client"), open(STATS) as file:
        eq(file.read(), "")


main(lab)
