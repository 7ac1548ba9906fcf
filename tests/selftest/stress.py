#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Stress tests: each changes something again and again while packets are scheduled on every CPU and the files are
read; the last one changes everything at once. FULL=1: the long form. SEED=n: the random numbers of that seed."""

import errno
import itertools
import os
import random
import sys
import threading
import time

from counted import DAY, DEFAULT_LIMIT, EXPIRATION, LIMIT, STATS, TABLE, adds_up, conns, numbers
from harness import SLOW, case, eq, gt, ksft, le, load_both, loaded, main, run, unload_all, wait_until, with_progress
from lab import KEEP, Lab, key, sysctl
from load import Load
from sockopt import GONE, Ipvs, allowed

lab = Lab()
Load.prepare()
ipvs = Ipvs()
FULL = bool(os.environ.get("FULL"))
SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
MOST_ENTRIES = 1 << 24
MODULES = {"lblc_rs": "ip_vs_lblc_rs", "lblc": "ip_vs_lblc"}


def rounds(short, long):
    return long if FULL else short


def loaded_rounds(short, long):
    """As rounds(), for rounds of a thousand connections: the kernel debug makes about 250 connections a second."""
    return rounds(short, long // 4 if SLOW > 1 else long)


def seeded(name):
    """The random number generator of one test; it depends on SEED and the name only, not on which tests are run."""
    return random.Random(f"{SEED} {name}")


def report(*what):
    ksft.print_msg(" ".join(map(str, what)) + f" (SEED={SEED})")


def service(scheduler="lblc_rs", weight=1000):
    """Adds a service for firewall mark 1 with all servers; it schedules each packet."""
    ipvs.add(1, scheduler)
    for name in lab.names:
        ipvs.add_server(1, lab.address(name), 0, weight)


def still_has_locality():
    """Asserts that all keys are served, and that each keeps its server."""
    keys = [key(n) for n in range(40)]
    homes = lab.send(keys)
    assert None not in homes and lab.send(keys) == homes, homes


@case
def the_module_is_loaded_and_unloaded():
    unload_all()
    rng, total = seeded("module"), rounds(12, 500)
    with Load(SEED) as load:
        for _ in with_progress(range(total)):
            if rng.random() < 0.5:
                run("modprobe ip_vs_lblc_rs")
            service()  # loads the module if modprobe did not
            load.flows(rng.randrange(1, 200))
            if rng.random() < 0.5:
                ipvs.edit(1, rng.choice(("rr", "none")))
            ipvs.flush()
            run("rmmod ip_vs_lblc_rs")
    report(total, "rounds,", load)


def orders(times):
    """Every order in which two modules can each be loaded and unloaded `times` times."""
    for places in itertools.combinations(range(4 * times), 2 * times):
        yield ["lblc_rs" if step in places else "lblc" for step in range(4 * times)]


@case
def c_and_ours_are_loaded_and_unloaded_in_every_order():
    """The service is switched from module to module. The sysctl exists, and keeps its value, as long as one of them
    is loaded. C's module cannot be loaded while ours is."""
    unload_all()
    rng, steps = seeded("orders"), 0
    with Load(SEED) as load:
        service("rr")
        for order in with_progress(list(orders(rounds(1, 2)))):
            value = None
            for name in order:
                steps += 1
                absent = MODULES[name] not in loaded()
                if absent and name == "lblc" and "ip_vs_lblc_rs" in loaded():
                    assert run("modprobe ip_vs_lblc", check=False).returncode, "C's module is not refused"
                elif absent:
                    run(f"modprobe {MODULES[name]}")
                    value = value or DAY
                    ipvs.edit(1, name)
                else:
                    there = [other for other in MODULES if other != name and MODULES[other] in loaded()]
                    ipvs.edit(1, *there or ["rr"])
                    run(f"rmmod {MODULES[name]}")
                    value = value if there else None
                load.flows(rng.randrange(1, 50))
                where = f"lblc_expiration after step {steps} of {order}"
                there = os.path.exists("/proc/sys/" + EXPIRATION)
                eq(sysctl(EXPIRATION) if there else None, str(value) if value else None, where)
                if value:
                    value = rng.randrange(1, DAY)
                    sysctl(EXPIRATION, value)
            ipvs.edit(1, "rr")
            unload_all()
    report(steps, "steps,", load)


