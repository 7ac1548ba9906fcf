#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Parked tables: a service that comes back finds its table (net.ipv4.vs.lblc_rs_keep)."""

import subprocess

from counted import STATS, TABLE, numbers
from harness import SLOW, case, eq, ge, gt, has, lacks, load_both, main, ne, refuses, run, unload_all, wait_until
from lab import KEEP, VIP, VIP6, Lab, Traffic, key, sysctl
from parking import LEASE, keep, parked
from ynl import MARK, client, entries

lab = Lab()
KEYS = [key(n) for n in range(200)]

def learned():
    """Makes a service that schedules each datagram, and assigns every fourth one of KEYS to each server. Returns the
    servers of KEYS."""
    lab.service(options="-o", weights=dict.fromkeys(lab.names, 0))
    homes = [lab.names[n % len(lab.names)] for n in range(len(KEYS))]
    for one in lab.names:
        lab.ipvs(lab.server("-e", one, 1000))
        eq(set(lab.send([key for key, home in zip(KEYS, homes) if home == one])), {one})
        lab.ipvs(lab.server("-e", one, 0))
    lab.ipvs(*(lab.server("-e", one, 1000) for one in lab.names))
    return homes


def all_hit(homes, before):
    """Asserts that all keys keep their servers, and that each was a hit."""
    eq(lab.send(KEYS), homes, "the servers of the keys")
    after = numbers(STATS)
    eq((after["hits"] - before["hits"], after["unknown"]), (len(KEYS), before["unknown"]), "hits, and keys unknown")


@case
def a_service_that_returns_finds_its_table():
    """With C's scheduler it begins with an empty one, and so does ours with lblc_rs_keep 0."""
    load_both()
    for scheduler, seconds, kept in ("lblc", LEASE, False), ("lblc_rs", 0, False), ("lblc_rs", LEASE, True):
        keep(seconds)
        # The weights are such that another order of the servers leads to other choices.
        lab.service(scheduler, options="-o", weights={"s1": 1, "s2": 1, "s3": 1, "s4": 5})
        homes = lab.send(KEYS)
        lab.ipvs(*(lab.server("-e", one, 0) for one in ("s1", "s2", "s4")))
        homes[:50] = lab.send(KEYS[:50])
        eq(set(homes[:50]), {"s3"}, "the server of keys that had to move")
        run("ipvsadm -D -f 1")
        lab.service(scheduler, options="-o", weights={"s4": 5, "s3": 1, "s2": 1, "s1": 1})
        got = lab.send(KEYS)
        eq(got == homes, kept, f"whether {scheduler} with keep {seconds} kept all servers")
        run("ipvsadm -C")


@case
def counters_go_on():
    keep()
    homes = learned()
    before = numbers(STATS)
    run("ipvsadm -D -f 1")
    lab.service(options="-o")
    eq(numbers(STATS), before, "the counters")
    all_hit(homes, before)


@case
def a_flush_and_a_restore_lose_nothing():
    keep()
    homes = learned()
    lab.service(service=f"-t {VIP}:80", port=80)
    lab.service(service=f"-u [{VIP6}]:81", ipv6=True, port=80, how="-m")
    lab.service(mark=2, ipv6=True)
    asked = {address: lab.ask(address, port=port) for address, port in ((VIP, 80), (key(7, True), 81))}
    saved, before, found = run("ipvsadm -S -n"), numbers(STATS), entries()
    for _ in range(3):
        run("ipvsadm -C")
        eq(sorted(parked()), ["FWM 1", "FWM6 2", f"TCP {VIP}:80", f"UDP [{VIP6}]:81"])
        run("ipvsadm -R", input=saved + "\n")
        eq(parked(), {})
    for service, here in entries().items():
        eq({one: it["server-addr"] for one, it in here.items()},
           {one: it["server-addr"] for one, it in found[service].items()})
    all_hit(homes, before)
    eq({VIP: lab.ask(VIP), key(7, True): lab.ask(key(7, True), port=81)}, asked)


