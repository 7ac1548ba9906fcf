#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The commands of docs/moving-traffic.md, as they stand there."""

import os
import threading

from documents import blocks, follow
from harness import case, eq, has, main, wait_until
from lab import Lab, key
from lblcctl import said, servers

lab = Lab()
PAGE = "docs/moving-traffic.md"


def two_caches():
    """Makes the service of the page, with 30 destinations that are spread over both caches. Returns these."""
    lab.service(weights={"s1": 1000, "s2": 1000})
    known = {key(n): lab.ask(key(n)) for n in range(30)}
    eq(set(known.values()), {"s1", "s2"})
    return known


def on(name):
    """The destinations of a server."""
    return {one for one, server in servers()["FWM 1"].items() if server == lab.address(name) + ":0"}


@case
def destinations_are_found_and_moved_as_the_page_says():
    known = two_caches()
    shown = follow(blocks(PAGE, "Find a destination")[0])
    has(shown, f"FWM 1\n  198.18.0.7 {lab.address(known[key(7)])}:0 ")
    has(shown, '"destination":"198.18.0.7"')
    said("set", key(7), "10.0.11.2")
    one, many = blocks(PAGE, "Move one destination")
    eq(follow(one), "0 created, 1 changed, 0 kept")
    eq(lab.ask(key(7)), "s2")
    before = on("s1")
    follow(many)
    eq(on("s1"), {it for it in before if int(it.split(".")[3]) >= 16})


@case
def a_server_is_drained_as_the_page_says():
    known = two_caches()
    of_s1 = [one for one, name in known.items() if name == "s1"]
    held = lab.hold(of_s1[0])
    drain, part = blocks(PAGE, "Drain a server with its destinations")
    waits = threading.Thread(target=follow, args=(drain,))
    waits.start()
    wait_until(lambda: not on("s1"), "all are moved")
    assert waits.is_alive(), "a connection is open"
    lab.release(held)
    waits.join()
    eq({lab.ask(one) for one in of_s1}, {"s2"})
    eq(follow(part), "0 moved")


@case
def a_maintenance_loses_nothing_as_the_page_says():
    known = two_caches()
    leave, come_back, only_one = blocks(PAGE, "Keep destinations for the time of a maintenance")
    try:
        follow(leave)
        eq({lab.ask(one) for one in known}, {"s2"})
        eq(lab.ask(key(100)), "s2")
        follow(come_back)
        eq({one: lab.ask(one) for one in known}, known)
        eq(lab.ask(key(100)), "s2")
        said("move", "--from", "10.0.11.2", "--to", "10.0.12.2")
        eq(follow(only_one), f"0 created, {sum(it == 's1' for it in known.values())} changed, 0 kept")
        eq({one: lab.ask(one) for one in known}, known)
    finally:
        os.unlink("/run/before")


@case
def destinations_are_forgotten_as_the_page_says():
    known = two_caches()
    lab.ask(key(300))
    number = sum(it == "s1" for it in known.values())
    some, one = blocks(PAGE, "Forget destinations")
    said("set", key(300), "10.0.12.2")
    eq(follow(some), f"{number} deleted\n1 deleted\n{30 - number} deleted")
    lab.ask(key(7))
    eq(follow(one), "1 deleted")
    eq(servers()["FWM 1"], {})


main(lab)
