#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The commands of the manual page and the documents, run as they stand there."""

import contextlib
import os
import socket
import threading

from documents import blocks, director, follow, without_marks
from harness import case, commands, eq, has, loaded, main, ne, run, unload_all, wait_until
from lab import KEEP, Lab, Traffic, inside, key, sysctl
from lblcctl import NEWER, installed, newer, version

lab = Lab(servers=2)
DAILY = "docs/daily-work.md"
DROPIN = "/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf"
IP_TRANSPARENT = 19


def keeps(ipv6=False):
    """Asserts that destinations are spread over the servers, and that each keeps its server."""
    first = [lab.ask(key(n, ipv6)) for n in range(20)]
    assert set(first) == set(lab.names), first
    eq([lab.ask(key(n, ipv6)) for n in range(20)], first)


def goes_on(held):
    """Asserts that a connection still reaches its server, which closes it when the client does."""
    held.sock.shutdown(socket.SHUT_WR)
    eq(held.sock.recv(16), b"")


@case
def why_a_destination_moved():
    lab.service()
    ne(lab.ask("198.18.0.7"), None)
    for command in commands("Why a destination moved"):
        assert run(command), f"{command} prints nothing"


@case
def a_shorter_memory():
    run("modprobe ip_vs_lblc_rs")
    for command in commands("A shorter memory"):
        run(command)
    eq(sysctl("net/ipv4/vs/lblc_expiration"), "3600")


@case
def with_weight_1_the_third_connection_leaves():
    """README.md and the manual page, about weights."""
    lab.service(weights={"s1": 1, "s2": 1})
    (first,) = lab.hold(key(1))
    (second,) = lab.hold(key(1))
    (third,) = lab.hold(key(1))
    assert first.server == second.server != third.server, (first.server, second.server, third.server)


@case
def half_open_connections_count():
    """The manual page, about flag-1: TCP connections are active from their first packet on."""
    lab.service(weights={"s1": 1})
    eq(lab.ask(key(1)), "s1")
    with inside("s1"):
        run("nft add table inet dead")
        run("nft 'add chain inet dead drops { type filter hook input priority 0; policy drop; }'")
    try:
        for _ in range(2):
            eq(lab.connect(key(1), timeout=0.1).server, None)
        eq(lab.counters()["s1"][1], 2)
        lab.ipvs(lab.server("-a", "s2", 1000))
        eq(lab.ask(key(1)), "s2")
    finally:
        with inside("s1"):
            run("nft delete table inet dead")


@case
def flag_1_has_no_effect_with_one_packet_scheduling():
    """README.md and the manual page, about -o."""
    for options, servers in (("-b flag-1", {"s1", "s2"}), ("-o -b flag-1", {"s1"})):
        lab.clear()
        lab.service(weights={"s1": 1}, options=options)
        eq(lab.send([key(1)]), ["s1"])
        lab.ipvs(lab.server("-a", "s2", 1000))
        got = {server for _ in range(9) for server in lab.send([key(1)])}
        assert got == servers, (options, got)


def names():
    """(those of lblc and lblc_rs that a service can have now, the modules that are loaded for it)"""
    can = []
    for scheduler in ("lblc", "lblc_rs"):
        if not run(f"ipvsadm -A -f 7 -s {scheduler}", check=False).returncode:
            run("ipvsadm -D -f 7")
            can.append(scheduler)
    return can, loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}


def remove_sample():
    with contextlib.suppress(FileNotFoundError):
        os.remove(DROPIN)


@case
def with_the_dropin_c_is_used_where_ours_is_not_built():
    sample = blocks("docs/keepalived.md", "A new director")[0]
    ours = run("modinfo -n ip_vs_lblc_rs")
    unload_all()
    try:
        follow(sample)
        eq(names(), (["lblc", "lblc_rs"], {"ip_vs_lblc_rs"}))
        unload_all()
        # A kernel for which our module was not built, or was removed, or whose file is broken.
        os.rename(ours, ours + ".away")
        eq(names(), (["lblc"], {"ip_vs_lblc"}))
        unload_all()
        with open(ours, "w") as file:
            file.write("no module")
        eq(names(), (["lblc"], {"ip_vs_lblc"}))
        os.unlink(ours)
        os.rename(ours + ".away", ours)
        # C's module has the name, and keeps it until it is unloaded.
        eq(names(), (["lblc"], {"ip_vs_lblc"}))
        unload_all()
        eq(names(), (["lblc", "lblc_rs"], {"ip_vs_lblc_rs"}))
    finally:
        if os.path.exists(ours + ".away"):
            os.rename(ours + ".away", ours)
        remove_sample()
        unload_all()


