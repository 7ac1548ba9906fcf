#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measures the hit ratio of eight real caches behind one director and four, with several
schedulers and through changes (tests/selftest/fleetlab.py). Prints a JSON line for each event. SEED
determines the requests, and the director of each."""

import json
import os
import sys
import time

sys.path.append(os.path.dirname(__file__) + "/../selftest")
from fleetlab import PLANS, Fleet, story  # noqa: E402
from harness import run  # noqa: E402

MORE = {
    "1 director, lblc_rs -b flag-2": (1, "lblc_rs -b flag-2"),
    "4 directors, lblc (C)": (4, "lblc"),
    "4 directors, wlc": (4, "wlc"),
}
PAGES, WEIGHT = 3, 100
ROUNDS = (6, 4, 1, 1, 1, 1)     # requests for each site after each event
SEED = int(os.environ.get("SEED") or 1)

run("modprobe ip_vs_lblc && modprobe ip_vs_lblc_rs")
fleet = Fleet(pages=PAGES, seed=SEED)
for what, plan in {**PLANS, **MORE}.items():
    start, before = time.monotonic(), None
    for event, result in story(fleet, plan, SEED, WEIGHT, ROUNDS):
        moved, known = result.moved(before) if before else (None, None)
        print(json.dumps({
            "plan": what, "event": event, "requests": result.requests, "hits": result.hits,
            "unanswered": result.unanswered, "above weight": result.over, "moved": moved,
            "known": known, "seed": SEED}), flush=True)
        before = result
    print(f"# {what}: {time.monotonic() - start:.0f} s", flush=True)
fleet.end()
