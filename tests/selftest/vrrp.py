#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""keepalived: two directors and the state that a backup takes over; the drop-in under a running
daemon. The network is drawn in vrrplab.py.
"""

import os
import time

import caches
from harness import SLOW, case, eq, ge, gt, has, lacks, loaded, main, run, unload_all
from lab import Traffic, inside, key, sysctl
from vrrplab import LONG, SAMPLES, Pair

TABLE = "/proc/thread-self/net/ip_vs_lblc_rs"
NATIVE = "deb" not in os.uname().release    # Debian's kernels run in QEMU, perhaps without KVM

lab = Pair()


def active(director):
    """{server: active connections}"""
    with inside(director):
        return {name: count for name, (_, count, _) in lab.counters().items()}


def weights(director):
    with inside(director):
        return {weight for weight, _, _ in lab.counters().values()}


def weights_of(director):
    """{server: weight}"""
    with inside(director):
        return {name: weight for name, (weight, _, _) in lab.counters().items()}


def table(director):
    """{destination: server} from the table of a director."""
    with inside(director), open(TABLE) as file:
        lines = [line.split() for line in file if line.startswith("  ")]
    by_address = {lab.address(name): name for name in lab.names}
    return {line[0]: by_address[line[1].split(":")[0]] for line in lines}


def counters(director):
    """The sum of the module's counters on a director."""
    with inside(director), open(TABLE + "_stats") as file:
        return sum(int(word) for word in file.readline().split()[3::2])


def drop_in():
    unload_all()
    run("modprobe ip_vs_lblc_rs dropin=1")


@case
def connections_go_on_through_the_backup():
    drop_in()
    master, backup = lab.pair()
    lab.open([key(n) for n in range(1000, 1030)])
    lab.copied(backup)
    eq(active(master), {"s1": 10, "s2": 10, "s3": 10})
    eq(active(backup), active(master))  # the load is copied with the connections
    with Traffic() as traffic:
        traffic.flows()
        lab.fail_over(master, backup)
        lab.hear()
        traffic.flows()
    lab.tell()
    lab.hear()
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"})


def all_on_s1(master):
    """Makes the master send nine destinations to s1; by load alone they would be spread. Returns them."""
    addresses = [key(n) for n in range(9)]
    with inside(master):
        lab.ipvs(*(lab.server("-e", name, 0) for name in ("s2", "s3")))
    eq(lab.open(addresses), dict.fromkeys(addresses, "s1"))
    with inside(master):
        lab.ipvs(*(lab.server("-e", name, 1000) for name in ("s2", "s3")))
    eq([lab.ask(address) for address in addresses], ["s1"] * 9)
    return addresses


@case
def the_table_is_not_copied_but_learned_anew():
    drop_in()
    master, backup = lab.pair()
    addresses = all_on_s1(master)
    with inside(master):
        sysctl("net/ipv4/vs/lblc_expiration", 3600)
    lab.copied(backup)
    gt(counters(master), 0)
    eq(counters(backup), 0)
    with inside(backup):
        eq(sysctl("net/ipv4/vs/lblc_expiration"), "86400")
    eq(table(master), dict.fromkeys(addresses, "s1"))
    eq(table(backup), {})  # connections are copied, the table is not
    lab.fail_over(master, backup)
    lab.hear()
    eq(table(backup), {})  # established connections are not scheduled
    # s1 has the most connections now, so unknown destinations go to the others.
    learned = {address: lab.ask(address, timeout=LONG) for address in addresses}
    assert set(learned.values()) == {"s2", "s3"}, learned
    eq(table(backup), learned)
    eq({address: lab.ask(address) for address in addresses}, learned)
    lab.tell()
    lab.hear()


@case
def cs_table_is_not_copied_either():
    unload_all()
    master, backup = lab.pair()
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc"})
    addresses = all_on_s1(master)
    lab.copied(backup)
    lab.fail_over(master, backup)
    lab.hear()
    eq({lab.ask(address, timeout=LONG) for address in addresses}, {"s2", "s3"})


def kept(addresses, **changes):
    """The number of destinations that keep their server when the master dies under traffic."""
    master, backup = lab.pair(**changes)
    with Traffic() as traffic:
        before = {address: lab.ask(address) for address in addresses}
        traffic.flows()
        lab.fail_over(master, backup)
        after = {address: lab.ask(address, timeout=LONG) for address in addresses}
        traffic.flows()
    lab.clear()
    lacks([*before.values(), *after.values()], None)
    return sum(after[address] == before[address] for address in addresses)


