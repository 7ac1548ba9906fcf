# SPDX-License-Identifier: GPL-2.0
"""Two equal services, with C's scheduler and with ours. The module lblc_direct calls schedule() of both with a random
trace and compares the answers. Servers and schedulers are changed here, between its batches."""

import errno
import random

from harness import load_both, run

COMMANDS = "/proc/lblc_direct"
SEED = "/proc/sys/net/ipv4/vs/lblc_rs_seed"
STATS = "/proc/thread-self/net/ip_vs_lblc_rs_stats"
ROWS = ("icmp", "threshold", "flag_1", "expiry", "wide", "flag_2")    # as in lblc_direct.h
CALLS_OF = ("hits", "unknown", "expired", "unavailable", "weight0", "overloaded", "threshold", "none")
BATCH = 2000


class Difference(Exception):
    """An answer is not as it must be."""


class Pair:
    """Two services with eight servers. `stimuli` names the rows of differences that the trace may reach."""

    def __init__(self, seed, schedulers=("lblc", "lblc_rs"), ipv6=False, stimuli=(), options=""):
        self.random = random.Random(seed)
        self.six = " -6" if ipv6 else ""
        flags = [row.replace("_", "-") for row in ("flag_1", "flag_2") if row in stimuli]
        self.options = options + (" -b " + ",".join(flags) if flags else "")
        self.schedulers = schedulers
        self.away, self.there, self.since = set(), list(range(1, 9)), 0
        load_both()
        run("modprobe lblc_direct")
        self.ipvs(*(f"-A {service} -s {scheduler} {self.options}"
                    for service, scheduler in self.services()),
                  *self.both("-a", *self.there))
        hash_seed = self.random.getrandbits(64)
        if "lblc_rs" in schedulers:
            with open(SEED, "w") as file:
                file.write(str(hash_seed))
        self.command(f"begin {seed} {sum(1 << ROWS.index(row) for row in stimuli)} {hash_seed}")

    def services(self):
        return [(f"-f {mark}{self.six}", name) for mark, name in enumerate(self.schedulers, 1)]

    @staticmethod
    def ipvs(*lines):
        run(["ipvsadm", "-R"], input="\n".join(lines) + "\n")

    @staticmethod
    def command(line):
        with open(COMMANDS, "w") as file:
            file.write(line)

    def both(self, action, *numbers):
        """Lines that do the same with these servers in both services."""
        lines = []
        for number in numbers:
            address = f"[fd00::{number}]:0" if self.six else f"10.1.0.{number}:0"
            weight = "" if action == "-d" else f"-g -w {self.random.choice((0, 1, 5, 20, 1000))}"
            lines += [f"{action} {service} -r {address} {weight}" for service, _ in self.services()]
        return lines

    def calls(self, number):
        """Calls each scheduler `number` times."""
        try:
            self.command(f"run {number}")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            with open(COMMANDS) as file:
                raise Difference(file.read()) from None
        self.since += number

    def swap(self):
        """Changes to another scheduler and back, which empties both tables."""
        self.ipvs(*(f"-E {service} -s rr" for service, _ in self.services()),
                  *(f"-E {service} -s {scheduler} {self.options}"
                    for service, scheduler in self.services()))
        self.command("empty")
        self.since = 0

    def change(self):
        """Removes a server, returns one, edits one, or changes the scheduler."""
        what = self.random.random()
        if what < 0.3 and len(self.away) < 5:
            number = self.there.pop(self.random.randrange(len(self.there)))
            self.away.add(number)
            self.ipvs(*self.both("-d", number))
        elif what < 0.65 and self.away:
            number = self.random.choice(sorted(self.away))
            self.away.remove(number)
            self.there.append(number)
            self.ipvs(*self.both("-a", number))
        elif what < 0.95:
            self.ipvs(*self.both("-e", self.random.choice(self.there)))
        else:
            self.swap()

    def trace(self, calls):
        """Calls in batches, with a change between two of them."""
        for start in range(0, calls, BATCH):
            if start:
                self.change()
            self.calls(min(BATCH, calls - start))
        return self.counted()

    def counted(self):
        """The counts of lblc_direct; the counters of lblc_rs must add up to the calls."""
        if self.schedulers[1] == "lblc_rs":
            with open(STATS) as file:
                word = next(line for line in file if line.startswith(("FWM 2 ", "FWM6 2 "))).split()
            ours = dict(zip(word[2::2], map(int, word[3::2])))
            total = sum(ours[name] for name in CALLS_OF)
            assert total == self.since, f"{self.since} calls, and counters of {total}: {ours}"
        with open(COMMANDS) as file:
            word = file.readline().split()
        return dict(zip(word[::2], map(int, word[1::2])))
