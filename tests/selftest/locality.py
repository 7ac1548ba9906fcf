#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Destinations stay on their servers, with every kind of service."""

from collections import Counter

from harness import case, eq, has, lacks, main, ne, run, wait_until
from lab import PORTS, VIP, VIP6, Lab, key

lab = Lab()


def ask_all(keys, **more):
    return [lab.ask(address, **more) for address in keys]


@case
def locality_200_destinations_three_rounds():
    lab.service()
    keys = [key(n) for n in range(200)]
    first = ask_all(keys)
    assert None not in first and set(first) == set(lab.names), Counter(first)
    eq(ask_all(keys), first)
    eq(ask_all(reversed(keys)), first[::-1])


@case
def spread_by_weight():
    lab.service(weights={"s1": 100, "s2": 200, "s3": 300, "s4": 400})
    held = [lab.hold(key(n))[0].server for n in range(100)]
    share = Counter(held)
    for name, expected in {"s1": 10, "s2": 20, "s3": 30, "s4": 40}.items():
        assert abs(share[name] - expected) <= 1, share


@case
def two_services_with_the_same_destinations_are_independent():
    lab.service(weights={"s1": 10, "s2": 10}, mark=1)
    lab.service(weights={"s3": 10, "s4": 10}, mark=2)
    keys = [key(n) for n in range(20)]
    one, two = ask_all(keys, port=PORTS[0]), ask_all(keys, port=PORTS[1])
    assert set(one) == {"s1", "s2"} and set(two) == {"s3", "s4"}, (one, two)
    eq(ask_all(keys, port=PORTS[0]), one)
    eq(ask_all(keys, port=PORTS[1]), two)


@case
def one_vip_is_one_destination():
    service = lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    eq(len({lab.ask(VIP) for _ in range(20)}), 1)
    server = lab.ask(VIP)
    lab.ipvs(lab.server("-e", server, 0, service, port=80, how="-m"))
    other = lab.ask(VIP)
    lacks((None, server), other)
    eq({lab.ask(VIP) for _ in range(5)}, {other})


@case
def nat():
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    eq(len({lab.ask(VIP) for _ in range(10)}), 1)


@case
def direct_routing():
    lab.service(how="-g")
    eq(ask_all([key(1)] * 5), [lab.ask(key(1))] * 5)


@case
def tunnel():
    run("modprobe ipip")
    for name in lab.names:
        run(f"ip -n {name} link set tunl0 up")
        run(f"ip netns exec {name} sysctl -qw net.ipv4.conf.tunl0.rp_filter=0")
    lab.service(how="-i")
    keys = [key(n) for n in range(8)]
    first = ask_all(keys)
    assert None not in first and len(set(first)) == 4, first
    eq(ask_all(keys), first)


@case
def ipv6_fwmark():
    lab.service(ipv6=True)
    keys = [key(n, ipv6=True) for n in range(40)]
    first = ask_all(keys)
    assert set(first) == set(lab.names), Counter(first)
    eq(ask_all(keys), first)


@case
def ipv6_vip():
    lab.service(service=f"-t [{VIP6}]:80", ipv6=True, port=80, how="-m")
    eq(len({lab.ask(VIP6) for _ in range(10)}), 1)


@case
def ipv6_addresses_with_swapped_halves_are_two_keys():
    lab.service(ipv6=True, weights={"s1": 10, "s2": 10})
    one, two = "fd00:d::1:2", "fd00:d::2:1"
    first = lab.hold(one)[0].server
    ne(lab.hold(two)[0].server, first)
    eq((lab.ask(one), lab.ask(two)), (first, {"s1": "s2", "s2": "s1"}[first]))


@case
def udp():
    lab.service()
    keys = [key(n) for n in range(40)]
    first = lab.send(keys)
    assert set(first) == set(lab.names), Counter(first)
    eq(lab.send(keys), first)


@case
def udp_one_packet_scheduling():
    lab.service(options="-o")
    keys = [key(n) for n in range(40)]
    first = lab.send(keys)
    lacks(first, None)
    for _ in range(3):
        eq(lab.send(keys), first)
    # Every packet was scheduled, and none left a connection.
    eq({counts[1:] for counts in lab.counters().values()}, {(0, 0)}, "active and inactive connections")


@case
def sctp():
    lab.service(how="-m")
    keys = [key(n) for n in range(8)]
    first = ask_all(keys, protocol="sctp")
    assert None not in first and len(set(first)) == 4, first
    eq(ask_all(keys, protocol="sctp"), first)


@case
def persistence_comes_before_the_scheduler():
    lab.service(options="-p 300")
    eq(len({lab.ask(key(n)) for n in range(20)}), 1)  # one client, one server


@case
def service_deleted_with_live_entries():
    for _ in range(3):
        lab.service()
        lacks(ask_all([key(n) for n in range(50)]), None)
        run("ipvsadm -D -f 1")


@case
def services_flushed_with_live_entries():
    lab.service(mark=1)
    lab.service(mark=2)
    for port in PORTS:
        lacks(ask_all([key(n) for n in range(50)], port=port), None)
    run("ipvsadm -C")
    eq(lab.ask(key(1), timeout=0.3), None)


@case
def save_and_restore():
    lab.service(weights={"s1": 10, "s2": 20})
    saved = run("ipvsadm-save -n")
    assert "-s lblc_rs" in saved, saved
    run("ipvsadm -C")
    run(["ipvsadm-restore"], input=saved + "\n")
    eq(run("ipvsadm-save -n"), saved)
    server = lab.ask(key(7))
    has(("s1", "s2"), server)
    eq(lab.ask(key(7)), server)


@case
def nothing_is_scheduled_without_servers():
    run("ipvsadm -A -f 1 -s lblc_rs")
    eq(lab.ask(key(1), timeout=0.3), None)
    lab.ipvs(lab.server("-a", "s2", 1))
    wait_until(lambda: lab.ask(key(1)) == "s2", "the first server serves")


main(lab)
