#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The defense levels of IPVS, for when memory is short, and its estimators: the same steps on -s lblc and on
-s lblc_rs must give the same answers."""

import contextlib
import socket
from pathlib import Path

from both import (VS, all_counted, connections, counted, fresh_port, lab, mark, netlink, on_both, server, servers_of,
                  whole)
from counted import conns
from harness import eq, lacks, main, wait_until
from ipvs_netlink import address
from lab import inside, key, sysctl


@contextlib.contextmanager
def little_memory(enough=False):
    """Sets amemthresh so that IPVS considers memory short, or not, independent of the machine's memory."""
    before = sysctl(VS + "amemthresh")
    sysctl(VS + "amemthresh", 0 if enough else 2 ** 31 - 1)
    try:
        yield
    finally:
        sysctl(VS + "amemthresh", before)


def half_open(count):
    """Opens connections that no server answers; returns the set of their states."""
    before, socks = conns(), []
    for n in range(count):
        with inside("client"):
            socks.append(socket.socket())
        socks[n].setblocking(False)
        socks[n].connect_ex((key(n), 80))
    # conns() includes connections that the defense has dropped meanwhile, as it may on a slow machine.
    wait_until(lambda: conns() >= before + count, "the director has scheduled the connections")
    for sock in socks:
        sock.close()
    return {words[7] for words in lab.table()}


def silent_service(scheduler):
    netlink.call("NEW_SERVICE", service=whole(mark(1), scheduler))
    netlink.call("NEW_DEST", service=mark(1), dest=server("s1") | {"addr": address("10.0.11.77")})


def still_serving(scheduler):
    lab.service(scheduler, mark=2)
    return lab.ask(key(1), port=81) in lab.names


def all_modes(name):
    """Sets each mode of a defense level in turn; yields whether it is active."""
    sysctl(VS + name, 1)
    eq(sysctl(VS + name), "1")
    yield False
    with little_memory():
        sysctl(VS + name, 0)
        sysctl(VS + name, 1)
        eq(sysctl(VS + name), "2")
        yield True
        with little_memory(enough=True):
            wait_until(lambda: sysctl(VS + name) == "1", "the defense notices that there is enough memory")
            yield False
    sysctl(VS + name, 3)
    yield True
    sysctl(VS + name, 0)
    yield False


@on_both
def drop_entry(scheduler):
    for defends in all_modes("drop_entry"):
        silent_service(scheduler)
        yield half_open(300)
        if defends:
            wait_until(lambda: lab.table_size() < 300, "some connections are dropped")
        yield sysctl(VS + "drop_entry")
        before = sysctl(VS + "drop_entry")
        sysctl(VS + "drop_entry", 0)
        wait_until(lambda: sum(connections()[0][2:4]) == lab.table_size(),
                   "the server's counters equal the number of connections")
        yield still_serving(scheduler)
        lab.clear()
        sysctl(VS + "drop_entry", before)


@on_both
def drop_packet(scheduler):
    sysctl(VS + "am_droprate", 2)
    for defends in all_modes("drop_packet"):
        lab.service(scheduler)
        with inside("client"):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with lab.servers.arrived:
            lab.servers.datagrams.clear()
        for n in range(20):
            sock.sendto(b"some", (key(n), 80))
        yield defends, sysctl(VS + "drop_packet")
        before = sysctl(VS + "drop_packet")
        sysctl(VS + "drop_packet", 0)
        sock.sendto(b"last", (key(100), 80))
        wait_until(lambda: b"last" in [data for data, _ in lab.servers.datagrams], "the last datagram arrives")
        sock.close()
        yield lab.table_size() - 1, still_serving(scheduler)
        lab.clear()
        sysctl(VS + "drop_packet", before)
    sysctl(VS + "am_droprate", 10)


@on_both
def secure_tcp(scheduler):
    for defends in all_modes("secure_tcp"):
        silent_service(scheduler)
        states = half_open(10)
        assert states == {"SYNACK" if defends else "SYN_RECV"}, states
        yield sysctl(VS + "secure_tcp"), states, still_serving(scheduler)
        lab.clear()


def estimators():
    """The number of kernel threads that estimate rates."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            found += path.read_text().startswith("ipvs-e:")
        except OSError:
            pass
    return found


@on_both
def rates_are_estimated(scheduler):
    lab.service(scheduler, options="-o", weights={"s1": 1000}, port=fresh_port())
    for name, value in (("est_nice", "5"), ("est_cpulist", "0")):
        before = sysctl(VS + name)
        sysctl(VS + name, value)
        yield sysctl(VS + name)
        sysctl(VS + name, before)

    sent = 0

    def rates():
        nonlocal sent
        lacks(lab.send([key(n) for n in range(60)]), None)
        sent += 60
        everything = [netlink.call("GET_SERVICE", service=mark(1))[0]["service"], *servers_of(mark(1))]
        return all(it["stats64"][name] for it in everything for name in ("cps", "inpps", "inbps"))
    wait_until(rates, "no rate is 0")
    all_counted(sent)
    netlink.call("ZERO")
    yield counted(0), netlink.call("GET_SERVICE", service=mark(1))[0]["service"]["stats64"]
    sysctl(VS + "run_estimation", 0)
    wait_until(lambda: not estimators(), "the estimators stop")
    lacks(lab.send([key(n) for n in range(60)]), None)
    yield counted(0)
    sysctl(VS + "run_estimation", 1)
    yield all_counted(60)
    sysctl(VS + "est_nice", 0)


main(lab)
