#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make demo-fleet: the hit ratio of eight nginx caches behind one director and four, with several
schedulers, when a director is gone, and when a cache is removed and comes back."""

import os
import sys

sys.path.append(os.path.dirname(__file__) + "/../../tests/selftest")
from caches import room  # noqa: E402
from fleetlab import PLANS, Fleet, story  # noqa: E402
from harness import run, unload_all  # noqa: E402

SEED = int(os.environ.get("SEED") or 1)
WEIGHT = 100
ROUNDS = (4, 2, 1, 1, 1, 1)     # requests for each site after each event


def say(text=""):
    print(text, flush=True)


def title(text):
    say(f"\n\x1b[1m{text}\x1b[0m")


def bar(ratio):
    return "#" * round(ratio / 2)


def commands(scheduler, directors):
    """Prints what one would type on each director."""
    say(f"  director# ipvsadm -A -f 1 -s {scheduler}")
    say(f"  director# ipvsadm -a -f 1 -r 10.0.2.1:0 -g -w {WEIGHT // directors}     # and so on")


def show(plan):
    """Runs a plan; returns the hit ratios."""
    commands(plan[1], plan[0])
    ratios, before = {}, None
    for name, result in story(fleet, plan, SEED, WEIGHT, ROUNDS):
        if plan[0] == 1:
            name = {"a director is gone": "another takes over", "it is back": "later"}.get(name, name)
        moved = "{} of {} sites moved".format(*result.moved(before)) if before else ""
        say(f"    {name:20}{result.hit_ratio:6.1f} %  {bar(result.hit_ratio):50}  {moved}".rstrip())
        ratios[name], before = result.hit_ratio, result
    return ratios


fleet = Fleet(pages=1, seed=SEED)
held = len(fleet.names) * room(fleet.pages)
run("modprobe ip_vs_lblc_rs")
say(f"Linux {os.uname().release}: clients, a router, directors, eight web caches (nginx) and an origin server,")
say("in network namespaces. The router spreads connections over the directors (ECMP); a director")
say(f"marks those to 198.18.0.0/15 and gives each to a cache. Clients ask for {held * 4 // 3} sites, for")
say(f"popular ones more often (Zipf); the caches hold {held} of them, {room(fleet.pages)} each.")
table = {}
for number, (what, plan) in enumerate(PLANS.items(), 1):
    title(f"{number}. {what}")
    table[what] = show(plan)
title("Hits of the caches, in %, and what a change costs")
say(f"  {'':32}{'steady':>8}{'director gone':>15}{'cache removed':>15}{'cache back':>12}")
for what, ratios in table.items():
    cells = list(ratios.values())[1:]
    say(f"  {what:32}{cells[0]:8.1f}{cells[1]:15.1f}{cells[3]:15.1f}{cells[4]:12.1f}"
        f"  {bar(cells[0])}")
say("\n  To try it on a director of yours, which may be in use:")
say("  director# ipvsadm -E -f 1 -s lblc_rs -b flag-2")
fleet.end()
unload_all()
