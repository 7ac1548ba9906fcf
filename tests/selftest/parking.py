# SPDX-License-Identifier: GPL-2.0
"""Shared by the cases of parked tables: filling tables, and showing parked ones."""

import os
import re
import socket
import struct

from harness import SLOW, run
from ipvs_netlink import NESTED, attribute
from lab import KEEP, Lab, sysctl
from raw_netlink import ENTRY_SET, Socket, service_of
from verdict import read
from ynl import client, name

LEASE = 600  # seconds for which tables are kept where a case does not wait for their end


def keep(seconds=LEASE * SLOW):
    """Sets the seconds for which tables are parked; loads the module if it is not loaded."""
    if not os.path.exists("/proc/sys/" + KEEP):
        run("modprobe ip_vs_lblc_rs")
    sysctl(KEEP, seconds)


def parked():
    """{name of the service: the attributes of its parked table}"""
    return {name(it["service"]): it for it in client().dump("service-get", {}) if "parked" in it}


def fill(number, first=0, mark=1, servers=4):
    """Sets `number` entries of the service of a firewall mark, for 10.0.0.0 and the addresses after it, with the
    servers s1, s2, ... in turn. (Without the kernel's client, which needs ten times as long.)"""
    sock = Socket()
    before = struct.pack("=HHHH", 4 + 24, 2 | NESTED, 8, 1)  # an entry, and its key
    after = [attribute(2, socket.inet_aton(Lab.address(f"s{n + 1}"))) + attribute(3, bytes(2)) for n in range(servers)]
    for start in range(first, first + number, 2000):
        entries = b"".join(before + struct.pack("!I", (10 << 24) + n) + after[n % servers]
                           for n in range(start, min(start + 2000, first + number)))
        sock.exchange(ENTRY_SET, service_of(mark) + entries)
    sock.sock.close()


def homes(service="FWM 1"):
    """{destination: server} of a service, from /proc."""
    found, here = {}, False
    with open("/proc/thread-self/net/ip_vs_lblc_rs") as file:
        for line in file:
            if not line.startswith("  "):
                here = line.startswith(service + " ")
            elif here:
                destination, server = line.split()[:2]
                found[destination] = server
    return found


def in_memory():
    """The approximate number of entries in memory, of all tables of the machine."""
    found = re.search(r"^ip_vs_lblc_rs_entry +(\d+)", read("/proc/slabinfo"), re.MULTILINE)
    return int(found[1])