@case
def namespaces_are_deleted_with_live_services():
    run("modprobe ip_vs_lblc_rs")
    number, at_once = rounds(50, 300), rounds(25, 50)
    with Load(SEED) as load:
        service()
        done = run([sys.executable, "netns_churn.py", str(number), str(at_once), str(SEED)])
        load.flows()
    scheduled, most = map(int, done.split())
    assert scheduled >= 100 * number and most == at_once, done
    ipvs.flush()
    wait_until(lambda: run("rmmod ip_vs_lblc_rs", check=False).returncode == 0, "the module is not in use")
    report(f"{number} namespaces, {most} at once, {scheduled} connections in them;", load)


@case
def schedulers_are_swapped_at_full_speed():
    load_both()
    run("modprobe ip_vs_rr")
    rng, total, now = seeded("swap"), rounds(100, 3000), "lblc_rs"
    with Load(SEED) as load:
        service()
        for step in with_progress(range(total)):
            if step % 10 == 0:
                sysctl(KEEP, rng.choice((0, 1, 60)))
            now = rng.choice([name for name in ("lblc_rs", "lblc", "rr", "none") if name != now])
            ipvs.edit(1, now)
            if now != "none" and rng.random() < 0.2:
                load.flows(rng.randrange(1, 50))
        ipvs.edit(1, "lblc_rs")
        load.flows()
    still_has_locality()
    report(total, "swaps,", load)


