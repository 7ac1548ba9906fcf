#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measures lblc and lblc_rs in the guest's kernel, with the module lblc_bench; a JSON line a cell.

    bench.py time|atomic|icount|cpus [quick] [CELLS]     CELLS: a regular expression for names of cells
"""

import json
import os
import re
import sys
import time as clock

import whole
from cells import ATOMIC, MOVES, QUICK, WHOLE, core
from common import (DAY, EXPIRATION, MAX_ENTRIES, ROOMY, SEED, SYSCTL, WEIGHT, Services, Wrong, bench, fill,
                    header, interval, kept, learn, median, run, samples, settled, sysctl)

def hits(cell, unit):
    """The cost of a call of C, ours, an empty callback and one that reads two cache lines: a row for each sample. In a
    small table a few chains of two matter, so it is filled several times with other keys, each time with another hash key."""
    tables = 8 if cell.n <= 4096 else 1
    rows = []
    for table in range(tables):
        if table:
            Services(cell)
            fill(cell, seed=SEED + table)
        rows += calls(cell, unit, tables)
        if header()["entries"] != cell.n:
            raise Wrong("hits changed the table")
    return rows


def calls(cell, unit, tables):
    """As hits(), in one of `tables` tables."""
    timed = unit == "ns"
    if cell.op == "adversarial":
        samples_, batches, batch, warm = (9 if timed else 3), 4, 64, cell.n
    elif cell.temp.startswith("cold"):
        # cold-lone shows what the lines of a key cost: the more calls, the less the lines of the service count.
        samples_, batches, batch, warm = 16, 5, (256 if cell.temp == "cold-lone" else 64), 0
    else:
        batch = 256
        batches = min(max(4096, cell.n), 16384) // batch
        samples_, warm = max(1, (40 if timed else 5) // tables), min(cell.n, 32768)
    bench(f"hits {cell.temp} {samples_} {batches} {batch} {warm}")
    return [[time / batch for time in row] for row in samples(unit)]


def misses(cell, unit, services):
    """As hits(), for misses; the table is emptied and filled again when it has grown by an eighth or by a batch."""
    timed = unit == "ns"
    batch, batches = 64, max(1, min(8, cell.n // 1024))
    at_once = max(1, min(40, cell.n // 8 // (batch * batches)))
    wanted, found = (40 if timed else 5), []
    while len(found) < wanted:
        if found:
            services.forget()
            learn(cell)
        bench(f"misses {cell.temp} {at_once} {batches} {batch}")
        found += [[time / batch for time in row] for row in samples(unit)]
        settled(cell.n + at_once * batches * batch)
    return found


def evictions(cell, unit):
    """As hits(), for new keys of a full table."""
    rows = []
    for _ in range(40 if unit == "ns" else 5):
        bench("misses hot 1 4 64")
        rows += [[time / 64 for time in row] for row in samples(unit)]
        settled(cell.n)
    return rows


def moves(cell, unit, services):
    """As hits(), for calls that move a known key to another server: each key once, after a change that moves it."""
    batch = 64
    command = f"known {cell.n // batch} {batch}"

    def gather():
        """Lets all keys move to the first server of the list."""
        bench(f"active {2 * WEIGHT}")
        bench("idle 0")
        bench(command)
        bench("active 0")

    def relief(number):
        bench("active 2")
        bench(f"idle {(number + 1) % cell.d}")

    def quiesced(number):
        services.change("-e", cell.d - 1 - number % 2, " -g -w 0")
        services.change("-e", cell.d - 2 + number % 2, services.more)

    def removed(number):
        if number:
            services.change("-a", cell.d - 2 + number % 2, services.more)
        services.change("-d", cell.d - 1 - number % 2)

    def expired(_):
        sysctl(EXPIRATION, 0)
        clock.sleep(0.1)    # some jiffies

    prepare = {"relief": relief, "quiesced": quiesced, "removed": removed, "expired": expired}[cell.op]
    rows = []
    gather()
    for number in range(40 if unit == "ns" else 5):
        prepare(number)
        before = kept()
        bench(command)
        rows += [[time / batch for time in row] for row in samples(unit)]
        if kept() != before:
            raise Wrong(f"{kept() - before} of {cell.n} calls were hits")
        sysctl(EXPIRATION, DAY)
        bench("check")
    return rows


def measure(cell, unit):
    """The cost of a call of schedule()."""
    services = Services(cell)
    if cell.op == "evict":
        sysctl(MAX_ENTRIES, cell.n)
    try:
        fill(cell, "chained" if cell.op == "adversarial" else "random")
        if cell.op == "evict":
            rows = evictions(cell, unit)
        elif cell.op in ("miss", "agree"):
            rows = misses(cell, unit, services)
        elif cell.op in MOVES:
            rows = moves(cell, unit, services)
        else:
            rows = hits(cell, unit)
    finally:
        sysctl(MAX_ENTRIES, ROOMY)
    base = median(row[2] for row in rows)
    print(f"# an empty call: {base:.2f} {unit}")
    c, ours = ([row[side] - base for row in rows] for side in (0, 1))
    result = dict(cell._asdict(), c=None, rs=round(median(ours), 2), ratio=None, lo=None, hi=None,
                  unit=unit)
    if cell.c_can:
        ratios = [one / two for one, two in zip(c, ours)]
        low, high = interval(ratios)
        result.update(c=round(median(c), 2), ratio=round(median(ratios), 3), lo=round(low, 3),
                      hi=round(high, 3))
    if cell.temp == "cold-lone":
        result["lines"] = round(median(row[3] - base for row in rows), 2)
    return result


def lines(cell, unit):
    return [measure(cell, unit)] if cell.temp else whole.measure(cell)


def main(mode, *options):
    unit = {"time": "ns", "atomic": "ns", "icount": "instructions", "cpus": None}[mode]
    wanted = [option for option in options if option != "quick"] or [".*"]
    cells = QUICK if "quick" in options else (core(unit) if unit else []) + WHOLE["time" if unit == "ns" else mode]
    if unit == "ns":
        cells = [cell for cell in cells if (cell.op in ATOMIC) == (mode == "atomic")]
    # Small tables first: after a large one, which C cannot have, the allocator hands out entries that are scattered over
    # all the memory which that had, so a miss is slower.
    cells = sorted((cell for cell in cells if re.search(wanted[0], str(cell))), key=lambda cell: cell.n)
    sys.stdout.reconfigure(line_buffering=True)
    run("modprobe ip_vs_lblc && modprobe ip_vs_lblc_rs && modprobe ip_vs_rr")
    run("modprobe lblc_bench")
    if os.path.exists(SYSCTL + "run_estimation"):
        sysctl("run_estimation", 0)     # statistics of servers are not measured
    sysctl(MAX_ENTRIES, ROOMY)
    sysctl("lblc_rs_keep", 0)           # each cell begins with an empty table
    failed = False
    for cell in cells:
        start = clock.monotonic()
        try:
            for line in lines(cell, unit):
                print(json.dumps(line))
            print(f"# {cell}: {clock.monotonic() - start:.1f} s")
        except Wrong as why:
            failed = True
            print(f"# {cell}: FAILED: {why}")
    run("ipvsadm -C; rmmod lblc_bench")
    sys.exit(failed)


main(*sys.argv[1:])
