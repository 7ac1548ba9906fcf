#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""`lblcctl monitor`: changes as they happen."""

import itertools
import json
import subprocess
import threading
import time

from documents import blocks, follow
from harness import case, eq, has, lacks, main, run, wait_until
from lab import Lab, key
from lblcctl import said

lab = Lab()


class Monitor:
    """A running `lblcctl monitor`, and the lines that it has printed."""

    def __init__(self, *options):
        self.process = subprocess.Popen(["lblcctl", "monitor", *options], text=True, stdout=subprocess.PIPE)
        self.lines, self.servers = [], itertools.cycle(("10.0.11.2", "10.0.12.2"))
        threading.Thread(target=self.read, daemon=True).start()
        # The monitor has joined the group when it prints the first change.
        wait_until(self.sees_something, "it listens")
        self.lines.clear()

    def sees_something(self):
        # Another server each time: an entry that is set to its own server is not changed.
        said("set", key(60000), next(self.servers), "-s", "FWM 1")
        time.sleep(0.05)
        return self.lines

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def until(self, *wanted):
        """Waits until these lines were printed, in this order."""
        try:
            wait_until(lambda: [it for it in self.lines if it in wanted] == list(wanted), "the changes are told")
        except RuntimeError:
            eq(self.lines, list(wanted), "what was printed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@case
def changes_are_told_as_they_happen():
    lab.service()
    lab.service(mark=2)
    lab.ipvs(*(lab.server("-e", name, 0) for name in ("s2", "s3", "s4")))
    with Monitor("-s", "FWM 1") as monitor:
        lab.ask(key(7))
        monitor.until(f"FWM 1 insert {key(7)} 10.0.11.2:0 unknown")
        said("set", key(7), "10.0.12.2", "-s", "FWM 1")
        said("set", key(8), "10.0.12.2", "-s", "FWM 2")
        lab.ask(key(7))  # s2 has the weight 0
        said("del", key(7), "-s", "FWM 1")
        monitor.until(f"FWM 1 insert {key(7)} 10.0.11.2:0 unknown",
                      f"FWM 1 replace {key(7)} 10.0.12.2:0 from 10.0.11.2:0 operator",
                      f"FWM 1 replace {key(7)} 10.0.11.2:0 from 10.0.12.2:0 weight0",
                      f"FWM 1 delete {key(7)} 10.0.11.2:0 idle 0")
        lacks("\n".join(monitor.lines), "FWM 2")
    with Monitor("--json") as monitor:
        lab.ask(key(9))
        wait_until(lambda: [it for it in monitor.lines if f'"{key(9)}"' in it], "it is told")
        (told,) = [json.loads(it) for it in monitor.lines if f'"{key(9)}"' in it]
        eq(told, {"service": "FWM 1", "change": "insert", "destination": key(9), "server": "10.0.11.2:0",
                  "old_server": None, "reason": "unknown", "idle_seconds": told["idle_seconds"]})


@case
def under_a_flood_it_says_what_was_passed_over():
    lab.service()
    number = 20000
    with Monitor("--json") as monitor:
        said("set", "--batch", "-", input="".join(f"{key(n)} 10.0.12.2:0\n" for n in range(number)))

        def counted():
            told = [json.loads(line) for line in list(monitor.lines)]
            over = [it["passed_over"] for it in told if "passed_over" in it]
            # Some are not counted if this machine is so busy that they were not read in time.
            enough = None in over or sum(over) + sum(it.get("change") == "insert" for it in told) >= number
            return over if over and enough else None

        over = wait_until(counted, "all changes are sent or passed over")
        print(f"# of {number} changes, passed over: {over}")


@case
def the_page_says_how_to_watch():
    lab.service()
    watch = threading.Thread(target=lambda: told.append(follow(blocks("docs/moving-traffic.md", "Watch")[0])))
    told = []
    watch.start()
    for n in range(4000):
        if not watch.is_alive():
            break
        said("set", key(7), f"10.0.{11 + n % 2}.2")
    watch.join()
    has(told[0], f"FWM 1 replace {key(7)} 10.0.12.2:0 from 10.0.11.2:0 operator")


@case
def it_watches_the_next_module_as_well():
    lab.service()
    with Monitor() as monitor:
        run("ipvsadm -C")
        wait_until(lambda: not run("rmmod ip_vs_lblc_rs", check=False).returncode, "the module goes")
        wait_until(lambda: "the module was unloaded" in monitor.lines, "it is told")
        lab.service()
        wait_until(lambda: "the module was loaded" in monitor.lines, "it is told")
        lab.ask(key(7))
        wait_until(lambda: [it for it in monitor.lines if f"insert {key(7)} " in it], "it is told")


main(lab)
