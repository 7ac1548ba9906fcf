#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes each fault of docs/troubleshooting.md; the page's commands must print what the page says."""

import contextlib
import os
import re
import shutil
import socket

from documents import TOP, blocks, follow
from harness import Skip, case, eq, has, load_both, main, ne, run, unload_all
from lab import VIP, Lab, Traffic, inside, key, sysctl

lab = Lab(servers=2)
PAGE = "docs/troubleshooting.md"


class Visits(Traffic):
    """Opens and closes connections to one address."""

    def __init__(self, address):
        super().__init__()
        self.address = address

    def run(self):
        with inside("client"):
            while not self.stop.is_set():
                with contextlib.suppress(OSError), socket.create_connection((self.address, 80), timeout=5) as sock:
                    self.served += bool(sock.recv(16))


def section(title):
    """The text of a section of the page, in one line."""
    with open(TOP + PAGE) as file:
        return " ".join(file.read().split(f"\n## {title}\n")[1].split("\n## ")[0].split())


def shows(title, *words, block=0):
    """Runs a section's commands; asserts that both their output and the section have `words`. Returns the output."""
    if not shutil.which("lblctop"):
        raise Skip("there is no lblctop")
    for it in words:
        assert f"`{it}" in section(title) or f"{it}`" in section(title), f"{title} does not say {it}"
    said = follow(blocks(PAGE, title)[block])
    text = " ".join(said.split())
    for it in words:
        assert it in text, f"{it} is not in {said}"
    return said


@case
def the_module_does_not_load():
    title = "The module does not load"
    command = blocks(PAGE, title)[0].splitlines()[0]
    follow(blocks(PAGE, title)[0])
    unload_all()
    ours = run("modinfo -n ip_vs_lblc_rs")

    def fails(words, options=""):
        assert f"`{words}`" in section(title), words
        done = run(command + options, check=False)
        assert done.returncode and words in done.stderr, done

    os.rename(ours, ours + ".away")
    try:
        with open(ours, "w") as file:
            file.write("no module\n")
        fails("Exec format error")
        os.unlink(ours)
        run("depmod")
        fails("Module ip_vs_lblc_rs not found")
    finally:
        os.rename(ours + ".away", ours)
        run("depmod")
    run("modprobe ip_vs_lblc")
    fails("Invalid argument", " dropin=1")
    unload_all()


@case
def the_scheduler_is_not_found():
    title = "Scheduler or persistence engine not found"
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    done = run("ipvsadm -A -f 7 -s lblc", check=False)
    assert title in done.stderr, done
    said = follow(blocks(PAGE, title)[0])
    assert "ip_vs_lblc_rs" in said and said.endswith("\nN"), said


@case
def a_sysctl_is_refused():
    title = "A sysctl is refused"
    run("modprobe ip_vs_lblc_rs")
    for line, units in zip(blocks(PAGE, title)[0].splitlines(), ("1h", "256k")):
        assert f"`{units}`" in section(title), units
        done = run(re.sub("=.*", f"={units}", line), check=False)
        has(done.stderr, "Invalid argument")
    before = sysctl("net/ipv4/vs/lblc_expiration")
    follow(blocks(PAGE, title)[0])
    eq((before, sysctl("net/ipv4/vs/lblc_expiration")), ("86400", "3600"))
    sysctl("net/ipv4/vs/lblc_expiration", 86400)


@case
def nothing_is_scheduled():
    title = "Nothing is scheduled"
    lab.service()
    run("ip rule del fwmark 1")
    eq(lab.ask(key(1), timeout=0.5), None)
    said = shows(title, "Nothing has been scheduled yet.", "local default dev lo")
    assert "fwmark 0x1 lookup 100" not in said, said
    run("ip rule add fwmark 1 lookup 100")
    has(shows(title, "fwmark 0x1 lookup 100"), "fwmark 0x1 lookup 100")
    ne(lab.ask(key(1)), None)


@case
def a_service_is_not_shown():
    load_both()
    lab.service()
    lab.service("lblc", mark=2)
    shows("A service is not shown by lblctop", "Not shown: FWM 2 has lblc of ip_vs_lblc")


@case
def everything_goes_to_one_server():
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    with Visits(VIP) as visits:
        visits.flows()
        shows("Everything goes to one server", "One destination, its own address")


@case
def destinations_move():
    lab.service()
    sysctl("net/ipv4/vs/lblc_expiration", 0)
    try:
        with Traffic() as traffic:
            traffic.flows()
            shows("Destinations move", "Locality fails")
    finally:
        sysctl("net/ipv4/vs/lblc_expiration", 86400)


@case
def the_table_is_full():
    title = "The table is full"
    lab.service()
    sysctl("net/ipv4/vs/lblc_rs_max_entries", 10)
    with Traffic() as traffic:
        traffic.flows()
        shows(title, "The table is full, new destinations push out old ones")
    follow(blocks(PAGE, title)[1])
    eq(sysctl("net/ipv4/vs/lblc_rs_max_entries"), "262144")


@case
def connections_are_refused():
    lab.service(weights=dict.fromkeys(lab.names, 0))
    with Traffic():
        shows("Connections are refused", "were REFUSED")


@case
def some_destinations_fail():
    title = "Some destinations fail, others work"
    lab.service(weights={"s1": 0, "s2": 1000})
    with inside("s2"):
        run("nft add table inet dead")
        run("nft 'add chain inet dead drops { type filter hook input priority 0; policy drop; }'")
    try:
        for n in range(8):
            eq(lab.connect(key(n), timeout=0.1).server, None)
        lab.ipvs(lab.server("-e", "s1", 1000))
        eq({lab.ask(key(100 + n)) for n in range(20)}, {"s1"})
        shows(title, "10.0.12.2:0 completes no connection.", "stuck")
        follow(blocks(PAGE, title)[1])
        eq({lab.ask(key(n)) for n in range(8)}, {"s1"})
    finally:
        with inside("s2"):
            run("nft delete table inet dead")


main(lab)