@case
def a_swap_to_wlc_and_back_under_traffic_loses_nothing():
    keep()
    homes = learned()
    lost = 0
    with Traffic() as traffic:
        traffic.flows()
        for scheduler in ("wlc", "rr", "none", "wlc"):
            before = numbers(STATS)
            run(f"ipvsadm -E -f 1 -o -s {scheduler}")
            if scheduler != "none":
                traffic.flows()
                lost += traffic.refused
                traffic.refused = 0
            run("ipvsadm -E -f 1 -o -s lblc_rs")
            ge(numbers(STATS)["hits"], before["hits"], "the hits")
            traffic.flows()
        traffic.refused = 0
        for _ in range(20):
            run("ipvsadm -E -f 1 -o -s wlc")
            run("ipvsadm -E -f 1 -o -s lblc_rs")
        traffic.flows()
        print(f"# {traffic.refused} connections were refused during 20 swaps, {traffic.served} served")
    eq(lab.send(KEYS), homes, "the servers of the keys")
    eq(numbers(STATS)["none"], 0, "the connections without a server")


@case
def only_the_same_service_finds_it():
    keep()
    learned()
    lab.service(service=f"-t {VIP}:80", port=80)
    run("ipvsadm -C")
    for service, more in ((f"-t {VIP}:81", {}), (f"-u {VIP}:80", {}), (f"-t [{VIP6}]:80", {"ipv6": True}),
                          ("-f 2", {}), ("-f 1 -6", {"ipv6": True})):
        lab.service(service=service, **more)
    eq(sorted(parked()), ["FWM 1", f"TCP {VIP}:80"])
    eq(entries(), {}, "the entries of the other services")
    gt(parked()["FWM 1"]["parked"], 0)
    lab.service()
    eq(list(parked()), [f"TCP {VIP}:80"])
    eq(len(entries()["FWM 1"]), len(KEYS))


@case
def flags_and_options_may_change():
    keep()
    homes = learned()
    for options in ("-o -b flag-1", "-o -b flag-2", "-o -p 300", "-o"):
        before = numbers(STATS)
        run("ipvsadm -D -f 1")
        lab.service(options=options)
        if "-p" not in options:
            all_hit(homes, before)
        eq(len(entries()["FWM 1"]), len(KEYS), f"the number of entries with {options}")


@case
def the_name_of_the_scheduler_may_change():
    unload_all()
    run("modprobe ip_vs_lblc_rs dropin=1")
    keep()
    homes = learned()
    for scheduler in ("lblc", "lblc_rs"):
        before = numbers(STATS)
        run(f"ipvsadm -E -f 1 -o -s {scheduler}")
        all_hit(homes, before)
    run("ipvsadm -D -f 1")
    before = dict(before, hits=before["hits"] + len(KEYS))
    lab.service("lblc", options="-o")
    all_hit(homes, before)
    run("ipvsadm -C")
    unload_all()


CONFIG = """
virtual_server fwmark 1 {{
    lb_algo lblc
    lb_kind DR
    protocol UDP
    ops
    {more}
    {servers}
}}
"""


