# SPDX-License-Identifier: GPL-2.0
"""A random trace of connections, step by step on two services: every choice must be the same.

A step opens a connection to one of 400 addresses (on each service in turn), closes one, changes a weight, removes a
server, adds one again or changes the scheduler, on both services. Nothing depends on the clock: no connection times out
during a trace, all source addresses and ports are different, and a step begins when both services have counted the
connections of the last one.
"""

import itertools
import random
import select
import socket
import struct
import time

from harness import SLOW, eq, load_both, run, wait_until
from lab import KEEP, Connection, inside, sysctl

PORTS, MARKS = (80, 81), ("-f 1", "-f 2")
HEADERS = ("FWM  00000001", "FWM  00000002")
KEYS = 400
HELD = 60
EXPIRATION = "/proc/sys/net/ipv4/vs/lblc_expiration"
IP_RECVERR = 11  # report ICMP errors at once


class Difference(Exception):
    """The two services made different choices that must be the same."""


class Trace:
    """The state of one trace; all choices are made by `self.random`. The services are in the director's network
    namespace, or in the client's own, which then schedules the packets that it sends.

    With `thresholds`, servers get upper thresholds; with `pauses`, each step is followed by a pause of one of these
    numbers of seconds. C makes some choices differently then (docs/differences.md). Each difference must be explained
    by the state before it, and is counted; then the trace begins again with equal services."""

    # Ports are new in every trace: a server may still have the connections of an earlier trace.
    ports = itertools.product(range(2, 100), range(2001, 64001))

    def __init__(self, lab, seed, schedulers, where="director", thresholds=False, pauses=()):
        self.lab, self.schedulers, self.where = lab, schedulers, where
        self.thresholds, self.pauses = thresholds, pauses
        self.random = random.Random(seed)
        # A client that schedules itself uses other addresses and its own links.
        self.net, self.link = ("198.19", 20) if where == "client" else ("198.18", 10)
        self.moves = self.decisions = self.swaps = 0
        self.explained = {"threshold": 0, "relief": 0, "expiry": 0}
        self.must = 0
        load_both()
        with inside(where):
            sysctl("net/ipv4/icmp_ratelimit", 0)
            sysctl(KEEP, 0)
            if where == "director":
                # An ICMP error comes from the address of the service, which must be in the local table for that.
                run(f"ip route replace local {self.net}.0.0/16 dev lo")
            self.lab.ipvs(*(f"-A {service} -s {scheduler}" for service, scheduler in zip(MARKS, schedulers)))
            eq([connection.server for connection in self.connect(1)], [None, None], "of services without servers")
            run("ipvsadm -C")
        self.begin()

    def begin(self):
        """Makes equal services without connections."""
        self.weights = {name: self.random.randint(0, 20) for name in self.lab.names}
        self.limits = {name: self.limit() for name in self.weights}
        self.away, self.open, self.home, self.asked = set(), [], {}, {}
        with inside(self.where):
            run("ipvsadm --set 86400 86400 86400")
            self.lab.ipvs(*(f"-A {service} -s {scheduler}"
                            for service, scheduler in zip(MARKS, self.schedulers)),
                          *(line for name in self.weights for line in self.lines("-a", name)))

    def limit(self):
        """An upper threshold, or 0 for none."""
        return self.random.choice((0, 0, 5, 10, 20, 40)) if self.thresholds else 0

    def lines(self, action, name):
        more = "" if action == "-d" else f"-g -w {self.weights[name]} -x {self.limits[name]}"
        address = f"10.0.{self.link + int(name[1:])}.2:0"
        return [f"{action} {service} -r {address} {more}" for service in MARKS]

    def both(self, action, name):
        with inside(self.where):
            self.lab.ipvs(*self.lines(action, name))

    def swap(self):
        """Changes the scheduler of both and back, which empties their tables."""
        with inside(self.where):
            self.lab.ipvs(*(f"-E {service} -s rr" for service in MARKS),
                          *(f"-E {service} -s {scheduler}"
                            for service, scheduler in zip(MARKS, self.schedulers)))
        self.home.clear()
        self.swaps += 1

    def counters(self):
        with inside(self.where):
            return [self.lab.counters(header) for header in HEADERS]

    def settled(self):
        one, two = self.counters()
        return one == two

    def connect(self, number):
        """Opens a connection to key `number` on each service; returns both."""
        pair = []
        source, own = next(self.ports)
        if own == 2001:
            with inside("client"):
                run(f"ip addr replace 10.0.1.{source}/24 dev c0")
        for port in PORTS:
            with inside("client"):
                sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            sock.bind((f"10.0.1.{source}", own))
            sock.setblocking(False)
            sock.connect_ex((f"{self.net}.{number // 256}.{number % 256}", port))
            pair.append(Connection(sock, self.answer(sock)))
        return pair

    @staticmethod
    def answer(sock):
        """The name of the server that answers on a new connection, or None if IPVS has refused it with an ICMP error.
        (Not if none answers in some time: that would depend on how busy the machine is.)"""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        events = poll.poll(60_000 * SLOW)
        if not events:
            raise RuntimeError("neither a server nor an ICMP error answers")
        if events[0][1] & select.POLLIN:
            return sock.recv(16).decode().strip()
        sock.close()    # its SYN must not be sent again, when there may be a server
        return None

    def explain(self, number, choices, before):
        """The documented difference that explains these choices, or None."""
        known, (c, ours) = self.home.get(number), choices
        idle = time.monotonic() - self.asked.get(number, 0)

        def over(name, part=1.0):
            _, active, inactive = before[name]
            return self.limits[name] and active + inactive >= part * self.limits[name]

        if known in before and c == known and over(known, 0.75):
            return "threshold"
        if known in before and ours == known != c and before[known][1] > before[known][0] and any(
                over(name, 0.75) and 2 * active < weight
                for name, (weight, active, _) in before.items()):
            return "relief"
        if known in before and c == known and self.pauses and idle > self.expiration():
            return "expiry"
        return None

    def expiration(self):
        with inside(self.where), open(EXPIRATION) as file:
            return int(file.read())

    def decide(self):
        """Opens a connection on both services and compares. A few addresses are frequent, most are rare."""
        number = min(int(self.random.paretovariate(0.6)), KEYS)
        before = {f"s{int(name[1:]) + 10 - self.link}": state
                  for name, state in self.counters()[1].items()} if self.thresholds or self.pauses else {}
        known = self.home.get(number)
        pair = self.connect(number)
        choices = [connection.server for connection in pair]
        self.decisions += 1
        self.open.append(pair)
        if known in before and self.limits[known] and choices[1] is not None and (
                sum(before[known][1:]) >= self.limits[known]):
            self.must += 1
            if choices[1] == known:
                raise Difference(f"decision {self.decisions}: {known} has reached its threshold: {before}")
        if choices[0] != choices[1]:
            why = self.explain(number, choices, before)
            if not why:
                raise Difference(f"decision {self.decisions} in the {self.where}, key {number} on {known}: "
                                 f"{choices[0]} and {choices[1]}; {self.counters()}")
            self.explained[why] += 1
            self.end()
            self.lab.clear()
            self.begin()
            return
        self.moves += self.home.get(number, choices[0]) != choices[0]
        if choices[0]:
            self.home[number] = choices[0]
            self.asked[number] = time.monotonic()
        if len(self.open) > HELD:
            self.close(self.random.randrange(len(self.open)))

    def step(self):
        what = self.random.random()
        here = sorted(set(self.weights) - self.away)
        if what < 0.72 or not self.open:
            self.decide()
        elif what < 0.95:
            self.close(self.random.randrange(len(self.open)))
        elif what < 0.98:
            name = self.random.choice(here)
            self.weights[name] = self.random.choice((0, 1, 2, 5, 10, 20, 1000))
            self.limits[name] = self.limit()
            self.both("-e", name)
        elif len(self.away) < 3 and what < 0.989:
            name = self.random.choice(here)
            self.away.add(name)
            self.both("-d", name)
        elif self.away and what < 0.998:
            name = self.random.choice(sorted(self.away))
            self.away.remove(name)
            self.both("-a", name)
        elif what >= 0.998:
            self.swap()
        if self.pauses:
            time.sleep(self.random.choice(self.pauses))

    def close(self, at):
        pair = self.open.pop(at)
        if pair[0].server in self.away:
            # IPVS drops packets to a removed server: a FIN would be sent again at any time.
            for connection in pair:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
        for connection in pair:
            connection.close()
        try:
            wait_until(self.settled, "both services count the same")
        except RuntimeError as late:
            raise RuntimeError(f"{late}, after a connection to {pair[0].server} was closed "
                               f"({self.away} are away): {self.counters()}") from late

    def end(self):
        """Closes all connections."""
        for pair in self.open:
            for connection in pair:
                connection.close()
        self.open.clear()
