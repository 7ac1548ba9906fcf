#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The multicast group `changes` of the generic netlink family: each change of an entry is sent, or counted as passed
over."""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter

from counted import DAY, DEFAULT_LIMIT, EXPIRATION, LIMIT, TABLE, numbers
from harness import SLOW, case, eq, ge, gt, has, lacks, main, run, unload_all, wait_until
from ipvs_netlink import Netlink
from lab import VIP6, Lab, inside, key, sysctl
from raw_netlink import ENTRY_SET, FAMILY, one_entry, service_of
from sockopt import Ipvs
from ynl import MARK, Listener, client, entries, entry, set_all

lab = Lab()
SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))


def send(number):
    server, = lab.send([key(number)])
    return lab.address(server)


@case
def each_change_is_told_with_its_reason():
    lab.service(options="-o", weights={"s1": 1000})
    listener = Listener()
    mark, one, two = "FWM 1", lab.address("s1"), lab.address("s2")
    eq(send(1), one)
    eq(listener.one(), (mark, "insert", "unknown", key(1), one, None))
    lab.ipvs(lab.server("-e", "s1", 0), lab.server("-a", "s2", 1000))
    eq(send(1), two)
    eq(listener.one(), (mark, "replace", "weight0", key(1), two, one))
    lab.ipvs(lab.server("-e", "s1", 1000), lab.server("-d", "s2"))
    eq(send(1), one)
    eq(listener.one(), (mark, "replace", "unavailable", key(1), one, two))
    set_all(MARK, [entry(1, "s2", 5000), entry(2, "s1")])
    (_, change), (_, other) = listener.wait(2)
    eq((change["kind"], change["reason"], change["entry"]["server-addr"], change["old-server-addr"]),
       ("replace", "operator", two, one))
    ge(change["entry"]["idle"], 5000)
    has(change["entry"], "removed")
    eq((other["kind"], other["reason"], other["entry"]["key"]), ("insert", "operator", key(2)))
    set_all(MARK, [entry(2, "s1", 7000)])  # the same server is no change
    client().do("entry-del", {"service": MARK, "entry": [{"key": key(2)}, {"key": key(9)}]})
    eq(listener.one(), (mark, "delete", None, key(2), one, None))
    client().do("entry-del", {"filter": {}})
    eq(listener.one(), (mark, "delete", None, key(1), two, None))
    eq(send(3), one)
    listener.wait(1)
    lab.ipvs(lab.server("-a", "s2", 1000), lab.server("-e", "s1", 1000, more="-x 1 -y 0"))
    sysctl(EXPIRATION, 0)
    try:
        eq(send(3), two)
    finally:
        sysctl(EXPIRATION, DAY)
    eq(listener.one(), (mark, "replace", "expired", key(3), two, one))
    sysctl(LIMIT, 1)
    try:
        send(4)
        changes = {change["kind"]: change["entry"]["key"] for _, change in listener.wait(2)}
        eq(changes["insert"], key(4))
        # The sample may have found none of 1024 buckets: then the work item evicts either entry.
        has((key(3), key(4)), changes["evict"])
    finally:
        sysctl(LIMIT, DEFAULT_LIMIT)
    listener.close()


@case
def overload_and_thresholds_are_reasons():
    lab.service(weights={"s1": 1})
    listener = Listener()
    lab.hold(key(1), 2)
    lab.ipvs(lab.server("-a", "s2", 100))
    lab.hold(key(1))
    first, second = (change for _, change in listener.wait(2))
    eq((first["kind"], second["kind"], second["reason"]), ("insert", "replace", "overloaded"))
    lab.ipvs(lab.server("-e", "s2", 100, more="-x 1"))
    lab.hold(key(1))
    (_, third), = listener.wait(1)
    eq((third["kind"], third["reason"], third["entry"]["server-addr"]), ("replace", "threshold", lab.address("s1")))
    listener.close()


@case
def services_are_told_apart():
    lab.service(weights={"s1": 1000})
    lab.service(mark=2, ipv6=True, weights={"s1": 1000})
    lab.service(service=f"-t [{VIP6}]:80", ipv6=True, port=80, weights={"s2": 1000})
    listener = Listener()
    lab.ask(key(1))
    lab.ask(key(1, True), port=81)
    lab.ask(VIP6)
    told = {service: (change["entry"]["key"], change["entry"]["server-addr"], change["entry"]["server-port"])
            for service, change in listener.wait(3)}
    eq(told, {"FWM 1": (key(1), lab.address("s1"), 0), "FWM6 2": (key(1, True), lab.address("s1", True)[1:-1], 0),
              f"TCP [{VIP6}]:80": (VIP6, lab.address("s2", True)[1:-1], 80)})
    listener.close()


@case
def a_copy_that_follows_the_changes_is_the_table():
    lab.service(options="-o")
    rng, listener, copy = random.Random(SEED), Listener(), {}
    sysctl(LIMIT, 100)
    try:
        # Not in random order: each kind of change must happen in a few rounds.
        for what in ("send", "set", "delete", "send", "weigh") * (3 if SLOW > 1 else 12):
            numbers_ = [rng.randrange(400) for _ in range(40)]
            if what == "set":
                set_all(MARK, [entry(n, rng.choice(lab.names)) for n in numbers_])
            elif what == "delete":
                client().do("entry-del", {"service": MARK, "entry": [{"key": key(n)} for n in numbers_]})
            elif what == "weigh":
                lab.ipvs(*(lab.server("-e", one, rng.choice((0, 1000))) for one in lab.names))
            else:
                lab.send([key(n) for n in numbers_])
            listener.listen()
        lab.ipvs(*(lab.server("-e", one, 1000) for one in lab.names))
        wait_until(lambda: numbers(TABLE)["entries"] <= 100, "the table is as large as it may be")
    finally:
        sysctl(LIMIT, DEFAULT_LIMIT)
    set_all(MARK, [entry(500, "s1")])
    listener.until(key(500))
    eq(listener.passed_over, 0, f"changes passed over (SEED={SEED})")
    kinds = Counter()
    for _, change in listener.heard:
        it, kind = change["entry"], change["kind"]
        kinds[kind] += 1
        if kind == "insert":
            lacks(copy, it["key"], f"the copy before an insertion (SEED={SEED})")
        else:
            eq(copy[it["key"]], change.get("old-server-addr", it["server-addr"]), f"the server before (SEED={SEED})")
        if kind in ("insert", "replace"):
            copy[it["key"]] = it["server-addr"]
        else:
            del copy[it["key"]]
    eq(copy, {one: it["server-addr"] for one, it in entries()["FWM 1"].items()}, f"the copy (SEED={SEED})")
    eq(set(kinds), {"insert", "replace", "evict", "delete"}, "the kinds of changes")
    print(f"# {dict(kinds)}")
    listener.close()


@case
def every_change_of_a_flood_is_told_or_counted():
    lab.service()
    listener, total, heard = Listener(), 0, 0
    for _ in range(5):
        for start in range(0, 20000, 400):
            set_all(MARK, [entry(n, "s1") for n in range(start, start + 400)])
            listener.listen()
        # A walk in the kernel changes more entries in a moment than can be sent in a second.
        eq(client().do("entry-del", {"filter": {}}), {"deleted": 20000})
        total += 40000
        wait_until(lambda: len(listener.listen()) + listener.passed_over >= total, "all changes are told or counted")
        if listener.passed_over:
            break
    time.sleep(0.5)
    heard, passed_over = len(listener.listen()), listener.passed_over
    eq(heard + passed_over, total)
    ge(heard, 1024)
    gt(passed_over, 0, "the changes that were passed over")
    print(f"# {heard} of {total} changes were told, {passed_over} passed over")
    # Later changes are sent again.
    listener.heard, listener.passed_over = [], 0
    set_all(MARK, [entry(0, "s1")])
    eq(listener.one()[:2], ("FWM 1", "insert"))
    listener.close()


@case
def a_listener_that_does_not_read_harms_nobody():
    lab.service()
    deaf, listener = Listener(room=1 << 16), Listener()
    total = 0
    for start in range(0, 40000, 400):
        set_all(MARK, [entry(n, "s1") for n in range(start, start + 400)])
        total += 400
        listener.listen()
    wait_until(lambda: len(listener.listen()) + listener.passed_over >= total, "all changes are told or counted")
    deaf.close()
    listener.close()


@case
def only_those_who_may_listen_and_only_to_their_own():
    lab.service()
    listener = Listener()
    with inside("client"):
        run("ip netns exec client ipvsadm -A -f 1 -s lblc_rs")
        run("ip netns exec client ipvsadm -a -f 1 -r 10.0.11.2 -g")
        other = Listener()
        client().do("entry-set", {"service": MARK, "entry": [entry(1, "s1")]})
    set_all(MARK, [entry(2, "s1")])
    eq(listener.one()[3], key(2))
    eq(other.one()[3], key(1))
    run("ip netns exec client ipvsadm -C")
    other.close()
    listener.close()
    refused = subprocess.run(
        ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", sys.executable, "-c",
         "from ynl import client; client().ntf_subscribe('changes')"],
        text=True, capture_output=True, cwd=os.path.dirname(os.path.abspath(__file__)))
    has(refused.stderr, "PermissionError")


@case
def the_module_unloads_while_somebody_listens():
    for _ in range(5):
        lab.service()
        listener = Listener()
        set_all(MARK, [entry(n, "s1") for n in range(300)])
        run("ipvsadm -C")
        unload_all()
        # The socket is no member of the family's next group.
        lab.service()
        other = Listener()
        set_all(MARK, [entry(300, "s1")])
        eq(other.one()[3], key(300))
        lacks([change["entry"]["key"] for _, change in listener.listen()], key(300))
        listener.close()
        other.close()
        run("ipvsadm -C")


def ask_until_registered():
    """A socket for the family, as early as one can be had."""
    end = time.monotonic() + 60 * SLOW
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            return Netlink(FAMILY)
    raise RuntimeError("the family was not registered")


@case
def a_change_during_the_registration_is_told():
    """A socket can use the family before genl_register_family() returns: that function still notifies the sockets of
    the control family's group, here a thousand. The kernel's client would need longer than that takes."""
    told, ipvs = [Netlink("nlctrl") for _ in range(1000)], Ipvs()
    for one in told:
        one.join()
    for _ in range(5):
        unload_all()
        ipvs.add(1, "lblc_rs")  # loads the module
        ipvs.add_server(1, lab.address("s1"), 0, 1000)
        listener, sock = ask_until_registered(), Netlink(FAMILY)
        listener.join()
        sock.exchange(ENTRY_SET, service_of(1) + one_entry(key(1), "s1"))
        listener.sock.settimeout(10 * SLOW)
        gt(len(listener.sock.recv(4096)), 0, "the bytes of the change")
        for one in (listener, sock):
            one.sock.close()
        ipvs.flush()
    for one in told:
        one.sock.close()


main(lab)