@case
def a_running_director_changes_to_the_dropin():
    """From the scheduler lblc_rs of README.md to the name that keepalived knows; connections go on."""
    unload_all()
    director()
    try:
        with Traffic() as traffic:
            traffic.flows()
            (held,) = lab.hold(key(200))
            eq(names(), (["lblc_rs"], {"ip_vs_lblc_rs"}))
            follow(blocks("docs/keepalived.md", "A director that runs with lblc_rs")[0])
            traffic.flows()
            eq(names(), (["lblc", "lblc_rs"], {"ip_vs_lblc_rs"}))
            has(run("ipvsadm -S -n"), "-A -f 1 -s lblc\n")
            goes_on(held)
    finally:
        remove_sample()
        lab.clear()
        unload_all()


@case
def a_dash_in_the_name_loads_the_module_and_fails():
    """DIAGNOSTICS of the manual page."""
    unload_all()
    done = run("ipvsadm -A -f 7 -s lblc-rs", check=False)
    assert done.returncode and "Scheduler or persistence engine not found" in done.stderr, done
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"})


@case
def a_transparent_cache():
    without_marks()
    for command in commands("A transparent cache"):
        run(command)
    has(loaded(), "ip_vs_lblc_rs")
    keeps()


@case
def the_readmes_transparent_cache():
    without_marks()
    four, six = blocks("README.md", "The director")
    routes = blocks("README.md", "Each cache")[0]
    here = [("", "198.18.0.0/15"), ("-6", "fd00:d::/64")]
    for listener in lab.servers.selector.get_map().values():
        listener.fileobj.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    for name in lab.names:
        with inside(name):
            for family, network in here:
                run(f"ip {family} route del local {network} dev lo table local")
    follow(four)
    eq(lab.ask(key(1), timeout=1), None)  # the caches take no packets for foreign addresses yet
    try:
        for name in lab.names:
            with inside(name):
                follow(routes)
        keeps()
        with Traffic() as traffic:
            wait_until(lambda: traffic.served > 60, "each destination is known", 60)
            has(follow(blocks("README.md", "Is it working?")[0]), "FWM 1: Locality works: ")
        follow(six)
        keeps(ipv6=True)
    finally:
        for name in lab.names:
            with inside(name):
                for family, network in here:
                    run(f"ip {family} route add local {network} dev lo")
                    run(f"ip {family} rule del iif eth0", check=False)
                    run(f"ip {family} route flush table 100", check=False)


@case
def a_server_is_taken_out_and_comes_back():
    director()
    (held,) = [it for it in (lab.hold(key(n))[0] for n in range(2)) if it.server == "s1"]
    drain = blocks(DAILY, "Take a server out")[0]
    waits = threading.Thread(target=follow, args=(drain,))
    waits.start()
    wait_until(lambda: lab.counters()["s1"][0] == 0, "the weight is 0")
    eq({lab.ask(key(n)) for n in range(20)}, {"s2"})
    assert waits.is_alive(), "a connection is open"
    lab.release([held])
    waits.join()
    follow(blocks(DAILY, "Bring it back")[0])
    eq(lab.counters()["s1"][0], 1000)
    eq({lab.ask(key(n)) for n in range(20)}, {"s2"})  # known destinations do not come back
    eq(lab.ask(key(100)), "s1")


@case
def all_destinations_are_forgotten():
    director()
    lab.ipvs(lab.server("-e", "s1", 0))
    eq({lab.ask(key(n)) for n in range(20)}, {"s2"})
    lab.ipvs(lab.server("-e", "s1", 1000))
    (held,) = lab.hold(key(1))
    sysctl(KEEP, 60)
    follow(blocks(DAILY, "Forget all destinations")[0])
    goes_on(held)
    has({lab.ask(key(n)) for n in range(20)}, "s1")


@case
def one_destination_is_pinned():
    director()
    lab.ipvs(lab.server("-e", "s2", 0))
    eq(lab.ask("198.18.0.7"), "s1")
    follow(blocks(DAILY, "Move or pin one destination")[0])
    eq([lab.ask("198.18.0.7") for _ in range(9)], ["s2"] * 9)
    eq(lab.ask("198.18.0.8"), "s1")


@case
def services_outlive_a_reboot():
    director()
    save, restore = blocks(DAILY, "Before a reboot")
    before = run("ipvsadm -S -n")
    follow(save)
    run("ipvsadm -C")
    unload_all()
    follow(restore)
    eq(sorted(run("ipvsadm -S -n").splitlines()), sorted(before.splitlines()))
    has(loaded(), "ip_vs_lblc_rs")
    keeps()


@case
def another_version_is_loaded_under_traffic():
    director()
    born = os.stat("/sys/module/ip_vs_lblc_rs").st_ino
    with Traffic() as traffic:
        traffic.flows()
        (held,) = lab.hold(key(200))
        with installed(newer):
            follow(blocks(DAILY, "Another version of the module")[0])
        traffic.flows()
        goes_on(held)
    eq(version(), NEWER)
    ne(os.stat("/sys/module/ip_vs_lblc_rs").st_ino, born)


main(lab)
