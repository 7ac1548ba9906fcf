#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make demo: four transparent web caches behind lblc_rs, on a stock kernel."""

import os
import random
import selectors
import socket
import subprocess
import sys
from collections import Counter, OrderedDict

sys.path.append(os.path.dirname(__file__) + "/../../tests/selftest")
from harness import run, wait_until  # noqa: E402
from lab import Lab, Servers, inside, key  # noqa: E402

SITES = [key(n) for n in range(1, 65)]
ROOM = 24  # the most pages in a cache


class Caches(Servers):
    """The real servers: each answers HTTP for every site, and remembers the last ROOM pages."""

    def __init__(self, names):
        super().__init__(names)
        self.pages = {name: OrderedDict() for name in names}

    def accept(self, listener, name):
        sock, _ = listener.accept()
        self.selector.register(sock, selectors.EVENT_READ, (self.talk, name))

    def talk(self, sock, name):
        if sock.recv(4096).startswith(b"GET "):
            site = sock.getsockname()[0].removeprefix("::ffff:")
            pages = self.pages[name]
            known = "HIT" if site in pages else "MISS"
            pages[site] = True
            pages.move_to_end(site)
            if len(pages) > ROOM:
                pages.popitem(last=False)
            body = f"the page of {site}, from {name}\n"
            sock.sendall(f"HTTP/1.1 200 OK\r\nX-Server: {name}\r\nX-Cache: {known}\r\n"
                         f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        self.hang_up(sock, name)

    def forget(self):
        for pages in self.pages.values():
            pages.clear()


lab = Lab(serve=Caches)


def say(text=""):
    print(text, flush=True)


def title(text):
    say(f"\n\x1b[1m{text}\x1b[0m")


def show(command):
    say(f"  director# {command}")
    done = subprocess.run(command, shell=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    for line in done.stdout.splitlines():
        say(f"    {line}")
    if done.returncode:
        sys.exit(f"{command}: failed")


def get(site):
    """One HTTP request from the client: (server, was it in that server's cache?)"""
    with inside("client"):
        sock = socket.create_connection((site, 80), timeout=10)
    with sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {site}\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(4096):
            answer += data
    headers = dict(line.split(": ", 1) for line in answer.decode().split("\r\n") if ": " in line)
    return headers["X-Server"], headers["X-Cache"] == "HIT"


def ask():
    return [get(site)[0] for site in SITES]


def picture(now, before=None):
    """Prints the servers of the 64 sites in four lines, by number; a dot for a site that did not move."""
    for line in range(0, 64, 16):
        cells = [now[i][1:] if not before or now[i] != before[i] else "."
                 for i in range(line, line + 16)]
        say("      " + " ".join(cells))


def what_moved(before, why):
    now = ask()
    moved = [i for i in range(64) if now[i] != before[i]]
    losers = Counter(before[i] for i in moved)
    say(f"  {why}: {len(moved)} of 64 sites moved"
        + (" (away from " + ", ".join(f"{name}: {n}" for name, n in sorted(losers.items())) + ")"
           if moved else ""))
    if moved:
        picture(now, before)
    return now


def hold(site, count):
    """Keeps `count` connections to a site open."""
    socks = []
    for _ in range(count):
        with inside("client"):
            socks.append(socket.create_connection((site, 80), timeout=10))
    wait_until(lambda: lab.active() >= count, "connections become active")
    return socks


def hit_ratio(scheduler, requests):
    run("ipvsadm -C")
    lab.service(scheduler, {name: 20 for name in lab.names})
    lab.servers.forget()
    hits = sum(get(site)[1] for site in requests)
    return 100 * hits / len(requests)


say(f"Linux {os.uname().release}: a client, a director and four web caches, in network namespaces.")
say("Every request for one of 64 web sites (198.18.0.1 to 198.18.0.64) passes the director, which")
say("marks it and gives it to one of the caches.")

title("1. A service for marked packets, scheduled by lblc_rs")
show("ipvsadm -A -f 1 -s lblc_rs")
for name in lab.names:
    show(f"ipvsadm -a -f 1 -r {lab.address(name)}:0 -g -w 20")
show("lsmod | grep -E '^(Module|ip_vs_lblc)'")
say("  client# curl -si http://198.18.0.1/")
with inside("client"):
    for line in run("curl -si http://198.18.0.1/").splitlines():
        if line.startswith(("HTTP", "X-", "the")):
            say(f"    {line.strip()}")

title("2. Each site has its server, and keeps it")
first = ask()
say("  Round 1: which cache (1 to 4) each of the 64 sites went to:")
picture(first)
for round_number in (2, 3):
    now = ask()
    moved = sum(a != b for a, b in zip(now, first))
    say(f"  Round {round_number}: {moved} of 64 sites moved")

title("3. What makes a site move (a dot: it did not)")
victim = first[0]
socks = hold(SITES[0], 21)
now = what_moved(first, f"{victim} overloaded (21 connections, weight 20)")
for sock in socks:
    sock.close()
wait_until(lambda: lab.active() == 0, "connections become inactive")
now = what_moved(now, f"{victim} idle again")
victim = now[1]
edit = f"ipvsadm -e -f 1 -r {lab.address(victim)}:0 -g -w"
show(f"{edit} 0")
now = what_moved(now, f"{victim} quiesced")
show(f"{edit} 20")
victim = now[2]
show(f"ipvsadm -d -f 1 -r {lab.address(victim)}:0")
show(f"ipvsadm -a -f 1 -r {lab.address(victim)}:0 -g -w 20")
now = what_moved(now, f"{victim} removed, and added again before a request")
show(f"ipvsadm -d -f 1 -r {lab.address(victim)}:0")
now = what_moved(now, f"{victim} removed")

title("4. The table, and how long entries are kept")
show("head -4 /proc/net/ip_vs_lblc_rs")
show("sysctl net.ipv4.vs.lblc_expiration")
show("sysctl -w net.ipv4.vs.lblc_expiration=3600")

title("5. The purpose: cache hits")
rng = random.Random(4)
requests = rng.choices(SITES, weights=[1 / (rank + 4) for rank in range(64)], k=400)
say(f"  The same {len(requests)} requests, popular sites more often; each cache holds {ROOM} pages:")
for scheduler in ("lblc_rs", "wlc", "rr"):
    ratio = hit_ratio(scheduler, requests)
    say(f"    {scheduler:8} {ratio:5.1f} % from the cache  {'#' * round(ratio / 2)}")

lab.clear()
show("rmmod ip_vs_lblc_rs")
