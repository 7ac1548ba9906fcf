#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A fleet of directors in front of real caches (drawn in fleetlab.py): with flag-2 the caches' hit
ratio is that of one director, and does not fall when a director is gone. `make bench-fleet`
measures the same with more requests and more schedulers.
"""

import functools
import os

from caches import room
from fleetlab import Fleet, story
from harness import case, eq, ge, gt, ksft, le, main

FULL = bool(os.environ.get("FULL"))
SEED = int(os.environ.get("SEED") or 1)
CACHES, WEIGHT = 4, 200
# Requests for each site: to fill the caches, steady, after a director is gone.
ROUNDS = (6, 5, 2) if FULL else (2, 2, 1)
EVENT = "a director is gone"

lab = Fleet(CACHES, pages=1, seed=SEED)


@functools.cache
def told(directors, scheduler):
    """{what happened: the result}; prints them."""
    results, before = {}, None
    for name, result in story(lab, (directors, scheduler), SEED, WEIGHT, ROUNDS):
        moved = " {} of {} sites moved".format(*result.moved(before)) if before else ""
        ksft.print_msg(f"{directors} directors, {scheduler}: {name}: {result.hit_ratio:.1f} % "
                       f"hits of {result.requests}, {result.unanswered} unanswered{moved}")
        results[name] = before = result
        le(result.unanswered, result.requests / 100, "requests without an answer")
    return results


@case
def a_cache_holds_as_many_sites_as_it_should():
    lab.start(1, "lblc_rs", WEIGHT)
    sites = [f"/{n}" for n in range(room(1) + 1)]
    # The requests are for one site, with different paths, so all of them go to one cache.
    once = [lab.get(path) for path in sites]
    eq({hit for _, hit in once}, {False}, "hits of new paths")
    eq(len({server for server, _ in once}), 1, "caches of one site")
    eq([lab.get(path)[1] for path in sites[1:]], [True] * room(1), "hits of those that fit")
    eq(lab.get(sites[0])[1], False, "a hit of the least recently used one")


@case
def many_directors_with_flag_2_hit_as_often_as_one():
    one = told(1, "lblc_rs")["steady"].hit_ratio
    for directors in (2, 4, 8) if FULL else (4,):
        without = told(directors, "lblc_rs")["steady"].hit_ratio
        results = told(directors, "lblc_rs -b flag-2")
        agreeing = results["steady"].hit_ratio
        ge(agreeing, one - 1.5, f"hits of {directors} with flag-2, {one:.1f} of one")
        more = 5 if directors == 2 else 10
        gt(agreeing, without + more, f"hits with flag-2, {without:.1f} without")
        moved, known = results[EVENT].moved(results["steady"])
        le(moved, known / 10, f"sites of {known} that moved when a director was gone")


@case
def with_flag_2_a_director_that_takes_over_hits_as_often():
    for scheduler in ("lblc_rs", "lblc_rs -b flag-2"):
        results = told(1, scheduler)
        moved, known = results[EVENT].moved(results["steady"])
        if "flag-2" in scheduler:
            le(moved, known / 10, f"sites of {known} that moved with flag-2")
        else:
            # Otherwise this case shows nothing.
            gt(moved, known / 3, f"sites of {known} that moved without")


main(lab)
