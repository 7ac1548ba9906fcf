#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Parked tables: large ones, what bounds them, and what frees them."""

import json
import os
import random
import sys
import threading
import time

from counted import DEFAULT_LIMIT, LIMIT, TABLE, numbers
from harness import SLOW, case, eq, ge, gt, lacks, loaded, main, run, unload_all, wait_until
from lab import Lab, Traffic, key, sysctl
from parking import fill, homes, in_memory, keep, parked
from sockopt import Ipvs
from ynl import client

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_STATES = 4096       # as in ipvs/parked.rs
MAX_ENTRIES = 1 << 22
USERS_SERVICES = 1024   # as in netns/mod.rs
USERS_ENTRIES = 1 << 18
FULL = bool(os.environ.get("FULL"))
SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))

lab = Lab()
ipvs = Ipvs()


def user(program):
    """Runs a program as uid 1000, root of a network namespace of its own; returns what it prints."""
    said = run(["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups",
                "unshare", "--user", "--net", "--map-root-user", sys.executable, "-c", program], cwd=HERE)
    return json.loads(said.splitlines()[-1])


@case
def all_of_a_large_table_keep_their_servers():
    """262144 entries; adopting it takes no walk (scale.py counts instructions), so its time is only printed."""
    keep()
    lab.service(options="-o")
    fill(DEFAULT_LIMIT)
    before = homes()
    eq(len(before), DEFAULT_LIMIT)
    took = {}
    for mark in 2, 1:
        times = []
        for _ in range(20):
            ipvs.add(mark, "lblc_rs") if mark == 2 and not times else None
            ipvs.delete(mark)
            start = time.perf_counter()
            ipvs.add(mark, "lblc_rs")
            times.append(time.perf_counter() - start)
        took[mark] = min(times) * 1e3
    print(f"# binding a service with a parked table of {DEFAULT_LIMIT} entries took {took[1]:.3f} ms, "
          f"of none {took[2]:.3f} ms")
    lab.ipvs(*(lab.server("-a", one, 1000) for one in lab.names))
    eq(homes() == before, True, "whether all destinations have their servers")
    with open(TABLE) as file:
        lacks(file.read(), "removed")


@case
def a_table_that_is_being_rebuilt_is_adopted():
    """Deleted and added again at any moment of a rebuild, it loses nothing and goes on growing."""
    keep()
    lab.service(options="-o")
    rng, total, cut = random.Random(SEED), 0, 0

    def has_grown():
        return numbers(TABLE)["buckets"] > 1 << bits

    for bits in range(12, 18):
        brink = (1 << bits) * 9 // 20  # with more entries the table grows
        fill(brink - 10 - total, total)
        total = brink - 10
        wait_until(lambda: numbers(TABLE)["buckets"] == 1 << bits, "the table grows")
        fill(20, total)
        total += 20
        for _ in range(4):
            ipvs.delete(1)
            ipvs.add(1, "lblc_rs")
            cut += not has_grown()
            time.sleep(rng.random() * 0.004)
        eq(numbers(TABLE)["entries"], total, f"the entries (SEED={SEED})")
        wait_until(has_grown, "the table grows after all")
        eq(len(homes()), total, f"the destinations (SEED={SEED})")
    print(f"# {total} entries; {cut} times of 24 the table had still to grow when it was adopted")
    # Entries are evicted, and then the table shrinks.
    before, cut = homes(), 0
    sysctl(LIMIT, 50)
    try:
        for _ in range(4):
            ipvs.delete(1)
            ipvs.add(1, "lblc_rs")
            cut += numbers(TABLE)["entries"] > 50
        wait_until(lambda: numbers(TABLE)["entries"] <= 50 and numbers(TABLE)["buckets"] == 1024, "the table shrinks")
    finally:
        sysctl(LIMIT, DEFAULT_LIMIT)
    gt(cut, 0, "how often there were too many entries when the table was adopted")
    eq(homes().items() <= before.items(), True, "whether those that are left have their servers")


@case
def the_number_of_parked_tables_is_bounded():
    keep()
    for mark in range(1, MAX_STATES + 101):
        ipvs.add(mark, "lblc_rs")
        ipvs.delete(mark)
    # The oldest ones were freed.
    there = set(parked())
    eq(len(there), MAX_STATES)
    kept = {f"FWM {mark}" for mark in range(101, MAX_STATES + 101)}
    eq((kept - there, there - kept), (set(), set()), "the tables that are missing, and those that should be")


