# SPDX-License-Identifier: GPL-2.0
"""What the operator of a running machine does, as the documents say it: README.md's cache,
docs/monitoring.md's timer, and an upgrade of the packages from a repository."""

import contextlib
import functools
import glob
import http.server
import os
import re
import socket
import threading
import time

import documents
from documents import blocks, follow
from harness import eq, gt, has, lacks, loaded, ne, run, wait_until
from lab import Lab, Traffic, inside, key

documents.TOP = "/proof/"
MODULE = "ip_vs_lblc_rs"
METRICS = "/var/lib/prometheus/node-exporter/lblc.prom"
UNIT = "lblctop-textfile"
IP_TRANSPARENT = 19
QUIET = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def version():
    with open(f"/sys/module/{MODULE}/version") as file:
        return file.read().strip()


# README.md --------------------------------------------------------------------------------


class Cache(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.server.cache.encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(name)))
        self.end_headers()
        self.wfile.write(name)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        super().server_bind()


class Caches:
    """Instead of lab.py's servers: HTTP servers with transparent sockets. Their pages are their
    names."""

    def __init__(self, names):
        self.servers = []
        for name in names:
            with inside(name):
                self.servers.append(Server(("::", 80), Cache))
            self.servers[-1].cache = name

    def start(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()


def page(site):
    curl = f"ip netns exec client curl -s --max-time 30 http://{site}/"
    return run(curl, check=False).stdout.strip()


class Clients(Traffic):
    """Asks for the page of each site, again and again, while its context is entered."""

    def __init__(self, sites):
        super().__init__()
        self.sites, self.rounds, self.pages = sites, 0, {site: set() for site in sites}

    def run(self):
        while not self.stop.is_set():
            for site in self.sites:
                self.pages[site].add(page(site))
            self.rounds += 1


def the_readmes_packages_are_installed():
    make, install = blocks("README.md", "A transparent cache")[0].split("\n", 1)
    has(make, "make deb")  # which has been done, in a checkout that lies here
    run(["bash", "-ec", install], cwd=documents.TOP, input="y\n")  # apt asks
    eq(run("dpkg --audit"), "")


def the_readmes_cache_has_hits():
    hosts = lab(servers=2, serve=Caches)
    documents.without_marks()
    four, six = blocks("README.md", "The director")
    follow(four)
    for name in hosts.names:
        with inside(name):
            for family, addresses in (("", "198.18.0.0/15"), ("-6", "fd00:d::/64")):
                run(f"ip {family} route del local {addresses} dev lo table local")
            follow(blocks("README.md", "Each cache")[0])
    locality_works("FWM 1", [f"198.18.0.{number}" for number in range(1, 9)], hosts.names)
    follow(six)
    locality_works("FWM6 1", [f"[fd00:d::{number}]" for number in range(1, 9)], hosts.names)


def locality_works(service, sites, names):
    look = blocks("README.md", "Is it working?")[0]
    with Clients(sites) as clients:
        wait_until(lambda: clients.rounds >= 2, "each site is known", 300)
        wait_until(lambda: f"{service}: Locality works" in follow(look), "locality works", 120)
    for site, pages in clients.pages.items():
        eq(len(pages), 1, f"the number of different pages of {site}, {pages}")
        assert pages < set(names), (site, pages)


def lab(**more):
    """The network of lab.py, with this machine's own namespace as the director."""
    run(f"ip netns attach director {os.getpid()}")
    return Lab(**more)


@functools.cache
def network():
    """The network of the rules that are loaded at boot."""
    return lab(servers=3)


# docs/monitoring.md -----------------------------------------------------------------------


def metrics():
    """{name and labels: value} of the file of metrics, or None."""
    with contextlib.suppress(FileNotFoundError), open(METRICS) as file:
        lines = [line.rsplit(" ", 1) for line in file if not line.startswith("#")]
        return {series: float(value) for series, value in lines}
    return None


def start():
    """Starts the unit, and returns its exit status."""
    return run(f"systemctl start {UNIT}.service", check=False).returncode


def state():
    return run(f"systemctl is-failed {UNIT}.service", check=False).stdout.strip()


def the_timer_writes_metrics():
    timer, look = blocks("docs/monitoring.md", "On each director")
    follow(timer)
    wait_until(metrics, "the timer writes the metrics", 120)
    # Its next time is not known while the service runs.
    listed = re.compile(rf"^[^-].* {UNIT}\.timer +{UNIT}\.service$")
    list_timers = f"systemctl list-timers --no-legend {UNIT}.timer"
    wait_until(lambda: listed.match(run(list_timers)), "the timer is listed")
    served = wait_until(lambda: run(["bash", "-c", look], check=False).stdout,
                        "the node exporter serves them", 120)
    has(served, "\nlblc_up 1")
    has(served, 'lblc_decisions_total{result="hits",service="FWM 1"}')
    first = metrics()["lblc_timestamp_seconds"]
    wait_until(lambda: metrics()["lblc_timestamp_seconds"] > first, "they are written again", 180)


def the_unit_writes_them_anew():
    run(f"systemctl stop {UNIT}.timer")
    before = metrics()["lblc_timestamp_seconds"]
    time.sleep(1)
    eq(start(), 0, "the status of systemctl start")
    eq(state(), "inactive")
    gt(metrics()["lblc_timestamp_seconds"], before)


def without_the_module_the_unit_fails_and_says_so():
    run("systemctl stop ipvsadm")
    run("ipvsadm -C")
    run(f"rmmod {MODULE}")
    before = metrics()["lblc_timestamp_seconds"]
    ne(start(), 0, "the status of systemctl start")
    eq(state(), "failed")
    status = run(f"systemctl status --lines=20 {UNIT}.service", check=False).stdout
    has(status, "the module is not loaded")
    found = metrics()
    eq(set(found), {"lblc_up", "lblc_timestamp_seconds"}, "the metrics")
    eq(found["lblc_up"], 0, "lblc_up")
    gt(found["lblc_timestamp_seconds"], before)
    run("systemctl start ipvsadm")
    eq(start(), 0, "the status of systemctl start")
    eq(metrics()["lblc_up"], 1, "lblc_up")


def a_lblctop_that_is_killed_or_missing_leaves_no_old_metrics():
    run(f"systemctl start --no-block {UNIT}.service")
    killed = wait_until(lambda: run("pgrep -f 'lblctop --textfil[e]'", check=False).stdout.strip(),
                        "lblctop runs")
    run(f"kill -KILL {killed}")
    wait_until(lambda: state() == "failed", "the unit fails")
    wait_until(lambda: metrics() is None, "the file is removed")
    eq(start(), 0, "the status of systemctl start")
    gt(len(metrics()), 2, "the number of metrics")
    os.rename("/usr/sbin/lblctop", "/usr/sbin/elsewhere")
    try:
        ne(start(), 0, "the status of systemctl start")
        eq(state(), "failed")
        eq(metrics(), None, "the metrics")
    finally:
        os.rename("/usr/sbin/elsewhere", "/usr/sbin/lblctop")
    eq(start(), 0, "the status of systemctl start")
    run(f"systemctl start {UNIT}.timer")


# An upgrade -------------------------------------------------------------------------------


def upgrade(*arguments):
    """Runs apt with the repository in /proof, which has this version and the next one. Returns the
    lines about the module."""
    for path in ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    with open("/etc/apt/sources.list.d/lblc.list", "w") as file:
        file.write("deb [trusted=yes] file:/proof ./\n")
    run("apt-get update")
    said = run(["apt-get", "-y", *arguments], env=QUIET)
    eq(run("dpkg --audit"), "")
    return [line for line in said.splitlines() if line.startswith(MODULE)]


def packages():
    """Our packages that are installed."""
    known = run("dpkg-query -W -f '${Package} ${db:Status-Status}\\n' 'ip-vs-lblc-rs*' 'lblc*'",
                check=False).stdout
    return [line.split()[0] for line in known.splitlines() if line.endswith(" installed")]


def versions():
    """This version and the next one, as the packages in /proof are named."""
    return [glob.glob(f"/proof/{folder}/ip-vs-lblc-rs-common_*")[0].split("_")[1]
            for folder in ("build/deb", "next")]


def remembered():
    """{destination: server} of the service FWM 1, and its number of entries."""
    with open(f"/proc/net/{MODULE}") as file:
        part = re.search(r"^FWM 1 entries (\d+).*\n((?: .*\n)*)", file.read(), re.M)
    return {line.split()[0]: line.split()[1] for line in part[2].splitlines()}, int(part[1])


def an_upgrade_says_that_a_reload_is_due():
    old, new = versions()
    eq(version(), old, "the loaded version")
    for number in range(30):
        network().hold(key(number))
    before = remembered()
    eq(before[1], 30, "the number of entries")
    eq(upgrade("upgrade"), [f"{MODULE}: version {new} is installed, {old} is loaded: "
                            "`lblcctl reload` takes the new one into use"], "what the upgrade says")
    eq(run(f"modinfo -F version {MODULE}"), new, "the installed version")
    eq(version(), old, "the loaded version")
    eq(remembered(), before, "the table")


def lblcctl_reload_takes_it_into_use_and_keeps_the_table():
    _, new = versions()
    before = remembered()
    run("sysctl -w net.ipv4.vs.lblc_expiration=3600")
    run("lblcctl reload")
    eq(version(), new, "the loaded version")
    eq(remembered(), before, "the table")
    eq(run("sysctl -n net.ipv4.vs.lblc_expiration"), "3600", "lblc_expiration")
    with open(f"/sys/module/{MODULE}/parameters/dropin") as file:
        eq(file.read().strip(), "Y", "dropin")
    lacks(loaded(), "ip_vs_lblc", "the modules")
    for number in range(30):
        server = network().address(network().ask(key(number)))
        eq(before[0][key(number)].split(":")[0], server, f"the former server of {key(number)}")


def with_reload_yes_the_upgrade_does_it():
    """From the next version back to this one: apt treats a downgrade alike."""
    old, new = versions()
    before = remembered()
    run(f"sed -i s/^RELOAD=no/RELOAD=yes/ /etc/default/{MODULE}")
    eq(upgrade("install", "--allow-downgrades", *(f"{package}={old}" for package in packages())),
       [f"{MODULE}: version {old} is loaded now, in the place of {new}"], "what the upgrade says")
    eq(version(), old, "the loaded version")
    eq(remembered(), before, "the table")
