#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes a table and pictures of the results of bench.py.

    report.py time|icount FOLDER      reads FOLDER/MODE.jsonl
"""

import json
import subprocess
import sys

from cells import AGREEING, FLAT, LINES, Cell, limit, target

UNITS = {"time": "ns", "icount": "instructions"}


def read(path):
    with open(path) as file:
        return [(Cell(*(line.pop(name) for name in Cell._fields)), line)
                for line in map(json.loads, file)]


def number(value):
    """A figure with three digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def verdict(ratio, high, wanted):
    if ratio is None:
        return "ours only"
    if wanted is not None and ratio < wanted:
        return "BELOW TARGET"
    return "SLOWER" if high < 1 and wanted is None else ""


def table(rows, unit):
    """The cells with the lowest ratio first; then those of ours alone."""
    form = "{:34}{:>11}{:>11}{:>9}{:>19}{:>8}  {}"
    rows = sorted(rows, key=lambda row: (row[1]["ratio"] is None, row[1]["ratio"] or 0))
    print(form.format(f"{unit} a call", "C", "ours", "C/ours", "95 % interval", "target", "").rstrip())
    for cell, row in rows:
        wanted = target(cell, unit)
        print(form.format(str(cell), number(row["c"]), number(row["rs"]), number(row["ratio"]),
                          "-" if row["lo"] is None else f"{number(row['lo'])} .. {number(row['hi'])}",
                          number(wanted), verdict(row["ratio"], row["hi"], wanted)).rstrip())


def physical(rows):
    """Prints what hits with cold caches cost, relative to a callback that reads two dependent cache lines."""
    found = [(cell, row) for cell, row in rows if row.get("lines")]
    if found:
        print("\nours against two dependent cache lines, ns")
    for cell, row in found:
        ratio, most = row["rs"] / row["lines"], LINES.get(cell.n)
        print(f"{str(cell):26}/ {row['lines']:<31}{ratio:7.3f}" + (f"  at most {most}" if most else "") +
              ("  ABOVE TARGET" if most and ratio > most else ""))


def others(rows):
    """What is not a call of schedule(), each in its own unit."""
    if rows:
        print(f"\n{'':34}{'C':>11}{'ours':>11}  unit               demanded of ours")
    for cell, row in rows:
        wanted, bad = limit(cell), False
        if wanted:
            bad = row["rs"] < wanted[1] if wanted[0] == "at least" else row["rs"] > wanted[1]
        told = " ".join(map(str, wanted)) if wanted else ""
        if row["ratio"] is not None:
            bad = row["ratio"] < target(cell, row["unit"])
            told = f"C/ours {row['ratio']} ({row['lo']} .. {row['hi']}), at least {target(cell, row['unit'])}"
        print(f"{str(cell):34}{number(row['c']):>11}{number(row['rs']):>11}  {row['unit']:19}{told}"
              f"{'  MISSED' if bad else ''}".rstrip())


def flatness(rows, unit):
    """Prints the ratios of our costs to those of other cells; the targets in docs/bench.md are upper limits here."""
    found = dict(rows)
    limits = [(Cell("hit", n, 4, 6, "hot"), Cell("hit", n, 4, 4, "hot"), 1.15, "rs")
              for n in sorted({cell.n for cell in found})]
    limits += [(*pair[:2], pair[2] if unit == "instructions" else None, side)
               for pair, side in ((FLAT, "rs"), (AGREEING, "c"))]
    limits = [(one, two, most, side) for one, two, most, side in limits
              if one in found and two in found and found[two][side]]
    if limits:
        print("\nours against other cells")
    for one, two, most, side in limits:
        ratio = found[one]["rs"] / found[two][side]
        name = f"{two}{' of C' if side == 'c' else ''}"
        print(f"{str(one):26}/ {name:31}{ratio:7.3f}" + (f"  at most {most}" if most else "") +
              ("  ABOVE TARGET" if most and ratio > most else ""))


def gnuplot(script, path):
    """Runs a script that writes an SVG to `path`; adds the licence."""
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
    with open(path) as file:
        first, rest = file.readline(), file.read()
    with open(path, "w") as file:
        file.write(f"{first}<!-- SPDX-License-Identifier: GPL-2.0 -->\n{rest}")


class Picture:
    """Curves over the number of keys or of servers, both axes logarithmic."""

    COLOURS = {"c": "#c0392b", "rs": "#1f618d"}
    DASHES = (1, 2, 4)

    def __init__(self, rows, unit, title, along):
        self.rows, self.unit, self.title, self.along = rows, unit, title, along
        self.curves, self.data = [], []

    def curve(self, label, dash, match):
        for side, name in (("c", "C"), ("rs", "ours")):
            points = sorted((getattr(cell, self.along), row[side]) for cell, row in self.rows
                            if match(cell) and row[side] is not None and row[side] > 0)
            if len(points) > 1:
                self.curves.append(f"'-' title '{name}, {label}' with linespoints lw 2 pt 7 ps 0.5 "
                                   f"dt {self.DASHES[dash]} lc rgb '{self.COLOURS[side]}'")
                self.data += [f"{x} {y}" for x, y in points] + ["e"]

    def draw(self, path):
        if not self.curves:
            return
        xlabel = {"n": "destination addresses in the table", "d": "real servers"}[self.along]
        ticks = {"n": ("'1' 1, '16' 16, '256' 256, '1000' 1000, '4096' 4096, '16384' 16384, "
                       "'262144' 262144, '1 M' 1048576"), "d": "1, 4, 16, 64, 1024"}[self.along]
        script = ["set terminal svg size 860,520 font 'sans,12' background 'white'",
                  f"set output '{path}'", f"set title '{self.title}'", f"set xlabel '{xlabel}'",
                  f"set ylabel '{self.unit} a call of schedule()'", "set logscale xy",
                  f"set xtics ({ticks})", "set grid lc rgb '#dddddd'", "set key outside right top",
                  "set offsets graph 0.03, graph 0.03, 0, 0",
                  "plot " + ", ".join(self.curves)] + self.data
        gnuplot(script, path)


def pictures(rows, unit, stem):
    keys = Picture(rows, unit, "Cost of a choice, 4 real servers, IPv4", "n")
    servers = Picture(rows, unit, "Cost of a choice by number of real servers, IPv4", "d")

    def of(op, temp="hot", **more):
        return lambda cell: (cell.op == op and cell.temp == temp and cell.af == 4 and
                             all(getattr(cell, name) == value for name, value in more.items()))
    keys.curve("hit", 0, of("hit", d=4))
    keys.curve("hit, cold caches", 1, of("hit", "cold", d=4))
    keys.curve("miss", 2, of("miss", d=4))
    servers.curve("hit", 0, of("hit", n=256))
    servers.curve("all overloaded", 1, of("saturated", n=256))
    servers.curve("miss", 2, of("miss", n=16384))
    keys.draw(f"{stem}-keys.svg")
    servers.draw(f"{stem}-servers.svg")


def main(mode, folder):
    everything = read(f"{folder}/{mode}.jsonl")
    unit = UNITS[mode]
    rows = [row for row in everything if row[0].temp]
    table(rows, unit)
    flatness(rows, unit)
    physical(rows)
    others([row for row in everything if not row[0].temp])
    pictures(rows, unit, f"{folder}/{mode}")


if __name__ == "__main__":
    main(*sys.argv[1:])
