#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Storms: everything that can be changed is changed, again and again, while packets are scheduled on every
CPU and the files are read. FULL=1: the long form. SEED=n: the storm of that seed."""

import errno
import itertools
import os
import random
import sys
import threading
import time

from counted import DAY, DEFAULT_LIMIT, EXPIRATION, LIMIT, STATS, TABLE, adds_up, conns, numbers
from crowd import Crowd
from harness import SLOW, case, eq, gt, ksft, le, load_both, loaded, main, run, unload_all, wait_until, with_progress
from lab import Lab, key, sysctl
from sockopt import GONE, Ipvs, allowed

lab = Lab()
Crowd.prepare()
ipvs = Ipvs()
FULL = bool(os.environ.get("FULL"))
SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
MOST_ENTRIES = 1 << 24
MODULES = {"lblc_rs": "ip_vs_lblc_rs", "lblc": "ip_vs_lblc"}


def rounds(short, long):
    return long if FULL else short


def crowded(short, long):
    """The same for rounds of a thousand connections, of which debug makes some 250 in a second."""
    return rounds(short, long // 4 if SLOW > 1 else long)


def dice(storm):
    """Chance for one storm: the same for the same seed, whichever other storms rage."""
    return random.Random(f"{SEED} {storm}")


def tell(*what):
    ksft.print_msg(" ".join(map(str, what)) + f" (SEED={SEED})")


def service(scheduler="lblc_rs", weight=1000):
    """Firewall mark 1, each packet a connection of its own, and all servers."""
    ipvs.add(1, scheduler)
    for name in lab.names:
        ipvs.add_server(1, lab.address(name), 0, weight)


def still_has_locality():
    """When all is over: the service does what it is for."""
    keys = [key(n) for n in range(40)]
    homes = lab.send(keys)
    assert None not in homes and lab.send(keys) == homes, homes


@case
def the_module_comes_and_goes():
    unload_all()
    chance, total = dice("module"), rounds(12, 500)
    with Crowd(SEED) as crowd:
        for _ in with_progress(range(total)):
            if chance.random() < 0.5:
                run("modprobe ip_vs_lblc_rs")
            service()  # or this loads it
            crowd.flows(chance.randrange(1, 200))
            if chance.random() < 0.5:
                ipvs.edit(1, chance.choice(("rr", "none")))
            ipvs.flush()
            run("rmmod ip_vs_lblc_rs")
    tell(total, "rounds,", crowd)


def orders(times):
    """Every order in which two modules can be loaded and unloaded so many times."""
    for places in itertools.combinations(range(4 * times), 2 * times):
        yield ["lblc_rs" if step in places else "lblc" for step in range(4 * times)]


@case
def c_comes_and_goes_beside_us_in_every_order():
    """The service goes from module to module; the sysctl stays, with its value, as long as one is there. While
    ours is loaded, C's does not load."""
    unload_all()
    chance, steps = dice("orders"), 0
    with Crowd(SEED) as crowd:
        service("rr")
        for order in with_progress(list(orders(rounds(1, 2)))):
            value = None
            for name in order:
                steps += 1
                come = MODULES[name] not in loaded()
                if come and name == "lblc" and "ip_vs_lblc_rs" in loaded():
                    assert run("modprobe ip_vs_lblc", check=False).returncode, "C's module is not refused"
                elif come:
                    run(f"modprobe {MODULES[name]}")
                    value = value or DAY
                    ipvs.edit(1, name)
                else:
                    there = [other for other in MODULES if other != name and MODULES[other] in loaded()]
                    ipvs.edit(1, *there or ["rr"])
                    run(f"rmmod {MODULES[name]}")
                    value = value if there else None
                crowd.flows(chance.randrange(1, 50))
                where = f"lblc_expiration after step {steps} of {order}"
                there = os.path.exists("/proc/sys/" + EXPIRATION)
                eq(sysctl(EXPIRATION) if there else None, str(value) if value else None, where)
                if value:
                    value = chance.randrange(1, DAY)
                    sysctl(EXPIRATION, value)
            ipvs.edit(1, "rr")
            unload_all()
    tell(steps, "steps,", crowd)


