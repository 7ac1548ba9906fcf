#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In a guest: prints the screen of lblctop, 80x24, as SVG, with traffic to four caches. docs/testing.md says how to
make docs/lblctop.svg with it."""

import os
import random
import socket
import sys

sys.path.append(os.path.dirname(__file__) + "/../../tests/selftest")
from lab import VIP, Lab, Traffic, inside, key  # noqa: E402
from terminal import Terminal, picture  # noqa: E402


class Visitors(Traffic):
    """Opens and closes connections to many sites, to popular ones more often."""

    def run(self):
        rng = random.Random(1)
        sites = range(40000)
        weights = [1 / (rank + 5) ** 1.2 for rank in sites]
        with inside("client"):
            while not self.stop.is_set():
                for site in rng.choices(sites, weights, k=100):
                    with socket.create_connection((key(site), 80), timeout=5) as sock:
                        self.served += bool(sock.recv(16))


lab = Lab()
lab.service(weights={"s1": 20, "s2": 50, "s3": 50, "s4": 50})
lab.service(mark=2, ipv6=True)
lab.service(service=f"-t {VIP}:80", port=80, how="-m")
for n in range(30):
    lab.ask(key(n, ipv6=True), port=81)
lab.ask(VIP)
with Visitors() as visitors, Terminal(["lblctop", "--interval", "1"]) as terminal:
    terminal.until("FWM 1: Locality works: ", seconds=120)
    busy = next(n for n in range(50) if lab.ask(key(n)) == "s1")
    lab.hold(key(busy), 21)
    terminal.until("FWM 1: Locality works: ", f"{lab.address('s1')}:0 20 2", seconds=120)
    print(picture(terminal.screen), end="")
lab.clear()