if FULL:
    @case
    def the_number_of_parked_entries_is_bounded():
        """17 tables of 262144 entries: the oldest one is freed."""
        keep()
        tables = MAX_ENTRIES // DEFAULT_LIMIT + 1
        for mark in range(1, tables + 1):
            ipvs.add(mark, "lblc_rs")
            fill(DEFAULT_LIMIT, mark=mark)
            ipvs.delete(mark)
            time.sleep(0.1)
        eq(set(parked()), {f"FWM {mark}" for mark in range(2, tables + 1)}, "the parked tables")
        # A single one may be larger.
        sysctl(LIMIT, 1 << 23)
        try:
            ipvs.add(1, "lblc_rs")
            fill(MAX_ENTRIES + 1)
            ipvs.delete(1)
            eq(list(parked()), ["FWM 1"])
        finally:
            sysctl(LIMIT, DEFAULT_LIMIT)


@case
def a_users_namespace_gives_parked_tables_back_for_services():
    keep()
    said = user(f"""
import json
from parking import keep, parked
from sockopt import Ipvs
keep()
ipvs = Ipvs()
for mark in range(1, {USERS_SERVICES} + 1):
    ipvs.add(mark, "lblc_rs")
try:
    ipvs.add(5000, "lblc_rs")
except OSError as error:
    refused = error.errno
ipvs.flush()
before = len(parked())
for mark in range(2001, 2001 + {USERS_SERVICES}):
    ipvs.add(mark, "lblc_rs")
ipvs.delete(2001)
ipvs.add(2001, "lblc_rs")
print(json.dumps([refused, before, len(parked())]))
""")
    eq(said, [12, USERS_SERVICES, 0], "the error of one too many, the parked tables, and those afterwards")


@case
def a_users_namespace_gives_parked_tables_back_for_entries():
    keep()
    said = user(f"""
import json, time
from parking import fill, keep, parked
from sockopt import Ipvs
from ynl import client, MARK2
keep()
ipvs = Ipvs()
ipvs.add(1, "lblc_rs")
fill({USERS_ENTRIES} * 9 // 20)
ipvs.add(3, "lblc_rs")
fill({USERS_ENTRIES} * 9 // 20, mark=3)
ipvs.delete(1)
ipvs.delete(3)
before = sum(it["entries"] for it in parked().values())
ipvs.add(2, "lblc_rs")
wanted, end = {USERS_ENTRIES} // 4, time.monotonic() + {120 * SLOW}
while time.monotonic() < end:
    fill(wanted, mark=2)
    there = client().do("service-get", {{"service": MARK2}})["entries"]
    if there >= wanted:
        break
print(json.dumps([before, there, len(parked())]))
""")
    gt(said[0], USERS_ENTRIES // 2, "the number of parked entries")
    ge(said[1], USERS_ENTRIES // 4, "the number of entries of the next service")
    eq(said[2], 0, "the number of parked tables")


@case
def a_namespace_that_ends_frees_its_parked_tables():
    keep()
    free = in_memory()
    for _ in range(5):
        said = user("""
import json
from parking import fill, keep, parked
from sockopt import Ipvs
keep()
ipvs = Ipvs()
for mark in (1, 2, 3):
    ipvs.add(mark, "lblc_rs")
fill(20000)
ipvs.delete(1)
ipvs.edit(2, "rr")
print(json.dumps(len(parked())))
""")
        eq(said, 2, "the number of parked tables")
    wait_until(lambda: in_memory() < free + 20000, "the entries are freed", 60)


@case
def the_module_unloads_at_once_with_parked_tables():
    for number in range(10):
        keep(3600)
        lab.service(options="-o")
        lab.service(mark=2, options="-o")
        fill(5000)
        if number % 2:
            run("ipvsadm -E -f 1 -s rr")
        run("ipvsadm -C")
        eq(len(parked()), 2)
        unload_all()
        lacks(loaded(), "ip_vs_lblc_rs")


@case
def services_come_and_go_under_traffic_and_dumps():
    """The work item, netlink, /proc and packets meet a table that is parked and adopted again and again."""
    keep()
    stop, problems = threading.Event(), []

    def watch():
        family = client()
        while not stop.is_set():
            try:
                family.dump("service-get", {})
                family.dump("entry-get", {"filter": {}})
                homes()
                sysctl(LIMIT, random.choice((500, DEFAULT_LIMIT)))
            except Exception as error:  # any is a problem
                problems.append(repr(error))
    lab.service(options="-o")
    watcher = threading.Thread(target=watch)
    with Traffic() as traffic:
        watcher.start()
        for number in range(40 // SLOW):
            fill(1500, number * 700 % 30000)
            run("ipvsadm -D -f 1" if number % 3 else "ipvsadm -E -f 1 -o -s wlc")
            if number % 3:
                lab.service(options="-o", weights={one: 10 for one in random.sample(lab.names, 3)})
            else:
                run("ipvsadm -E -f 1 -o -s lblc_rs")
        stop.set()
        watcher.join()
    sysctl(LIMIT, DEFAULT_LIMIT)
    eq(problems, [])
    lacks([lab.ask(key(n)) for n in range(5)], None)
    print(f"# {traffic.served} connections served, {traffic.refused} refused")


main(lab)