@case
def servers_are_added_edited_and_deleted_by_the_thousand():
    rng, most, total = seeded("servers"), rounds(400, 1000), rounds(3000, 60000)
    there, did = set(), {"added": 0, "edited": 0, "deleted": 0}
    with Load(SEED) as load:
        service()
        for step in with_progress(range(total)):
            server = (lab.address(rng.choice(lab.names)), rng.randrange(1, most // 4))
            goal = most if step // most % 2 == 0 else 0  # in waves
            if server in there and rng.random() < 0.5:
                ipvs.edit_server(1, *server, rng.randrange(0, 100))
                did["edited"] += 1
            elif server not in there and (goal or rng.random() < 0.1):
                ipvs.add_server(1, *server, rng.randrange(0, 100))
                there.add(server)
                did["added"] += 1
            elif server in there and (not goal or rng.random() < 0.1):
                ipvs.delete_server(1, *server)
                there.remove(server)
                did["deleted"] += 1
            if step % 500 == 0:
                load.flows(100)
        eq(len(lab_servers()), len(there) + len(lab.names))
        for server in there:
            ipvs.delete_server(1, *server)
        load.flows(100)
    still_has_locality()
    report(", ".join(f"{count} {what}" for what, count in did.items()), "servers,", load)


def lab_servers():
    with open("/proc/thread-self/net/ip_vs") as file:
        return [line for line in file if line.startswith("  ->") and "Remote" not in line]


@case
def services_are_deleted_while_their_tables_are_rebuilt_and_trimmed():
    run("modprobe ip_vs_lblc_rs")
    rng, total = seeded("deletion"), loaded_rounds(20, 400)
    did = {"resizes": 0, "evictions": 0}
    with Load(SEED, keys=60000) as load:
        for _ in with_progress(range(total)):
            service()
            load.flows(rng.randrange(400, 4000))
            if rng.random() < 0.5:
                sysctl(LIMIT, rng.randrange(1, 2000))
            for _ in range(rng.randrange(3)):
                time.sleep(rng.random() / 100)
            stats = numbers(STATS)
            sysctl(KEEP, 60 if stats["resizes"] % 2 else 0)
            ipvs.delete(1)
            for what in did:
                did[what] += stats[what]
            sysctl(LIMIT, DEFAULT_LIMIT)
    assert all(did.values()), did
    report(f"{total} services with {did['resizes']} resizes and {did['evictions']} evictions,", load)


@case
def the_table_is_filled_beyond_its_limit_while_the_limit_changes():
    run("modprobe ip_vs_lblc_rs")
    rng, total = seeded("limit"), loaded_rounds(15, 300)
    try:
        began = conns()
        with Load(SEED, keys=60000) as load:
            service()
            for _ in with_progress(range(total)):
                limit = min(int(10 ** (rng.random() * 7.3)), MOST_ENTRIES)
                sysctl(LIMIT, limit)
                eq(sysctl(LIMIT), str(limit))
                load.flows(rng.randrange(10, 3000))
                # Each running sender may have inserted an entry and not yet evicted another.
                wait_until(lambda: numbers(TABLE)["entries"] <= limit + 4, "the entries over the limit are evicted")
            sysctl(LIMIT, 1000)
            wait_until(lambda: numbers(TABLE)["entries"] >= 1000, "the table is full")
            before = numbers(STATS)["evictions"]
            load.flows(5000)
            gt(numbers(STATS)["evictions"], before + 1000)
        adds_up(began)
        le(numbers(TABLE)["entries"], 1000)
        evicted = numbers(STATS)["evictions"]
    finally:
        sysctl(LIMIT, DEFAULT_LIMIT)
    still_has_locality()
    report(f"{total} limits, {evicted} evictions,", load)


@case
def the_expiration_changes_from_1_to_the_maximum_under_load():
    run("modprobe ip_vs_lblc_rs")
    rng, total = seeded("expiration"), loaded_rounds(30, 1000)
    # The maximum is what fits into an int as jiffies, so it depends on HZ.
    most = next(it for it in (((1 << 31) - 1) // hz for hz in (100, 250, 300, 1000))
                if allowed((errno.EINVAL,), sysctl, EXPIRATION, it))
    values = (0, 1, 2, DAY, most)
    try:
        began = conns()
        with Load(SEED) as load:
            service()
            for step in with_progress(range(total)):
                value = (1, most)[step % 2] if rng.random() < 0.5 else rng.choice(values)
                sysctl(EXPIRATION, value)
                eq(sysctl(EXPIRATION), str(value))
                load.flows(rng.randrange(1, 1000))
            sysctl(EXPIRATION, most)
            load.flows(10000)
            before = numbers(STATS)
            load.flows(2000)
            after = numbers(STATS)
            assert after["expired"] == before["expired"] and after["hits"] > before["hits"], (before, after)
        adds_up(began)
        expired = after["expired"]
    finally:
        sysctl(EXPIRATION, DAY)
    still_has_locality()
    report(f"{total} values, {expired} expired entries asked for,", load)


@case
def everything_changes_at_once():
    """Four threads make random changes: of services and their schedulers, servers, settings and C's module."""
    load_both()
    seconds, did, failures = rounds(4, 120), {}, []

    def changer(name, *actions):
        rng, did[name] = seeded(name), 0

        def change():
            mine = Ipvs()
            try:
                while time.monotonic() < end:
                    rng.choice(actions)(mine, rng)
                    did[name] += 1
            except Exception as error:  # the case raises it
                failures.append(error)
        return threading.Thread(target=change)

    def change_service(mine, rng):
        scheduler = rng.choice(("lblc_rs", "lblc_rs", "lblc", "rr", "none"))
        allowed(GONE, mine.edit, 1, scheduler)

    def replace_service(mine, rng):
        if rng.random() < 0.05:
            allowed(GONE, mine.delete, 1)
            allowed((errno.EEXIST,), mine.add, 1, "lblc_rs")

    def add_or_edit(mine, rng):
        server = (1, lab.address(rng.choice(lab.names)), rng.randrange(20), rng.randrange(50))
        if not allowed(GONE + (errno.EEXIST,), mine.add_server, *server):
            allowed(GONE, mine.edit_server, *server)

    def remove(mine, rng):
        allowed(GONE, mine.delete_server, 1, lab.address(rng.choice(lab.names)), rng.randrange(20))

    def settings(_, rng):
        sysctl(LIMIT, rng.choice((1, 10, 1000, DEFAULT_LIMIT)))
        sysctl(KEEP, rng.choice((0, 1, 60)))
        try:
            sysctl(EXPIRATION, rng.choice((0, 1, DAY)))
        except FileNotFoundError:  # C's module was just unloaded, and ours has not registered the file yet
            wait_until(lambda: os.path.exists("/proc/sys/" + EXPIRATION), "the file of lblc_expiration")

    def c_module(_, rng):
        if rng.random() < 0.1:
            run(f"modprobe {rng.choice(('-r', ''))} ip_vs_lblc", check=False)

    with Load(SEED, keys=20000) as load:
        service()
        load.flows(100)
        end = time.monotonic() + seconds
        threads = [changer("services", change_service, replace_service),
                   changer("servers", add_or_edit, add_or_edit, remove),
                   changer("more servers", add_or_edit, remove), changer("settings", settings, c_module)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        sysctl(LIMIT, DEFAULT_LIMIT)
        run("modprobe -a ip_vs_lblc_rs")
        sysctl(EXPIRATION, DAY)
        ipvs.flush()
        service()
        load.flows()
    still_has_locality()
    assert all(did.values()), did
    report(f"{seconds} s:", ", ".join(f"{count} of {what}" for what, count in did.items()), load)


main(lab)