@case
def with_flag_2_a_backup_sends_destinations_where_the_master_did():
    drop_in()
    addresses = [key(n) for n in range(1000, 1200)]
    without, with_it = kept(addresses), kept(addresses, **{"# flag-2": "flag-2"})
    print(f"# of {len(addresses)} destinations, {without} keep their server; with flag-2, {with_it}")
    assert with_it >= 190, f"{with_it} of 200"
    assert without < 190, f"{without} of 200 even without the flag: the case shows nothing"


class Farm:
    """Real caches on port 8080 of the servers, and clients that ask for a third more sites than the
    caches hold."""

    PORT = 8080

    def __init__(self):
        self.pages, self.requests = (2, 1000) if NATIVE else (1, 300)
        lab.host("origin", "10.0.3.1")
        self.nginx = [caches.origin()]
        self.nginx += [caches.cache(name, self.pages, "10.0.3.1", self.PORT) for name in lab.names]
        for one in self.nginx:
            one.ready()

    def hits(self, path, **changes):
        """The hit ratios of the same requests before the master dies, and directly after it."""
        master, backup = lab.pair(**changes)
        sites = len(lab.names) * caches.room(self.pages) * 4 // 3
        clients = caches.Clients("client", ["10.0.1.2"], sites, stay=100, seed=1, port=self.PORT)
        requests = clients.draw(self.requests)
        clients.ask(requests, path)
        before = clients.ask(requests, path)
        lab.fail_over(master, backup)
        after = clients.ask(requests, path)
        clients.end()
        lab.clear()
        moved, known = after.moved(before)
        print(f"# {path}: {before.hit_ratio:.1f} % hits of {self.requests} requests before, "
              f"{after.hit_ratio:.1f} % after the takeover; {moved} of {known} sites moved")
        return before.hit_ratio, after.hit_ratio

    def end(self):
        for one in self.nginx:
            one.end()


@case
def with_flag_2_the_caches_hit_as_often_after_a_takeover():
    drop_in()
    farm = Farm()
    try:
        before, after = farm.hits("/without")
        # Otherwise this case shows nothing.
        gt(before - after, 5, "the loss of hits without flag-2")
        before, after = farm.hits("/with", **{"# flag-2": "flag-2"})
        ge(after, before - 1, f"hits after the takeover, {before:.1f} before")
    finally:
        farm.end()


BRIEF = 5   # seconds: an answer takes milliseconds, after the retransmission of what the master lost


def alive(connections, seconds):
    """Which of the connections are answered by their servers within that time, as booleans."""
    end = time.monotonic() + seconds * SLOW
    found = []
    for connection in connections:
        connection.sock.settimeout(max(end - time.monotonic(), 0.01))
        try:
            found.append(connection.sock.recv(64).decode().strip() == connection.server)
        except OSError:
            found.append(False)
    return found


def survive(sloppy, **changes):
    """The number of connections that survive a takeover without sync daemons, of 30; and of 10 whose
    destinations the master had moved."""
    master, backup = lab.pair(synced=False, **changes)
    with inside(backup):
        sysctl("net/ipv4/vs/sloppy_tcp", sloppy)
    # While only s1 takes new destinations, the master learns some that another director would send
    # to other servers.
    moved, stayed = [key(n) for n in range(2000, 2010)], [key(n) for n in range(1000, 1030)]
    with inside(master):
        lab.ipvs(*(lab.server("-e", name, 0) for name in ("s2", "s3")))
    eq(lab.open(moved), dict.fromkeys(moved, "s1"))
    with inside(master):
        lab.ipvs(*(lab.server("-e", name, 1000) for name in ("s2", "s3")))
    lacks(lab.open(stayed).values(), None)
    lab.fail_over(master, backup)
    # Only with both settings all are expected to survive; a connection that does not is never answered.
    alive_stayed = alive(lab.conns[len(moved):], LONG if sloppy and changes else BRIEF)
    alive_moved = alive(lab.conns[:len(moved)], BRIEF)
    lab.clear()
    return sum(alive_stayed), sum(alive_moved)


@case
def with_sloppy_tcp_and_flag_2_connections_survive_without_a_sync_daemon():
    drop_in()
    flag = {"# flag-2": "flag-2"}
    found = {(sloppy, bool(more)): survive(sloppy, **more)
             for sloppy, more in ((1, flag), (1, {}), (0, flag))}
    for (sloppy, with_flag), (others, moved) in found.items():
        print(f"# sloppy_tcp={sloppy}, {'with' if with_flag else 'without'} flag-2: {others} of 30 "
              f"survive, and {moved} of 10 whose destinations had moved")
    eq(found[1, True][0], 30, "connections that survive with flag-2")
    gt(10, found[1, True][1], "those whose destinations had moved")
    gt(25, found[1, False][0], "connections that survive without flag-2")
    eq(found[0, True], (0, 0), "connections that survive without sloppy_tcp")


