#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compares the instruction counts of the gate's cells with their targets, with 10 % of slack for compilers. KTAP.

    gate.py FILE      the results of `QUICK=1 make bench-icount`
"""

import json
import sys

from cells import A_SERVER, AGREEING, FLAT, QUICK, Cell, target

SLACK = 0.9


def read(path):
    with open(path) as file:
        for line in map(json.loads, file):
            yield Cell(*(line.pop(name) for name in Cell._fields)), line


def compare(rows, number, name, one, other, most, side="rs", slack=SLACK):
    """The first costs ours at most `most` times what the other costs `side`."""
    good = one in rows and other in rows and rows[one]["rs"] * slack <= most * rows[other][side]
    if one in rows and other in rows:
        print(f"# {one}: {rows[one]['rs']}, {other}: {rows[other][side]}, at most {most} times")
    print(f"{'ok' if good else 'not ok'} {number} {name}")


def main(path):
    rows = dict(read(path))
    print(f"TAP version 13\n1..{len(QUICK) + 3}")
    for number, cell in enumerate(QUICK, 1):
        row, wanted = rows.get(cell), target(cell, "instructions")
        if row is None:
            good, told = False, "was not measured"
        elif row["ratio"] is None or wanted is None:
            good, told = row["rs"] > 0, f"{row['rs']} instructions"
        else:
            good = row["ratio"] >= SLACK * wanted
            told = f"C {row['c']}, ours {row['rs']}: {row['ratio']}, demanded {wanted}"
        print(f"# {cell}: {told}")
        print(f"{'ok' if good else 'not ok'} {number} {cell}")
    compare(rows, len(QUICK) + 1, "a-million-entries-cost-as-a-thousand", *FLAT)
    many, few, most = A_SERVER
    good = many in rows and few in rows
    if good:
        c, ours = ((rows[many][side] - rows[few][side]) / (many.d - few.d) for side in ("c", "rs"))
        good = ours * SLACK <= most * c
        print(f"# a server more: C {c:.1f}, ours {ours:.1f} instructions")
    print(f"{'ok' if good else 'not ok'} {len(QUICK) + 2} a-server-more-costs-a-choice-no-more-than-in-c")
    compare(rows, len(QUICK) + 3, "a-miss-with-flag-2-costs-at-most-twice-a-miss-of-c", *AGREEING,
            side="c", slack=1)


main(*sys.argv[1:])
