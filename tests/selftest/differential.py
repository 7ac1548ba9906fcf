#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One random trace, replayed step by step on -s lblc and -s lblc_rs: every choice must be the same.

A step opens a connection to one of 400 addresses (once for each service, in turn), closes one, or
changes a weight, removes a server or returns one, on both. SEED=n replays a trace, DECISIONS=n sets
its length. Nothing here depends on the clock: no connection times out during a trace, all source
ports are different, and a step begins when both services have counted the last one.
"""

import os
import random
import socket
import struct
import time

from harness import SLOW, main, run, wait_until
from lab import Connection, Lab, inside, key

PORTS, MARKS = (80, 81), ("-f 1", "-f 2")
HEADERS = ("FWM  00000001", "FWM  00000002")
KEYS = 400
HELD = 60

lab = Lab(servers=6)


class Difference(Exception):
    """The two services chose differently."""


class Trace:
    """The state of one trace; `self.random` decides everything."""

    def __init__(self, seed, schedulers):
        self.random = random.Random(seed)
        self.weights = {name: self.random.randint(0, 20) for name in lab.names}
        self.away = set()
        self.open = []
        self.port = 2000
        self.moves = self.decisions = 0
        self.home = {}
        for service, scheduler in zip(MARKS, schedulers):
            lab.service(scheduler, dict(self.weights), service=service)

    def both(self, action, name, weight=None):
        lab.ipvs(*(lab.server(action, name, weight, service) for service in MARKS))

    def settled(self):
        one, two = map(lab.counters, HEADERS)
        return one == two

    def connect(self, number):
        """The choices of both services for a new connection to key `number`."""
        pair = []
        self.port += 1
        for port in PORTS:
            with inside("client"):
                sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("10.0.1.2", self.port))
            try:
                if all(self.weights[name] == 0 or name in self.away for name in self.weights):
                    sock.settimeout(0.05)  # nobody can answer
                else:
                    sock.settimeout(5 * SLOW)
                sock.connect((key(number), port))
                server = sock.recv(16).decode().strip()
            except OSError:
                server = None
            pair.append(Connection(sock, server))
        return pair

    def step(self):
        what = self.random.random()
        if what < 0.72 or not self.open:
            # A few addresses are asked for often, most of them rarely.
            number = min(int(self.random.paretovariate(0.6)), KEYS)
            pair = self.connect(number)
            choices = [connection.server for connection in pair]
            self.decisions += 1
            if choices[0] != choices[1]:
                raise Difference(f"decision {self.decisions}, key {number}: {choices[0]} and "
                                 f"{choices[1]}; {[*map(lab.counters, HEADERS)]}")
            self.moves += self.home.get(number, choices[0]) != choices[0]
            self.home[number] = choices[0]
            self.open.append(pair)
            if len(self.open) > HELD:
                self.close(self.random.randrange(len(self.open)))
        elif what < 0.95:
            self.close(self.random.randrange(len(self.open)))
        elif what < 0.98:
            name = self.random.choice(sorted(set(self.weights) - self.away))
            self.weights[name] = self.random.choice((0, 1, 2, 5, 10, 20, 1000))
            self.both("-e", name, self.weights[name])
        elif len(self.away) < 3 and what < 0.99:
            name = self.random.choice(sorted(set(self.weights) - self.away))
            self.away.add(name)
            self.both("-d", name)
        elif self.away:
            name = self.random.choice(sorted(self.away))
            self.away.remove(name)
            self.both("-a", name, self.weights[name])

    def close(self, at):
        pair = self.open.pop(at)
        if pair[0].server is None or pair[0].server in self.away:
            # IPVS drops what goes to a removed server: a FIN would come again, whenever it likes.
            for connection in pair:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
        for connection in pair:
            connection.close()
        wait_until(self.settled, "both services count the same")


def replay(wanted, *schedulers):
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"# SEED={seed} DECISIONS={wanted}")
    run("ipvsadm --set 86400 86400 86400")
    trace = Trace(seed, schedulers)
    try:
        while trace.decisions < wanted:
            trace.step()
    finally:
        for pair in trace.open:
            for connection in pair:
                connection.close()
    return trace


def every_choice_is_that_of_c():
    wanted = int(os.environ.get("DECISIONS", 2000))
    trace = replay(wanted, "lblc", "lblc_rs")
    print(f"# {trace.decisions} decisions, 0 differences; {len(trace.home)} addresses, "
          f"{trace.moves} moves")
    assert trace.moves > wanted / 100, "the trace exercised more than staying"


def another_scheduler_is_told_apart():
    try:
        replay(200, "lblc", "wlc")
    except Difference as difference:
        print(f"# {difference}")
    else:
        raise AssertionError("lblc and wlc made the same choices: this comparison sees nothing")


main([another_scheduler_is_told_apart, every_choice_is_that_of_c], lab)