@case
def a_warm_backup_keeps_destinations():
    """The command of the sample, as it stands there, with the other director's namespace for ssh."""
    drop_in()
    with open(SAMPLES + "/lblc-backup.service") as file:
        command = file.read().split("ExecStart=")[1].strip().replace(" ssh ", " ip netns exec ")
    master, backup = lab.pair()
    addresses = [key(n) for n in range(1000, 1200)]
    with Traffic() as traffic:
        before = {address: lab.ask(address) for address in addresses}
        for _ in range(2):
            run(f"ip netns exec {master} {command.replace('backup', backup)}")
        traffic.flows()
        lab.fail_over(master, backup)
        after = {address: lab.ask(address, timeout=LONG) for address in addresses}
    lacks([*before.values(), *after.values()], None)
    moved = [address for address in addresses if after[address] != before[address]]
    print(f"# of {len(addresses)} destinations, {len(addresses) - len(moved)} keep their server")
    assert len(moved) <= 2, moved


@case
def a_running_keepalived_is_switched_over():
    unload_all()
    director = "d1"
    daemon = lab.director(director)
    lab.wait(lambda: lab.role(director) == "master" and lab.ready(director), "a director")
    addresses = [key(n) for n in range(9)]
    lab.open(addresses)
    try:
        with Traffic() as traffic, inside(director):
            traffic.flows()
            # The steps of docs/keepalived.md.
            run(f"cp {SAMPLES}/ip_vs_lblc_rs-dropin.conf /etc/modprobe.d/")
            run("ipvsadm -E -f 1 -s wlc")
            run("rmmod ip_vs_lblc")
            run("ipvsadm -E -f 1 -s lblc")
            traffic.flows()
    finally:
        os.remove("/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf")
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"})
    lab.tell()
    lab.hear()
    learned = {address: lab.ask(address) for address in addresses}
    known = table(director)
    eq(learned.items() - known.items(), set(), "destinations that d1 does not know")
    # A reload that changes weights keeps the service and its table.
    daemon.reload("weight 1000", "weight 500")
    lab.wait(lambda: weights(director) == {500}, "keepalived changes the weights")
    eq(table(director), known)


@case
def a_dead_server_loses_its_destinations():
    drop_in()
    lab.director("d1", **{"delay_loop 5": "delay_loop 1", "connect_timeout 3": f"connect_timeout {5 * SLOW}"})
    lab.wait(lambda: lab.role("d1") == "master" and lab.ready("d1"), "a director")
    addresses = all_on_s1("d1")
    with inside("s1"):
        run("nft add table inet dead")
        run("nft 'add chain inet dead drops { type filter hook input priority 0; policy drop; }'")
    lab.wait(lambda: "s1" not in weights_of("d1"), "keepalived takes s1 out")
    eq({lab.ask(address, timeout=LONG) for address in addresses[:5]} - {"s2", "s3"}, set(), "servers not expected")
    with inside("s1"):
        run("nft delete table inet dead")
    lab.wait(lambda: "s1" in weights_of("d1"), "keepalived takes s1 back")
    # As docs/keepalived.md says: destinations that were used meanwhile have moved, the others go to s1 again.
    eq({lab.ask(address, timeout=LONG) for address in addresses[:5]} - {"s2", "s3"}, set(), "servers not expected")
    eq([lab.ask(address, timeout=LONG) for address in addresses[5:]], ["s1"] * 4)


@case
def keepalived_takes_the_flags_but_not_the_name():
    drop_in()
    lab.director("d1", **{"# flag-1": "flag-1", "# flag-2": "flag-2"})
    lab.wait(lambda: lab.ready("d1"), "a director")
    has(run("ip netns exec d1 ipvsadm -S -n"), "-s lblc -b flag-1,flag-2")
    lab.clear()
    daemon = lab.director("d1", **{"lb_algo lblc": "lb_algo lblc_rs"})
    lab.wait(lambda: lab.ready("d1"), "a director")
    has(run("ip netns exec d1 ipvsadm -S -n"), "-s wlc")
    has(daemon.said(), "Invalid lvs_scheduler 'lblc_rs' - ignoring")


main(lab)