class Keepalived:
    """keepalived with the servers of the lab, which it does not check, and another line."""

    def __init__(self, more):
        servers = "\n".join(f"real_server {lab.address(one)} {{\nweight 1000\n}}" for one in lab.names)
        with open("/tmp/park.conf", "w") as file:
            file.write(CONFIG.format(more=more, servers=servers))
        self.process = subprocess.Popen(
            ["keepalived", "--dont-fork", "--log-console", "--no-syslog", "--use-file=/tmp/park.conf",
             "--pid=/tmp/park.pid", "--checkers_pid=/tmp/park.checkers", "--vrrp_pid=/tmp/park.vrrp"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: run("ipvsadm -S -n").count("-a -f 1") == len(lab.names), "keepalived adds the servers", 60)

    def end(self):
        self.process.terminate()
        self.process.wait()
        eq(run("ipvsadm -S -n"), "", "the services after keepalived has ended")


@case
def keepalived_is_restarted_with_a_changed_option():
    unload_all()
    run("modprobe ip_vs_lblc_rs dropin=1")
    for seconds, kept in (0, 0), (LEASE, len(KEYS)):
        keep(seconds)
        keepalived = Keepalived("")
        lab.ipvs(*(lab.server("-e", one, 0) for one in lab.names))
        homes = [lab.names[n % len(lab.names)] for n in range(len(KEYS))]
        for one in lab.names:
            lab.ipvs(lab.server("-e", one, 1000))
            lab.send([key for key, home in zip(KEYS, homes) if home == one])
            lab.ipvs(lab.server("-e", one, 0))
        keepalived.end()
        keepalived = Keepalived("flag-2")
        has(run("ipvsadm -S -n"), "-b flag-2")
        got = lab.send(KEYS)
        eq(numbers(STATS)["unknown"], len(KEYS), f"the keys that were not known with keep {seconds}")
        eq(sum(one == home for one, home in zip(got, homes)) >= kept, True, f"whether {kept} keys keep their servers")
        keepalived.end()
    run("ipvsadm -C")
    unload_all()


@case
def servers_may_change_meanwhile():
    keep()
    homes = learned()
    run("ipvsadm -D -f 1")
    lab.service(options="-o", weights={"s4": 1000, "s3": 1000, "s2": 0})
    got = lab.send(KEYS)
    for one, home in zip(got, homes):
        eq(one, home) if home in ("s3", "s4") else has(("s3", "s4"), one)
    stats = numbers(STATS)
    eq((stats["unavailable"], stats["weight0"]), (homes.count("s1"), homes.count("s2")), "the reasons")
    # s1 comes back: nothing leads to it any more, and new keys do.
    lab.ipvs(lab.server("-a", "s1", 1000))
    eq(lab.send(KEYS), got)
    run("ipvsadm -D -f 1")
    lab.service(options="-o", weights={"s1": 1000})
    eq(set(lab.send(KEYS)), {"s1"})


@case
def a_service_that_returns_without_servers():
    keep()
    homes = learned()
    for _ in range(2):
        run("ipvsadm -D -f 1")
        run("ipvsadm -A -f 1 -s lblc_rs -o")
        ne(run("ipvsadm -L -n"), "")
        eq({it["removed"] for it in entries()["FWM 1"].values()}, {True})
    before = numbers(STATS)
    lab.ipvs(*(lab.server("-a", one, 1000) for one in reversed(lab.names)))
    all_hit(homes, before)


@case
def a_parked_table_is_shown_by_netlink_only():
    keep(100)
    learned()
    bound = client().do("service-get", {"service": MARK})
    run("ipvsadm -D -f 1")
    shown = parked()["FWM 1"]
    for what in ("entries", "buckets", "bytes", "max-entries", "counters"):
        eq(shown[what], bound[what], what)
    lacks(shown, "expiration")
    assert 100000 - 20000 * SLOW < shown["parked"] <= 100000, shown
    wait_until(lambda: parked()["FWM 1"]["parked"] < shown["parked"], "less time is left")
    for path in (TABLE, STATS):
        with open(path) as file:
            eq(file.read(), "", path)
    eq(entries(), {})
    # With more services than fit into one message.
    for mark in range(2, 150):
        run(f"ipvsadm -A -f {mark} -s lblc_rs")
    run("ipvsadm -C")
    eq(len(parked()), 149)


@case
def the_setting_has_bounds_and_is_per_netns():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    eq(sysctl(KEEP), "60", KEEP)
    for value in ("0", "1", "86400", "77"):
        sysctl(KEEP, value)
        eq(sysctl(KEEP), value, KEEP)
    refuses(sysctl, KEEP, ("-1", "x", "99999999999"))
    eq(run(f"ip netns exec s1 cat /proc/sys/{KEEP}"), "60")


@case
def it_ends_when_the_time_is_over():
    keep(2)
    learned()
    run("ipvsadm -D -f 1")
    eq(list(parked()), ["FWM 1"])
    wait_until(lambda: not parked(), "the parked table is freed")
    lab.service(options="-o")
    eq(entries(), {})
    # The present value of the sysctl counts, not the one at the time when the table was parked.
    for less, more in ((0, LEASE), (1, LEASE)):
        keep(more)
        lab.send(KEYS)
        run("ipvsadm -D -f 1")
        eq(list(parked()), ["FWM 1"])
        sysctl(KEEP, less)
        wait_until(lambda: not parked(), f"the parked table is freed after {less} s")
        lab.service(options="-o")
        eq(entries(), {})
    keep(0)
    run("ipvsadm -D -f 1")
    eq(parked(), {})


main(lab)
