#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A model of misses with insertion on many CPUs: which shared cache line is the first wall (docs/scale.md).

    scale.py [--transfer NS] [--work NS] [--held NS]

Each CPU makes one insertion after the other. An insertion is `--work` ns in which nothing is shared but the lines
below. Each of these is in one CPU's cache at a time; to get it from another CPU takes `--transfer` ns, in which
no CPU has it. A lock is held for `--held` ns, and its line stays there meanwhile.
"""

import argparse
import heapq
import random

ROUNDS = 3000   # insertions of each CPU


def run(cpus, lines, work, transfer, held):
    """Insertions a microsecond. `lines`: for each step of an insertion the number of lines, and whether it is a lock."""
    rng = random.Random(1)
    free = [[0.0] * number for number, _ in lines]      # when each line is free
    owner = [[None] * number for number, _ in lines]
    queue = [(rng.random() * work, cpu, 0, 0) for cpu in range(cpus)]
    heapq.heapify(queue)
    left, end = cpus * min(ROUNDS, 60000 // cpus), 0.0
    total = left
    while left > 0:
        now, cpu, step, _ = heapq.heappop(queue)
        number, is_lock = lines[step]
        at = rng.randrange(number)
        start = max(now, free[step][at])
        took = (0 if owner[step][at] == cpu else transfer) + (held if is_lock else 0)
        owner[step][at], free[step][at] = cpu, start + took
        end = start + took
        if step + 1 == len(lines):
            left -= 1
            step, end = -1, end + work - sum(held for _, is_lock in lines if is_lock)
        heapq.heappush(queue, (end, cpu, step + 1, rng.random()))
    return 1000 * total / end


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=float, default=100)
    parser.add_argument("--held", type=float, default=20)
    parser.add_argument("--transfer", type=float, default=100)
    options = parser.parse_args()
    rest = (options.work, options.transfer, options.held)
    counter, lock = (1, False), (16, True)
    designs = {
        "one lock": [(1, True)],
        "16 locks": [lock],
        "counter": [counter],
        "16 locks, counter": [lock, counter],
        "the same, 4 servers": [lock, counter, (4, False)],
        "64 locks, no counter, 4 servers": [(64, True), (4, False)],
        "64 locks alone": [(64, True)],
    }
    cpus = (1, 2, 4, 8, 16, 32, 64, 128)
    print("insertions a microsecond".ljust(34) + "".join(f"{number:>7}" for number in cpus))
    for name, lines in designs.items():
        print(name.ljust(34) + "".join(f"{run(number, lines, *rest):7.1f}" for number in cpus))


main()
