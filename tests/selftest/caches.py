# SPDX-License-Identifier: GPL-2.0
"""Real caches (nginx, one process each), the origin server that they fetch from, and clients that
ask for sites by Zipf's law and count hits.

nginx bounds a cache by the memory for its keys: when that is full, the least recently used key
makes room. It accepts connections to every local address, so it is transparent for all addresses
that are routed to `lo`.
"""

import heapq
import itertools
import os
import random
import socket
import struct
import subprocess
from collections import Counter, namedtuple

from harness import SLOW, wait_until
from lab import inside, key

FOLDER = "/run/caches"
LIMIT = struct.pack("ll", 5 * SLOW, 0)
PAGE = 32           # the keys in a page of nginx's shared memory

NGINX = """
daemon off;
master_process off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    {http}
}}
"""
ORIGIN = """
    keepalive_requests 1000000;
    server {
        listen 80 backlog=4096;
        location / { return 200 "the page of $host\\n"; }
    }
"""
CACHE = """
    proxy_cache_path {folder}/{name} keys_zone={name}:{size} levels=1 inactive=1d use_temp_path=off;
    upstream origin {{ server {origin}; keepalive 16; }}
    server {{
        listen {port} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_cache {name};
            proxy_cache_key $host$uri;
            proxy_cache_valid 1d;
            add_header X-Server {name};
            add_header X-Cache $upstream_cache_status;
        }}
    }}
"""


class Nginx:
    """An nginx in the network namespace `name`."""

    def __init__(self, name, http, port=80):
        os.makedirs(FOLDER, exist_ok=True)
        self.name, self.port = name, port
        path = f"{FOLDER}/{name}.conf"
        with open(path, "w") as file:
            file.write(NGINX.format(folder=FOLDER, name=name, http=http))
        with inside(name):
            self.process = subprocess.Popen(["nginx", "-c", path], stderr=subprocess.DEVNULL)

    def ready(self):
        """Waits until it accepts connections."""
        with inside(self.name):
            wait_until(self.listens, f"nginx of {self.name} accepts connections")

    def listens(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self):
        self.process.terminate()
        self.process.wait()


def origin(name="origin"):
    return Nginx(name, ORIGIN)


def cache(name, pages, origin_address, port=80):
    """A cache of room(pages) keys."""
    size = 4096 * (2 + pages)   # the pool and the zone's name have a page each
    http = CACHE.format(folder=FOLDER, name=name, size=size, origin=origin_address, port=port)
    return Nginx(name, http, port)


def room(pages):
    """How many keys fit: the first page also has the zone's own structure."""
    return PAGE * pages - 1


class Result(namedtuple("Result", "requests hits unanswered over first last")):
    """What clients saw: the numbers of requests, of hits, of requests without an answer, and of
    connections to a cache that already had as many as its weight; the cache of the first request
    for each site, and that of the last one."""

    @property
    def hit_ratio(self):
        return 100 * self.hits / self.requests

    def moved(self, before):
        """The number of sites that moved from their last cache in `before`, and the number of sites
        that both results have."""
        known = [site for site in self.first if site in before.last]
        return sum(self.first[site] != before.last[site] for site in known), len(known)


class Clients:
    """Clients in a network namespace, with many addresses, that ask for sites by Zipf's law.

    Time is counted in requests, so nothing depends on the speed of the machine: a connection stays
    open for `stay` other requests on average (exponentially distributed), after a miss for three
    times as many.
    """

    BATCH = 8       # requests that are sent before the first answer is read
    # Shared by all clients: a port that was used a short while ago may be in TIME_WAIT.
    ports = itertools.cycle(range(1024, 65536))

    def __init__(self, name, sources, sites, stay, seed, weight=None, port=80):
        self.name, self.sources, self.weight, self.port = name, sources, weight, port
        self.rng = random.Random(seed)
        self.stay = stay
        self.sites = [key(n) for n in range(sites)]
        self.rng.shuffle(self.sites)
        self.popularity = [1 / rank for rank in range(1, sites + 1)]
        self.now = 0
        self.open, self.active, self.last = [], Counter(), {}

    def connect(self, site, path):
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Fewer system calls than with settimeout().
            for limit in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, limit, LIMIT)
            # With a port, so that the router chooses the same director in each run.
            sock.bind((self.rng.choice(self.sources), next(self.ports)))
            sock.connect((site, self.port))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {site}\r\n\r\n".encode())
        except OSError:
            sock.close()
            return None
        return sock

    @staticmethod
    def answer(sock):
        """(the cache, whether it was a hit), or None."""
        try:
            said = sock.recv(4096).decode()
        except (OSError, AttributeError):   # no socket
            return None
        found = dict(line.split(": ", 1) for line in said.split("\r\n") if ": " in line)
        return (found["X-Server"], found["X-Cache"] == "HIT") if "X-Server" in found else None

    def draw(self, number):
        """That many sites."""
        return self.rng.choices(self.sites, self.popularity, k=number)

    def ask(self, sites, path):
        """Asks each site for a page; returns what was seen."""
        hits = unanswered = over = 0
        first = {}
        with inside(self.name):
            for start in range(0, len(sites), self.BATCH):
                sent = []
                for site in sites[start:start + self.BATCH]:
                    self.now += 1
                    while self.open and self.open[0][0] <= self.now:
                        self.hang_up(heapq.heappop(self.open))
                    sent.append((site, self.connect(site, path)))
                for site, sock in sent:
                    said = self.answer(sock)
                    if said is None:
                        unanswered += 1
                        if sock:
                            sock.close()
                        continue
                    server, hit = said
                    hits += hit
                    over += self.weight is not None and self.active[server] >= self.weight
                    first.setdefault(site, server)
                    self.last[site] = server
                    self.active[server] += 1
                    end = self.now + self.rng.expovariate(1 / self.stay / (1 if hit else 3))
                    heapq.heappush(self.open, (end, id(sock), sock, server))
        return Result(len(sites), hits, unanswered, over, first, dict(self.last))

    def hang_up(self, connection):
        _, _, sock, server = connection
        sock.close()
        self.active[server] -= 1

    def end(self):
        """Closes all connections."""
        while self.open:
            self.hang_up(self.open.pop())
