# SPDX-License-Identifier: GPL-2.0
"""Shared by bench.py and whole.py: the commands of the module lblc_bench, services, and statistics."""

import math
import subprocess
import time as clock

from cells import SEED

COMMANDS = "/proc/lblc_bench"
TABLE = "/proc/net/ip_vs_lblc_rs"
SYSCTL = "/proc/sys/net/ipv4/vs/"
MARKS = {"lblc": 1, "lblc_rs": 2}
TWIN = 2            # what to add to a mark for the service with which misses are warmed up
MAX_ENTRIES = "lblc_rs_max_entries"
EXPIRATION = "lblc_expiration"
DAY = 86400
ROOMY = 2 << 20     # more than any cell needs
WEIGHT = 1000


class Wrong(Exception):
    """The cell cannot be measured, or the result would be wrong."""


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
    """Writes a command to the module."""
    try:
        with open(COMMANDS, "w") as file:
            file.write(line)
    except OSError as error:
        what = "the schedulers choose different servers" if line == "check" else error.strerror
        raise Wrong(f"{line}: {what}") from None


def samples(unit):
    """The results of the last command: lines of the time of a batch with C, ours, an empty callback, and one that
    reads two cache lines."""
    with open(COMMANDS) as file:
        frequency = int(file.readline())
        tick = 1e9 / frequency if unit == "ns" else 1
        for line in file:
            yield [int(word) * tick for word in line.split()]


class Services:
    """A service of each scheduler, with the same servers in the same order; and for misses a twin of each."""

    def __init__(self, cell):
        self.schedulers = ["lblc", "lblc_rs"] if cell.c_can else ["lblc_rs"]
        self.six = " -6" if cell.af == 6 else ""
        self.flags = {"agree": " -b flag-2", "hit-flag1": " -b flag-1"}.get(cell.op, "")
        self.more = f" -g -w {1 if cell.op in ('saturated', 'relief') else WEIGHT}"
        self.more += " -x 30000" if cell.op == "hit-x" else ""
        self.marks = [(scheduler, MARKS[scheduler]) for scheduler in self.schedulers]
        if cell.op in ("miss", "agree"):
            self.marks += [(scheduler, mark + TWIN) for scheduler, mark in self.marks]
        bench_lines = []
        for scheduler, mark in self.marks:
            service = f"-f {mark}{self.six}"
            bench_lines.append(f"-A {service} -s {scheduler}{self.flags}")
            bench_lines += [f"-a {service} {self.server(n)}{self.more}" for n in range(cell.d)]
        run("ipvsadm -C")
        run(["ipvsadm", "-R"], input="\n".join(bench_lines) + "\n")

    def server(self, n):
        """The option for server number `n`; the core's list has the last one first."""
        return f"-r [fd00::{1 + n:x}]:0" if self.six else f"-r 10.1.{n // 250}.{1 + n % 250}:0"

    def change(self, option, n, more=""):
        """Adds (`option` is -a), edits (-e) or deletes (-d) server number `n` in each service."""
        run(["ipvsadm", "-R"], input="".join(f"{option} -f {mark}{self.six} {self.server(n)}{more}\n"
                                            for _, mark in self.marks))

    def forget(self):
        """Empties the tables."""
        lines = [f"-E -f {mark}{self.six} -s {scheduler}{self.flags}"
                 for name, mark in self.marks for scheduler in ("rr", name)]
        run(["ipvsadm", "-R"], input="\n".join(lines) + "\n")


def header():
    """{"entries": 2, "buckets": 1024, ...} of our service."""
    with open(TABLE) as file:
        word = next(line.split() for line in file if line.startswith(("FWM 2 ", "FWM6 2 ")))
    return dict(zip(word[2::2], map(int, word[3::2])))


def kept():
    """How many calls our service has counted as hits."""
    with open(TABLE + "_stats") as file:
        word = file.readline().split()
    return int(word[word.index("hits") + 1])


def settled(entries):
    """Waits until our table does not change, and has `entries` entries."""
    end, last = clock.monotonic() + 60, None
    while (now := header()) != last or now["entries"] != entries:
        if clock.monotonic() > end:
            raise Wrong(f"our table has {now['entries']} entries, not {entries}")
        last = now
        clock.sleep(0.02)


def fill(cell, keys="random", seed=SEED):
    """Makes keys, and inserts them into the tables of the services."""
    bench(f"keys {keys} {seed} {cell.n}")
    learn(cell)


def learn(cell):
    bench("active 0")
    bench("fill")
    bench("active 0")
    settled(cell.n)
    bench("check")
    if cell.op == "saturated":
        bench("active 2")
        bench("check")


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def interval(values):
    """The 95 % confidence interval of the median, by order statistics."""
    values = sorted(values)
    k = max(0, math.floor(len(values) / 2 - 0.98 * math.sqrt(len(values))))
    return values[k], values[-1 - k]