@case
def namespaces_die_with_live_services():
    run("modprobe ip_vs_lblc_rs")
    number, at_once = rounds(50, 300), rounds(25, 50)
    with Crowd(SEED) as crowd:
        service()
        done = run([sys.executable, "doomed.py", str(number), str(at_once), str(SEED)])
        crowd.flows()
    scheduled, most = map(int, done.split())
    assert scheduled >= 100 * number and most == at_once, done
    ipvs.flush()
    wait_until(lambda: run("rmmod ip_vs_lblc_rs", check=False).returncode == 0, "nobody uses the module")
    tell(f"{number} namespaces, {most} at once, {scheduled} connections in them;", crowd)


@case
def schedulers_are_swapped_at_full_speed():
    load_both()
    run("modprobe ip_vs_rr")
    chance, total, now = dice("swap"), rounds(100, 3000), "lblc_rs"
    with Crowd(SEED) as crowd:
        service()
        for _ in with_progress(range(total)):
            now = chance.choice([name for name in ("lblc_rs", "lblc", "rr", "none") if name != now])
            ipvs.edit(1, now)
            if now != "none" and chance.random() < 0.2:
                crowd.flows(chance.randrange(1, 50))
        ipvs.edit(1, "lblc_rs")
        crowd.flows()
    still_has_locality()
    tell(total, "swaps,", crowd)


