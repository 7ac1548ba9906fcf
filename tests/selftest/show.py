#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The file /proc/net/ip_vs_lblc_rs."""

import os
import subprocess
import threading
import time
from collections import Counter

from harness import case, eq, lacks, main, ne, run, wait_until
from lab import VIP, VIP6, Lab, inside, key, sysctl

lab = Lab()
# Not /proc/net: it is the main thread's, which is in the client's namespace at times.
FILE = "/proc/thread-self/net/ip_vs_lblc_rs"


def read(path=FILE, size=None):
    """{service line up to "entries": {destination: (server, idle seconds)}}, and the service lines."""
    if size:
        with open(path, "rb", buffering=0) as file:
            text = b"".join(iter(lambda: file.read(size), b"")).decode()
    else:
        with open(path) as file:
            text = file.read()
    services, lines, here = {}, [], None
    for line in text.splitlines():
        if line.startswith("  "):
            destination, server, idle = line.split()
            assert destination not in services[here], f"{destination} appears twice"
            services[here][destination] = (server, int(idle))
        else:
            here = line.split(" entries")[0]
            lines.append(line)
            services[here] = {}
    return services, lines


def servers(shown):
    """{destination: server}"""
    return {destination: server for destination, (server, _) in shown.items()}


@case
def every_destination_is_shown_with_its_server_and_age():
    lab.service()
    asked = {key(n): lab.ask(key(n)) for n in range(300)}
    wait_until(lambda: " buckets 4096 " in read()[1][0], "the table has grown")
    time.sleep(1.1)
    lab.ask(key(0))
    for size in (None, 100):
        services, lines = read(size=size)
        eq(lines, ["FWM 1 entries 300 buckets 4096 max 262144 expiration 86400 bytes 51968"])
        shown = services["FWM 1"]
        eq(servers(shown), {name: f"{lab.address(server)}:0" for name, server in asked.items()})
        assert shown[key(0)][1] < shown[key(1)][1], (shown[key(0)], shown[key(1)])


@case
def services_of_all_kinds():
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    lab.service(service=f"-u {VIP}:80", port=80, how="-m")
    lab.service(service=f"-t [{VIP6}]:80", ipv6=True, port=80, how="-m")
    lab.service(mark=2, ipv6=True)
    server = lab.ask(VIP6)
    sysctl("net/ipv4/vs/lblc_expiration", 60)
    services, lines = read()
    sysctl("net/ipv4/vs/lblc_expiration", 86400)
    eq(list(services), [f"TCP {VIP}:80", f"UDP {VIP}:80", f"TCP [{VIP6}]:80", "FWM6 2"])
    assert all(" expiration 60 " in line for line in lines), lines
    eq(servers(services[f"TCP [{VIP6}]:80"]), {VIP6: f"{lab.address(server, True)}:80"})


@case
def a_service_with_another_scheduler_is_not_shown():
    lab.service()
    lab.service("rr", mark=2)
    eq(list(read()[0]), ["FWM 1"])
    run("ipvsadm -E -f 1 -s wlc")
    eq(read()[0], {})


@case
def a_replaced_server_is_shown():
    lab.service(weights={"s1": 10})
    eq(lab.ask(key(1)), "s1")
    lab.ipvs(lab.server("-a", "s2", 10), lab.server("-e", "s1", 0))
    eq(lab.ask(key(1)), "s2")
    eq(servers(read()[0]["FWM 1"]), {key(1): f"{lab.address('s2')}:0"})


@case
def only_root_of_this_namespace_can_read_it():
    lab.service()
    lab.ask(key(1))
    eq(os.stat(FILE).st_mode & 0o777, 0o400)
    denied = subprocess.run(["setpriv", "--reuid", "1000", "--clear-groups", "cat", FILE],
                            capture_output=True, text=True)
    eq((denied.returncode, denied.stdout), (1, ""), "status and output of cat as uid 1000")
    with inside("client"):
        eq(read()[0], {})


@case
def entries_that_stay_are_shown_exactly_once_under_churn():
    lab.service(options="-o")
    lab.service(options="-o", mark=2)
    stay = {key(n) for n in range(500)}
    lacks(lab.send(sorted(stay)), None)
    stop, seen = threading.Event(), Counter()

    def reader():
        while not stop.is_set():
            services, _ = read(size=500)  # fails if an entry is there twice
            eq(stay - set(services["FWM 1"]), set(), "the entries that were left out")
            seen["reads"] += 1

    failed = []
    thread = threading.Thread(target=lambda: failed.append(guard(reader)))
    thread.start()
    try:
        for turn in range(6):
            lab.send([key(n) for n in range(1000 + turn * 500, 1500 + turn * 500)])
            lab.ipvs(lab.server("-e", "s1", turn % 2))
            run("ipvsadm -D -f 2")
            lab.service(options="-o", mark=2)
        wait_until(lambda: seen["reads"] >= 5 or not thread.is_alive(), "five whole reads")
    finally:
        stop.set()
        thread.join()
    assert failed == [None], failed


def guard(work):
    """Runs `work`; returns the exception that it raises or None."""
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@case
def an_open_file_outlives_its_service_and_the_module():
    lab.service()
    for n in range(200):
        lab.ask(key(n))
    with open(FILE, "rb", buffering=0) as file:
        ne(file.read(100), b"")
        lab.clear()
        lacks(file.read(1 << 16), b"FWM")
        run("rmmod ip_vs_lblc_rs")
        try:
            left = file.read(100)
        except OSError:
            left = b""
        eq(left, b"")
    assert not os.path.exists(FILE), f"{FILE} is still there"


main(lab)
