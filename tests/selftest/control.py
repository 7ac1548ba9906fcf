#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Every command of the IPVS control interface, and the trash: the same steps on -s lblc and on -s lblc_rs must give
the same answers.

docs/control-plane.md has the table of commands and cases; the last case compares it with the commands that were
called.
"""

import re
import socket
from pathlib import Path

from both import (BACKUP, DIRECT, MASTER, NAT, ONE_PACKET, PERSISTENT, TUNNEL, all_counted, called, connections,
                  counted, dump, fresh_port, lab, mark, netlink, on_both, refused, server,
                  servers_of, sockopt, vip, whole)
from harness import case, cases, eq, lacks, main, ne, run, wait_until
from ipvs_netlink import COMMANDS, address
from ipvs_sockopt import DAEMON, EMPTY, GET, INFO, SET, TIMEOUT, VERSION_SIZE, daemon, dest, service
from lab import VIP, key

TABLE = Path(__file__).resolve().parents[2] / "docs/control-plane.md"


@on_both
def services_by_netlink(scheduler):
    kinds = [mark(1), mark(2, socket.AF_INET6), vip(), vip("udp", 81), vip("sctp", 80, True)]
    for number, kind in enumerate(kinds):
        netlink.call("NEW_SERVICE", service=whole(kind, scheduler))
        yield netlink.call("GET_SERVICE", service=kind)
        eq(len(dump()), number + 1)
    yield refused(netlink.call, "NEW_SERVICE", service=whole(mark(1), scheduler))
    yield refused(netlink.call, "NEW_SERVICE", service=mark(3))
    yield refused(netlink.call, "NEW_SERVICE", service=whole(mark(3), "none_such"))
    yield refused(netlink.call, "NEW_SERVICE", service=whole(mark(3) | {"af": 1}, scheduler))
    for change in ({"flags": PERSISTENT, "timeout": 300}, {"flags": ONE_PACKET}, {"flags": 0x38},
                   {"netmask": 64}):
        for kind in kinds:
            netlink.call("SET_SERVICE", service=whole(kind, scheduler, **change))
        yield dump()
    for other in ("rr", "none", scheduler):
        netlink.call("SET_SERVICE", service=whole(kinds[0], other))
        yield netlink.call("GET_SERVICE", service=kinds[0])
    yield refused(netlink.call, "SET_SERVICE", service=whole(mark(3), scheduler))
    yield refused(netlink.call, "SET_SERVICE", service=whole(kinds[0], "none_such"))
    yield netlink.call("GET_SERVICE", service=kinds[0])
    for kind in kinds:
        netlink.call("DEL_SERVICE", service=kind)
        yield refused(netlink.call, "GET_SERVICE", service=kind)
        yield refused(netlink.call, "DEL_SERVICE", service=kind)
    eq(dump(), [])


@on_both
def servers_by_netlink(scheduler):
    for kind, ipv6, method in ((mark(1), False, DIRECT), (vip(ipv6=True), True, NAT)):
        which = whole(kind, scheduler)
        netlink.call("NEW_SERVICE", service=which)
        more = {"method": method, "ipv6": ipv6, "port": 80 if method == NAT else 0}
        for name in lab.names:
            netlink.call("NEW_DEST", service=kind, dest=server(name, int(name[1:]), **more))
        yield dump()
        yield refused(netlink.call, "NEW_DEST", service=kind, dest=server("s1", **more))
        yield refused(netlink.call, "NEW_DEST", service=kind, dest=server("s9", -1, **more))
        yield refused(netlink.call, "NEW_DEST", service=kind, dest=server("s9", 1, 5, 6, **more))
        yield refused(netlink.call, "NEW_DEST", service=mark(9), dest=server("s1", **more))
        for weight, upper, lower in ((0, 0, 0), (2 ** 31 - 1, 2 ** 31 - 1, 1), (7, 100, 20)):
            netlink.call("SET_DEST", service=kind, dest=server("s1", weight, upper, lower, **more))
            yield servers_of(kind)
        yield refused(netlink.call, "SET_DEST", service=kind, dest=server("s9", **more))
        netlink.call("SET_DEST", service=kind, dest=server("s2", **more) | {
            "method": TUNNEL, "tun_type": 1, "tun_port": 6080, "tun_flags": 1})
        netlink.call("DEL_DEST", service=kind, dest=server("s3", **more))
        yield servers_of(kind)
        yield refused(netlink.call, "DEL_DEST", service=kind, dest=server("s3", **more))
        yield len(servers_of(kind))
    # Servers of the other address family need a tunnel.
    other = server("s4", method=TUNNEL, ipv6=True) | {"af": socket.AF_INET6}
    yield refused(netlink.call, "NEW_DEST", service=mark(1), dest=other | {"method": DIRECT})
    netlink.call("NEW_DEST", service=mark(1), dest=other)
    yield servers_of(mark(1))
    netlink.call("DEL_DEST", service=mark(1), dest=other)
    yield servers_of(mark(1))


@on_both
def services_by_sockopt(scheduler):
    kinds = [{"protocol": socket.IPPROTO_TCP, "fwmark": 1},
             {"protocol": socket.IPPROTO_TCP, "addr": VIP, "port": 80},
             {"protocol": socket.IPPROTO_UDP, "addr": VIP, "port": 81}]
    for kind in kinds:
        sockopt.set("ADD", service(scheduler=scheduler, **kind))
        yield sockopt.service(service(**kind))
    yield sorted(sockopt.services(len(kinds)))
    yield refused(sockopt.set, "ADD", service(scheduler=scheduler, **kinds[0]))
    yield refused(sockopt.set, "ADD", service(scheduler=scheduler, protocol=1, fwmark=2))
    yield refused(sockopt.set, "ADD", service(scheduler="none_such", protocol=6, fwmark=2))
    yield refused(sockopt.set, "ADD", service(scheduler="x" * 16, protocol=6, fwmark=2))
    for other in ("rr", "none", scheduler):
        for kind in kinds:
            sockopt.set("EDIT", service(scheduler=other, flags=PERSISTENT, timeout=60,
                                        netmask="255.255.0.0", **kind))
        yield sorted(sockopt.services(len(kinds)))
    yield refused(sockopt.set, "EDIT", service(scheduler=scheduler, protocol=6, fwmark=2))
    yield INFO.unpack(sockopt.get("INFO", b"", INFO.size))[::2]
    for kind in kinds:
        sockopt.set("DEL", service(**kind))
        yield refused(sockopt.service, service(**kind))
        yield refused(sockopt.set, "DEL", service(**kind))
    eq((sockopt.services(0), dump()), ([], []))


@on_both
def servers_by_sockopt(scheduler):
    which = service(socket.IPPROTO_TCP, VIP, 80, scheduler=scheduler)
    sockopt.set("ADD", which)
    for name in lab.names:
        sockopt.set("ADDDEST", which + dest(lab.address(name), 80, NAT, int(name[1:])))
    yield sockopt.dests(which, 4)
    yield sockopt.dests(which, 2)
    yield refused(sockopt.set, "ADDDEST", which + dest(lab.address("s1"), 80))
    yield refused(sockopt.set, "ADDDEST", which + dest(lab.address("s1"), 81, weight=-1))
    for weight, upper, lower in ((0, 0, 0), (2 ** 31 - 1, 2 ** 31 - 1, 1), (7, 100, 20)):
        sockopt.set("EDITDEST", which + dest(lab.address("s1"), 80, DIRECT, weight, upper, lower))
        yield sockopt.dests(which, 4)
    yield refused(sockopt.set, "EDITDEST", which + dest(lab.address("s1"), 81))
    yield refused(sockopt.get, "DEST", b"", 64)  # the header has it as "not used now"
    sockopt.set("DELDEST", which + dest(lab.address("s3"), 80))
    yield sockopt.dests(which, 3)
    yield refused(sockopt.set, "DELDEST", which + dest(lab.address("s3"), 80))
    yield refused(sockopt.dests, service(socket.IPPROTO_TCP, VIP, 81), 1)


# Counters, settings and daemons -----------------------------------------------------------------

def busy(scheduler):
    """Makes two services and sends packets to both; returns their counters."""
    for number in (1, 2):
        lab.service(scheduler, mark=number, options="-o", port=fresh_port())
        lacks(lab.send([key(n) for n in range(40)], port=79 + number), None)
    return [all_counted(40), all_counted(40, mark(2))]


@on_both
def zero_and_flush_by_netlink(scheduler):
    yield busy(scheduler)
    netlink.call("ZERO", service=mark(1))
    yield counted(0), counted(40, mark(2)), [found["stats64"]["conns"] for found in servers_of(mark(1))]
    netlink.call("ZERO")
    yield counted(0, mark(2))
    yield refused(netlink.call, "ZERO", service=mark(3))
    lacks(lab.send([key(n) for n in range(40)]), None)
    yield counted(40)
    netlink.call("FLUSH")
    yield dump()
    netlink.call("FLUSH")
    netlink.call("ZERO")


@on_both
def zero_and_flush_by_sockopt(scheduler):
    one = service(socket.IPPROTO_TCP, fwmark=1)
    yield busy(scheduler)
    sockopt.set("ZERO", one)
    yield counted(0), counted(40, mark(2)), sum(found[11] for found in sockopt.dests(one, 4))
    sockopt.set("ZERO", service())
    yield counted(0, mark(2))
    yield refused(sockopt.set, "ZERO", service(socket.IPPROTO_TCP, fwmark=3))
    lacks(lab.send([key(n) for n in range(40)]), None)
    yield counted(40)
    sockopt.set("FLUSH")
    yield dump()
    for option in EMPTY:
        yield refused(sockopt.set, option)


@on_both
def timeouts_and_information(scheduler):
    lab.service(scheduler, options="-o")
    yield netlink.call("GET_INFO")[0]["version"]
    yield refused(netlink.call, "SET_INFO")  # names the answer to GET_INFO; not a request
    yield sockopt.get("VERSION", b"", VERSION_SIZE).split(b" (")[0]
    for values in ((100, 50, 25), (0, 0, 30), (2 ** 31 // 1000, 1, 1)):
        netlink.call("SET_CONFIG", **dict(zip(("tcp", "tcp_fin", "udp"), values)))
        yield netlink.call("GET_CONFIG"), TIMEOUT.unpack(sockopt.get("TIMEOUT", b"", TIMEOUT.size))
        sockopt.set("TIMEOUT", TIMEOUT.pack(*reversed(values)))
        yield netlink.call("GET_CONFIG"), TIMEOUT.unpack(sockopt.get("TIMEOUT", b"", TIMEOUT.size))
    yield refused(netlink.call, "SET_CONFIG", tcp=2 ** 31)
    yield refused(sockopt.set, "TIMEOUT", TIMEOUT.pack(-1, 0, 0))
    yield netlink.call("GET_CONFIG")
    # A connection ends at its timeout.
    sockopt.set("TIMEOUT", TIMEOUT.pack(900, 120, 1))
    netlink.call("SET_SERVICE", service=whole(mark(1), scheduler))
    lacks(lab.send([key(n) for n in range(10)]), None)
    yield lab.table_size()
    wait_until(lambda: lab.table_size() == 0, "the connections end")
    yield sum(found["active"] + found["inactive"] for found in servers_of(mark(1)))


def both_daemons_wait():
    """Whether both threads sleep: to stop one that has not run yet fails with EINTR."""
    states = re.findall(r"\(ipvs-[mb]:\S+ (.)", run("cat /proc/[0-9]*/stat", check=False).stdout)
    return states == ["S", "S"]


@on_both
def daemons(scheduler):
    lab.service(scheduler)
    both = ({"state": MASTER, "interface": "c0", "syncid": 7, "maxlen": 1000, "port": 9000, "ttl": 5,
             "group": socket.inet_aton("224.0.0.99")},
            {"state": BACKUP, "interface": "s1", "syncid": 255, "group6": address("ff02::99")})
    yield netlink.call("GET_DAEMON", dump=True)
    for each in both:
        netlink.call("NEW_DAEMON", daemon=each)
        yield netlink.call("GET_DAEMON", dump=True)
    yield refused(netlink.call, "NEW_DAEMON", daemon=both[0])
    yield [*DAEMON.iter_unpack(sockopt.get("DAEMON", b"", 2 * DAEMON.size))]
    ne(lab.hold(key(1))[0].server, None)  # the master sends it to the group
    wait_until(both_daemons_wait, "the daemons wait")
    for each in both:
        netlink.call("DEL_DAEMON", daemon={"state": each["state"]})
        yield netlink.call("GET_DAEMON", dump=True)
    yield refused(netlink.call, "DEL_DAEMON", daemon={"state": MASTER})
    yield refused(netlink.call, "NEW_DAEMON", daemon=both[0] | {"interface": "none_such"})
    for state in (MASTER, BACKUP):
        sockopt.set("STARTDAEMON", daemon(state, "c0", 3))
        yield [*DAEMON.iter_unpack(sockopt.get("DAEMON", b"", 2 * DAEMON.size))]
        yield netlink.call("GET_DAEMON", dump=True)
    yield refused(sockopt.set, "STARTDAEMON", daemon(MASTER, "c0", 3))
    yield refused(sockopt.set, "STARTDAEMON", daemon(3, "c0", 3))
    wait_until(both_daemons_wait, "the daemons wait")
    for state in (MASTER, BACKUP):
        sockopt.set("STOPDAEMON", daemon(state))
        yield [*DAEMON.iter_unpack(sockopt.get("DAEMON", b"", 2 * DAEMON.size))]
    yield refused(sockopt.set, "STOPDAEMON", daemon(BACKUP))


# The trash --------------------------------------------------------------------------------------

def comes_back_from_the_trash(scheduler, remove, add):
    lab.service(scheduler, weights={"s1": 1000})
    eq({held.server for held in lab.hold(key(1), 3) + lab.hold(key(2))}, {"s1"})
    netlink.call("NEW_DEST", service=mark(1), dest=server("s2"))
    remove()
    yield lab.counters(), lab.ask(key(3))
    add()
    yield counted(5)[0], connections()
    yield [lab.hold(key(n))[0].server for n in (1, 2, 3)]
    # The service is deleted and made again: connections come back, counters and entries do not.
    netlink.call("DEL_SERVICE", service=mark(1))
    netlink.call("NEW_SERVICE", service=whole(mark(1), scheduler))
    add()
    yield connections()
    yield lab.ask(key(3))
    for held in lab.conns:
        held.sock.sendall(b"still there")
        held.close()
    lab.conns.clear()
    wait_until(lambda: not servers_of(mark(1))[0]["active"], "the connections end")
    yield connections()


@on_both
def a_removed_server_comes_back_by_netlink(scheduler):
    yield from comes_back_from_the_trash(
        scheduler, lambda: netlink.call("DEL_DEST", service=mark(1), dest=server("s1")),
        lambda: netlink.call("NEW_DEST", service=mark(1), dest=server("s1", 500)))


@on_both
def a_removed_server_comes_back_by_sockopt(scheduler):
    which = service(socket.IPPROTO_TCP, fwmark=1)
    yield from comes_back_from_the_trash(
        scheduler, lambda: sockopt.set("DELDEST", which + dest(lab.address("s1"))),
        lambda: sockopt.set("ADDDEST", which + dest(lab.address("s1"), 0, DIRECT, 500)))


@case
def every_command_is_in_a_case():
    for other in cases:
        if other is not every_command_is_in_a_case and other.__name__ not in called:
            other()
    commands = {"IPVS_CMD_" + name for name in COMMANDS} | \
        {"IP_VS_SO_SET_" + name for name in SET} | {"IP_VS_SO_GET_" + name for name in GET}
    used = set().union(*called.values())
    eq(used ^ commands, set(), "the commands that are not in both lists")
    if TABLE.exists():  # it does not in a kernel tree, which has only this folder
        rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", TABLE.read_text(), re.M))
        eq(set(rows) ^ commands, set(), f"the commands that are not in both {TABLE.name} and the lists")
        for command, name in rows.items():
            assert command in called[name], f"{command} is not in {name}"


main(lab)