@case
def servers_come_change_and_go_by_the_thousand():
    chance, most, total = dice("servers"), rounds(400, 1000), rounds(3000, 60000)
    there, did = set(), {"added": 0, "edited": 0, "deleted": 0}
    with Crowd(SEED) as crowd:
        service()
        for step in with_progress(range(total)):
            server = (lab.address(chance.choice(lab.names)), chance.randrange(1, most // 4))
            goal = most if step // most % 2 == 0 else 0  # in waves
            if server in there and chance.random() < 0.5:
                ipvs.edit_server(1, *server, chance.randrange(0, 100))
                did["edited"] += 1
            elif server not in there and (goal or chance.random() < 0.1):
                ipvs.add_server(1, *server, chance.randrange(0, 100))
                there.add(server)
                did["added"] += 1
            elif server in there and (not goal or chance.random() < 0.1):
                ipvs.delete_server(1, *server)
                there.remove(server)
                did["deleted"] += 1
            if step % 500 == 0:
                crowd.flows(100)
        eq(len(lab_servers()), len(there) + len(lab.names))
        for server in there:
            ipvs.delete_server(1, *server)
        crowd.flows(100)
    still_has_locality()
    tell(", ".join(f"{count} {what}" for what, count in did.items()), "servers,", crowd)


def lab_servers():
    with open("/proc/thread-self/net/ip_vs") as file:
        return [line for line in file if line.startswith("  ->") and "Remote" not in line]


@case
def services_are_deleted_while_their_tables_are_rebuilt_and_trimmed():
    run("modprobe ip_vs_lblc_rs")
    chance, total = dice("deletion"), crowded(20, 400)
    did = {"resizes": 0, "evictions": 0}
    with Crowd(SEED, keys=60000) as crowd:
        for _ in with_progress(range(total)):
            service()
            crowd.flows(chance.randrange(400, 4000))
            if chance.random() < 0.5:
                sysctl(LIMIT, chance.randrange(1, 2000))
            for _ in range(chance.randrange(3)):
                time.sleep(chance.random() / 100)
            stats = numbers(STATS)
            ipvs.delete(1)
            for what in did:
                did[what] += stats[what]
            sysctl(LIMIT, DEFAULT_LIMIT)
    assert all(did.values()), did
    tell(f"{total} services with {did['resizes']} resizes and {did['evictions']} evictions,", crowd)


@case
def the_table_is_filled_to_its_limit_and_beyond_while_that_changes():
    run("modprobe ip_vs_lblc_rs")
    chance, total = dice("limit"), crowded(15, 300)
    try:
        began = conns()
        with Crowd(SEED, keys=60000) as crowd:
            service()
            for _ in with_progress(range(total)):
                limit = min(int(10 ** (chance.random() * 7.3)), MOST_ENTRIES)
                sysctl(LIMIT, limit)
                eq(sysctl(LIMIT), str(limit))
                crowd.flows(chance.randrange(10, 3000))
                # A sender that runs may have put one more in, and not yet another one out.
                wait_until(lambda: numbers(TABLE)["entries"] <= limit + 4, "what is over is evicted")
            sysctl(LIMIT, 1000)
            wait_until(lambda: numbers(TABLE)["entries"] >= 1000, "it is full")
            before = numbers(STATS)["evictions"]
            crowd.flows(5000)
            gt(numbers(STATS)["evictions"], before + 1000)
        adds_up(began)
        le(numbers(TABLE)["entries"], 1000)
        evicted = numbers(STATS)["evictions"]
    finally:
        sysctl(LIMIT, DEFAULT_LIMIT)
    still_has_locality()
    tell(f"{total} limits, {evicted} evictions,", crowd)


@case
def the_expiration_changes_from_1_to_the_most_under_load():
    run("modprobe ip_vs_lblc_rs")
    chance, total = dice("expiration"), crowded(30, 1000)
    # The most depends on HZ: what an int can hold in jiffies.
    most = next(it for it in (((1 << 31) - 1) // hz for hz in (100, 250, 300, 1000))
                if allowed((errno.EINVAL,), sysctl, EXPIRATION, it))
    values = (0, 1, 2, DAY, most)
    try:
        began = conns()
        with Crowd(SEED) as crowd:
            service()
            for step in with_progress(range(total)):
                value = (1, most)[step % 2] if chance.random() < 0.5 else chance.choice(values)
                sysctl(EXPIRATION, value)
                eq(sysctl(EXPIRATION), str(value))
                crowd.flows(chance.randrange(1, 1000))
            sysctl(EXPIRATION, most)
            crowd.flows(10000)
            before = numbers(STATS)
            crowd.flows(2000)
            after = numbers(STATS)
            assert after["expired"] == before["expired"] and after["hits"] > before["hits"], (before, after)
        adds_up(began)
        expired = after["expired"]
    finally:
        sysctl(EXPIRATION, DAY)
    still_has_locality()
    tell(f"{total} values, {expired} expired entries asked for,", crowd)


@case
def anything_may_happen_at_any_time():
    """Four threads throw dice at once: services and their scheduler, servers, settings, C's module."""
    load_both()
    seconds, did, failures = rounds(4, 120), {}, []

    def thrower(storm, *actions):
        chance, did[storm] = dice(storm), 0

        def throw():
            mine = Ipvs()
            try:
                while time.monotonic() < end:
                    chance.choice(actions)(mine, chance)
                    did[storm] += 1
            except Exception as error:  # for the case to raise
                failures.append(error)
        return threading.Thread(target=lambda: throw())

    def change_service(mine, chance):
        scheduler = chance.choice(("lblc_rs", "lblc_rs", "lblc", "rr", "none"))
        allowed(GONE, mine.edit, 1, scheduler)

    def replace_service(mine, chance):
        if chance.random() < 0.05:
            allowed(GONE, mine.delete, 1)
            allowed((errno.EEXIST,), mine.add, 1, "lblc_rs")

    def add_or_edit(mine, chance):
        server = (1, lab.address(chance.choice(lab.names)), chance.randrange(20), chance.randrange(50))
        if not allowed(GONE + (errno.EEXIST,), mine.add_server, *server):
            allowed(GONE, mine.edit_server, *server)

    def remove(mine, chance):
        allowed(GONE, mine.delete_server, 1, lab.address(chance.choice(lab.names)), chance.randrange(20))

    def settings(_, chance):
        sysctl(LIMIT, chance.choice((1, 10, 1000, DEFAULT_LIMIT)))
        try:
            sysctl(EXPIRATION, chance.choice((0, 1, DAY)))
        except FileNotFoundError:  # C's module has just gone: the file is changing hands
            wait_until(lambda: os.path.exists("/proc/sys/" + EXPIRATION), "the file of lblc_expiration")

    def c_module(_, chance):
        if chance.random() < 0.1:
            run(f"modprobe {chance.choice(('-r', ''))} ip_vs_lblc", check=False)

    with Crowd(SEED, keys=20000) as crowd:
        service()
        crowd.flows(100)
        end = time.monotonic() + seconds
        threads = [thrower("services", change_service, replace_service),
                   thrower("servers", add_or_edit, add_or_edit, remove),
                   thrower("more servers", add_or_edit, remove), thrower("settings", settings, c_module)]
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
        crowd.flows()
    still_has_locality()
    assert all(did.values()), did
    tell(f"{seconds} s:", ", ".join(f"{count} of {what}" for what, count in did.items()), crowd)


main(lab)
