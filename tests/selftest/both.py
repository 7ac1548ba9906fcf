# SPDX-License-Identifier: GPL-2.0
"""Shared by control.py and defense.py: a decorator that runs steps on -s lblc and on -s lblc_rs, and the clients of
the control interfaces."""

import errno
import functools
import itertools
import socket

from harness import case, load_both, wait_until
from ipvs_netlink import Netlink, address
from ipvs_sockopt import Sockopt
from lab import VIP, VIP6, Lab

VS = "net/ipv4/vs/"
MASTER, BACKUP = 1, 2
NAT, TUNNEL, DIRECT = 0, 2, 3
PERSISTENT, ONE_PACKET = 0x1, 0x4

lab = Lab()
netlink, sockopt = Netlink(), Sockopt()
called = {}

# A server with a port that was not used before is new to IPVS. Another one may come from the trash, with counts that
# are not summed up yet. (Direct routing does not change the port of a packet.)
fresh_port = itertools.count(1000).__next__


def on_both(steps):
    """Decorator: makes a case that runs the steps on both schedulers. The answers that they yield must be the same, but
    for the scheduler's name."""
    @case
    @functools.wraps(steps)
    def both():
        answers = []
        load_both()
        netlink.used.clear()
        sockopt.used.clear()
        for scheduler in ("lblc", "lblc_rs"):
            lab.clear()
            answers.append([repr(answer).replace("lblc_rs", "lblc") for answer in steps(scheduler)])
        called[steps.__name__] = netlink.used | sockopt.used
        c, ours = answers
        for number, (one, other) in enumerate(zip(c, ours)):
            assert one == other, f"answer {number}: {one}, and with lblc_rs {other}"
        assert len(c) == len(ours) > 0, f"{len(c)} answers, and {len(ours)} with lblc_rs"
    return both


def refused(work, *arguments, **more):
    """Asserts that the call raises OSError; returns the name of the error."""
    try:
        work(*arguments, **more)
    except OSError as error:
        return errno.errorcode[error.errno]
    raise AssertionError(f"{arguments} {more} was not refused")


# Services and servers ---------------------------------------------------------------------------

def mark(number, family=socket.AF_INET):
    return {"af": family, "fwmark": number}


def vip(protocol="tcp", port=80, ipv6=False):
    return {"af": socket.AF_INET6 if ipv6 else socket.AF_INET,
            "protocol": socket.getprotobyname(protocol), "addr": address(VIP6 if ipv6 else VIP),
            "port": port}


def whole(which, scheduler, flags=0, timeout=0, netmask=None):
    """A service with all attributes that NEW_SERVICE and SET_SERVICE require."""
    if netmask is None:
        netmask = 128 if which["af"] == socket.AF_INET6 else 0xffffffff
    return which | {"scheduler": scheduler, "flags": (flags, 0xffffffff), "timeout": timeout,
                    "netmask": netmask}


def server(name, weight=1000, upper=0, lower=0, method=DIRECT, port=0, ipv6=False):
    return {"addr": address(lab.address(name, ipv6).strip("[]")), "port": port, "method": method,
            "weight": weight, "upper": upper, "lower": lower}


def dump():
    """All services with their servers, as netlink shows them."""
    services = [reply["service"] for reply in netlink.call("GET_SERVICE", dump=True)]
    return [(found, servers_of(found)) for found in sorted(services, key=repr)]


def servers_of(found):
    which = {name: found[name] for name in ("af", "fwmark", "protocol", "addr", "port") if name in found}
    return [reply["dest"] for reply in netlink.call("GET_DEST", dump=True, service=which)]


def counted(conns, which=None):
    """Waits until IPVS has counted `conns` connections of a service, which it sums up every two seconds; returns the
    counters."""
    which = which or mark(1)

    def counters():
        stats = netlink.call("GET_SERVICE", service=which)[0]["service"]["stats64"]
        return stats["conns"] == conns and stats
    stats = wait_until(counters, f"{conns} connections were counted")
    return tuple(stats[name] for name in ("conns", "inpkts", "inbytes"))


def all_counted(conns, which=None):
    """As counted(), but also waits for the counters of its servers, which must have a fresh_port(): IPVS sums up each
    of them separately."""
    which = which or mark(1)
    wait_until(lambda: sum(found["stats64"]["conns"] for found in servers_of(which)) == conns,
               f"{conns} connections were counted for the servers")
    return counted(conns, which)


def connections():
    """Weight and connections of the servers of mark 1. (Not the packets: some may be sent twice.)"""
    return [(found["addr"], found["weight"], found["active"], found["inactive"], found["persistent"])
            for found in servers_of(mark(1))]
