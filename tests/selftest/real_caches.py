#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""docs/caches.md: nginx, varnish and squid as transparent caches behind the director of README.md. Each block of
commands is run as it stands in the page.

    lab.py's client, director, s1 and s2, and     s1 ── origin     192.0.2.80, and every site: 198.18.0.0/15 and
    one more host behind the caches:              s2 ──┘           fd00:d::/64
"""

import contextlib
import http.server
import shlex
import shutil
import socket
import subprocess
import threading

from documents import blocks, director, follow
from harness import SLOW, Skip, case, eq, has, main, run, wait_until
from lab import Lab, inside, key

PAGE = "docs/caches.md"
SITES = [key(n) for n in range(1, 9)] + [key(n, ipv6=True) for n in range(1, 9)]
PRIVATE = ("/run", "/dev/shm", "/var/cache", "/var/lib/varnish")


class NoServers:
    """Instead of lab.py's servers."""

    def __init__(self, names):
        pass

    def start(self):
        pass


class Page(http.server.BaseHTTPRequestHandler):
    """The page of every site is its name."""

    fetched = []  # the sites of all requests

    def do_GET(self):
        site = self.headers["Host"].strip("[]")
        self.fetched.append(site)
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Content-Length", str(len(site)))
        self.end_headers()
        self.wfile.write(site.encode())

    def log_message(self, *_):
        pass


class Origin(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def make_origin():
    """Creates the host with all sites, and the caches' routes to it."""
    run("ip netns add origin")
    with inside("origin"):
        Lab.ip(["link set lo up", "addr add 192.0.2.80/32 dev lo", "route add local 198.18.0.0/15 dev lo",
                "-6 route add local fd00:d::/64 dev lo"])
    for n, name in enumerate(lab.names, 1):
        with inside(name):
            for family, network in (("", "198.18.0.0/15"), ("-6", "fd00:d::/64")):
                run(f"ip {family} route del local {network} dev lo table local")
            Lab.ip([f"link add eth2 type veth peer name {name} netns origin", "link set eth2 up",
                    f"addr add 10.0.{30 + n}.2/24 dev eth2", f"addr add fd00:b{n}::2/64 dev eth2 nodad"])
        with inside("origin"):
            Lab.ip([f"link set {name} up", f"addr add 10.0.{30 + n}.1/24 dev {name}",
                    f"addr add fd00:b{n}::1/64 dev {name} nodad"])
        with inside(name):
            Lab.ip([f"route add 192.0.2.80 via 10.0.{30 + n}.1", f"route add 198.18.0.0/15 via 10.0.{30 + n}.1",
                    f"-6 route add fd00:d::/64 via fd00:b{n}::1"])
    with inside("origin"):
        server = Origin(("::", 80), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()


lab = Lab(servers=2, serve=NoServers)
make_origin()
BOTH, ONE = lab.names, lab.names[:1]  # one is enough where only the configuration is new


@contextlib.contextmanager
def on_each_cache(names, *blocks_):
    """Runs blocks on each of these caches, and removes the routes and rules that they add."""
    for name in names:
        with inside(name):
            follow(blocks(PAGE, "The cache's side")[0])
            for block in blocks_:
                follow(block)
    try:
        yield
    finally:
        for name in names:
            with inside(name):
                run("nft delete table inet cache", check=False)
                for family, network in (("-4", "198.18.0.0/15"), ("-6", "fd00:d::/64")):
                    run(f"ip {family} route del local {network} dev lo", check=False)
                    run(f"ip {family} route flush table 100", check=False)
                    for rule in ("iif eth0", "fwmark 1"):
                        run(f"ip {family} rule del {rule}", check=False)


@contextlib.contextmanager
def running(names, command, *ports):
    """Runs a program on each of these caches, with folders of its own for its files; waits until it listens."""
    words = shlex.split(command)
    if not shutil.which(words[0]):
        raise Skip(f"there is no {words[0]}")
    mounts = "".join(f"mount -t tmpfs tmpfs {folder}; " for folder in PRIVATE)
    processes = []
    try:
        for name in names:
            with inside(name), open(f"/tmp/{name}.log", "w") as log:
                processes.append(subprocess.Popen(
                    ["unshare", "--mount", "--pid", "--fork", "--mount-proc",
                     "sh", "-c", f"{mounts} ulimit -n 1024; exec {shlex.join(words)}"], stdout=log, stderr=log))
        for name, process in zip(names, processes):
            with inside(name):
                for port in ports:
                    wait_until(lambda: process.poll() is not None or not refused(port), f"{words[0]} listens", 120)
            with open(f"/tmp/{name}.log") as log:
                assert process.poll() is None, log.read()
        yield
    finally:
        for process in processes:
            run(f"pkill -KILL -P {process.pid}", check=False)  # process 1 of the namespace, and so all of them
            process.wait()


def refused(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port))


def get(site, timeout=20):
    """The answer of a site to the client: (headers, page)."""
    with inside("client"):
        sock = socket.create_connection((site, 80), timeout=timeout * SLOW)
    with sock:
        host = f"[{site}]" if ":" in site else site
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(4096):
            answer += data
    headers, _, page = answer.decode().partition("\r\n\r\n")
    return headers, page


def cached(names, *words):
    """Asserts that each site is fetched once, and that all of these caches are used. The headers of a hit have
    `words`."""
    director(ipv6=True)
    for name in set(lab.names) - set(names):
        lab.ipvs(lab.server("-d", name), lab.server("-d", name, service="-f 1 -6", ipv6=True))
    Page.fetched.clear()
    for site in SITES:
        eq(get(site)[1], site)
    for site in SITES[::-1]:
        headers, page = get(site)
        eq(page, site)
        for word in words:
            has(headers, word)
    eq(sorted(Page.fetched), sorted(SITES))
    with open("/proc/thread-self/net/ip_vs_lblc_rs") as file:
        homes = {line.split()[1] for line in file if line.startswith("  ")}
    eq(homes, {f"{lab.address(name, six)}:0" for name in names for six in (False, True)})


def unit(name):
    """The last command of a systemd unit, with the file that the page adds."""
    with open(f"/etc/systemd/system/{name}.service.d/cache.conf") as file:
        return [line for line in file.read().splitlines() if line.startswith("ExecStart=/")][-1].partition("=")[2]


@case
def nginx_caches_a_network():
    follow(blocks(PAGE, "nginx")[0])
    with on_each_cache(BOTH, *blocks(PAGE, "A network of your own")), running(BOTH, "nginx -g 'daemon off;'", 80):
        cached(BOTH, "X-Cache: HIT")


@case
def varnish_caches_a_network():
    follow(blocks(PAGE, "varnish")[0])
    with on_each_cache(ONE, *blocks(PAGE, "A network of your own")), running(ONE, unit("varnish"), 80):
        cached(ONE, "X-Cache: HIT")


@case
def squid_caches_any_address():
    follow(blocks(PAGE, "squid")[0])
    routes, tproxy = blocks(PAGE, "Any address")
    with running(ONE, "squid --foreground -YC", 80, 3129), on_each_cache(ONE, routes):
        cached(ONE)
    lab.clear()
    run("sed -i '/^http_port 80 /d' /etc/squid/conf.d/cache.conf")
    with running(ONE, "squid --foreground -YC", 3129), on_each_cache(ONE, tproxy):
        cached(ONE)


main(lab)
