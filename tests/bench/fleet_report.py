#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes a table and a picture of the results of fleet.py.

    fleet_report.py FOLDER      reads FOLDER/fleet.jsonl, writes FOLDER/fleet.svg
"""

import json
import re
import sys

from report import gnuplot

EVENTS = {"steady": "steady", "a director is gone": "director gone", "it is back": "it is back",
          "a cache is removed": "cache removed", "the cache is back": "it is back "}
DRAWN = {"steady": "#1f618d", "a director is gone": "#b9770e", "a cache is removed": "#c0392b"}


def table(plans):
    print("| hits, % (sites moved, %) | " + " | ".join(EVENTS.values()) + " | above weight, % |")
    print("|---|" + "---|" * (len(EVENTS) + 1))
    for plan, phases in plans.items():
        cells = []
        for event in EVENTS:
            row = phases[event]
            ratio, moved = 100 * row["hits"] / row["requests"], 100 * row["moved"] / row["known"]
            cells.append(f"{ratio:.1f} ({moved:.0f})")
        above = 100 * phases["steady"]["above weight"] / phases["steady"]["requests"]
        print(f"| {plan} | " + " | ".join(cells) + f" | {above:.1f} |")


def picture(plans, path):
    script = ["set terminal svg size 860,460 noenhanced font 'sans,12' background 'white'",
              f"set output '{path}'", "set ylabel '%'", "set yrange [0:100]",
              "set title 'Hit ratio of eight caches behind one director and four'",
              "set style data histogram", "set style histogram clustered gap 1",
              "set style fill solid", "set bmargin 5",
              "set grid ytics lc rgb '#dddddd'", "set xtics scale 0", "set key outside right top",
              "plot " + ", ".join(f"'-' using 2:xtic(1) title '{EVENTS[event]}' lc rgb '{colour}'"
                                  for event, colour in DRAWN.items())]
    for event in DRAWN:
        for plan, phases in plans.items():
            label = re.sub(" directors?, ", " x\\\\n", plan).replace(" -b ", "\\n")
            script.append(f'"{label}" {100 * phases[event]["hits"] / phases[event]["requests"]}')
        script.append("e")
    gnuplot(script, path)


def main(folder):
    plans = {}
    with open(f"{folder}/fleet.jsonl") as file:
        for row in map(json.loads, file):
            plans.setdefault(row["plan"], {})[row["event"]] = row
    plans = dict(sorted(plans.items(), key=lambda plan: int(plan[0].split()[0])))
    table(plans)
    picture(plans, f"{folder}/fleet.svg")


main(*sys.argv[1:])
