#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measures lblc and lblc_rs in the guest's kernel, with the module lblc_bench; a JSON line a cell.

    bench.py time|icount [quick] [CELLS]      CELLS: a regular expression for names of cells
"""

import json
import math
import os
import re
import subprocess
import sys
import time as clock

from cells import QUICK, Cell, core

COMMANDS = "/proc/lblc_bench"
TABLE = "/proc/net/ip_vs_lblc_rs"
SYSCTL = "/proc/sys/net/ipv4/vs/"
SEED = 4242
MARKS = {"lblc": 1, "lblc_rs": 2}
WEIGHT = 1000


class Wrong(Exception):
    """The cell cannot be measured: something is not as it should be."""


def run(command, **more):
    done = subprocess.run(command, shell=isinstance(command, str), text=True, capture_output=True,
                          **more)
    if done.returncode:
        raise Wrong(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def sysctl(name, value):
    with open(SYSCTL + name, "w") as file:
        file.write(str(value))


def bench(line):
    """Gives the module a command."""
    try:
        with open(COMMANDS, "w") as file:
            file.write(line)
    except OSError as error:
        what = "both modules do not choose the same server" if line == "check" else error.strerror
        raise Wrong(f"{line}: {what}") from None


def samples(unit):
    """What the last command measured: lines of what a batch took C, ours, and nothing."""
    with open(COMMANDS) as file:
        frequency = int(file.readline())
        tick = 1e9 / frequency if unit == "ns" else 1
        for line in file:
            yield [int(word) * tick for word in line.split()]


class Services:
    """A service for each scheduler, with the same servers in the same order."""

    def __init__(self, cell):
        self.schedulers = ["lblc", "lblc_rs"] if cell.c_can else ["lblc_rs"]
        self.six = " -6" if cell.af == 6 else ""
        bench_lines = []
        for scheduler in self.schedulers:
            service = f"-f {MARKS[scheduler]}{self.six}"
            bench_lines.append(f"-A {service} -s {scheduler}")
            for n in range(cell.d):
                address = f"[fd00::{1 + n:x}]" if cell.af == 6 else f"10.1.{n // 250}.{1 + n % 250}"
                bench_lines.append(f"-a {service} -r {address}:0 -g -w {WEIGHT}")
        run("ipvsadm -C")
        run(["ipvsadm", "-R"], input="\n".join(bench_lines) + "\n")

    def forget(self):
        """Empties the tables."""
        lines = [f"-E -f {MARKS[name]}{self.six} -s {scheduler}"
                 for name in self.schedulers for scheduler in ("rr", name)]
        run(["ipvsadm", "-R"], input="\n".join(lines) + "\n")


def header():
    """{"entries": 2, "buckets": 1024, ...} of our service."""
    with open(TABLE) as file:
        word = file.readline().split()
    return dict(zip(word[2::2], map(int, word[3::2])))


def settled(entries):
    """Waits until our table is quiet, and has as many entries as it must."""
    end, last = clock.monotonic() + 60, None
    while (now := header()) != last or now["entries"] != entries:
        if clock.monotonic() > end:
            raise Wrong(f"our table has {now['entries']} entries, not {entries}")
        last = now
        clock.sleep(0.02)


def fill(cell):
    bench("active 0")
    bench("fill")
    bench("active 0")
    settled(cell.n)
    bench("check")
    if cell.op == "saturated":
        bench(f"active {2 * WEIGHT}")
        bench("check")


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def interval(values):
    """Where the median lies with 95 % confidence, by order statistics."""
    values = sorted(values)
    k = max(0, math.floor(len(values) / 2 - 0.98 * math.sqrt(len(values))))
    return values[k], values[-1 - k]


def hits(cell, unit):
    """Lines of the cost of a call to C, to ours, and to nothing."""
    timed = unit == "ns"
    if cell.op == "adversarial":
        samples_, batches, batch, warm = (9 if timed else 3), 4, 64, cell.n
    elif cell.temp == "cold":
        samples_, batches, batch, warm = 16, 5, 64, 0
    else:
        batch = 256
        batches = min(max(4096, cell.n), 16384) // batch
        samples_, warm = (40 if timed else 5), min(cell.n, 32768)
    bench(f"hits {cell.temp} {samples_} {batches} {batch} {warm}")
    return [[time / batch for time in row] for row in samples(unit)]


def misses(cell, unit, services):
    """As hits(); the table is emptied and filled again when it has grown by an eighth, or by a batch."""
    timed = unit == "ns"
    batch, batches = 64, max(1, min(8, cell.n // 1024))
    at_once = max(1, min(40, cell.n // 8 // (batch * batches)))
    wanted, found = (40 if timed else 5), []
    while len(found) < wanted:
        if found:
            services.forget()
            fill(cell)
        bench(f"misses {at_once} {batches} {batch}")
        found += [[time / batch for time in row] for row in samples(unit)]
        settled(cell.n + at_once * batches * batch)
    return found


def measure(cell, unit):
    services = Services(cell)
    bench(f"keys {'chained' if cell.op == 'adversarial' else 'random'} {SEED} {cell.n}")
    fill(cell)
    if cell.op == "miss":
        rows = misses(cell, unit, services)
    else:
        rows = hits(cell, unit)
        if header()["entries"] != cell.n:
            raise Wrong("the table changed while it was only looked at")
    base = median(row[2] for row in rows)
    print(f"# a call of nothing: {base:.2f} {unit}")
    c, ours = ([row[side] - base for row in rows] for side in (0, 1))
    result = dict(cell._asdict(), c=None, rs=round(median(ours), 2), ratio=None, lo=None, hi=None,
                  unit=unit)
    if cell.c_can:
        ratios = [one / two for one, two in zip(c, ours)]
        low, high = interval(ratios)
        result.update(c=round(median(c), 2), ratio=round(median(ratios), 3), lo=round(low, 3),
                      hi=round(high, 3))
    return result


def main(mode, *options):
    unit = {"time": "ns", "icount": "instructions"}[mode]
    wanted = [option for option in options if option != "quick"] or [".*"]
    cells = QUICK if "quick" in options else core(unit)
    cells = [cell for cell in cells if re.search(wanted[0], str(cell))]
    sys.stdout.reconfigure(line_buffering=True)
    run("modprobe ip_vs_lblc && modprobe ip_vs_lblc_rs && modprobe ip_vs_rr")
    run("modprobe lblc_bench")
    if os.path.exists(SYSCTL + "run_estimation"):
        sysctl("run_estimation", 0)     # statistics of servers are no part of this
    bounded = not os.path.exists(SYSCTL + "lblc_rs_max_entries")
    if not bounded:
        sysctl("lblc_rs_max_entries", 2 << 20)
    failed = False
    for cell in cells:
        start = clock.monotonic()
        try:
            if bounded and not cell.c_can:
                print(f"# {cell}: left out: this module's table holds no more than C's")
                continue
            print(json.dumps(measure(cell, unit)))
            print(f"# {cell}: {clock.monotonic() - start:.1f} s")
        except Wrong as why:
            failed = True
            print(f"# {cell}: FAILED: {why}")
    run("ipvsadm -C; rmmod lblc_bench")
    sys.exit(failed)


main(*sys.argv[1:])
