# SPDX-License-Identifier: GPL-2.0
"""Messages of our generic netlink family as bytes: a request is one system call, and takes no time to be made."""

import socket
import struct

from ipvs_netlink import ACK, DUMP, NESTED, REQUEST, Netlink, attribute
from lab import Lab
from ynl import client

FAMILY = "ip_vs_lblc_rs"
SERVICE_GET, ENTRY_GET, ENTRY_SET, ENTRY_DEL = 1, 2, 3, 4
EMPTY_FILTER = attribute(3 | NESTED, b"")


class Socket(Netlink):
    """A socket for our family. Waits for its registration."""

    def __init__(self):
        client()
        super().__init__(FAMILY)


def service_of(mark):
    """The attribute of a service for a firewall mark."""
    return attribute(1 | NESTED, attribute(1, struct.pack("=H", 2)) + attribute(5, struct.pack("=I", mark)))


def one_entry(destination, server=None):
    """The attribute of an entry."""
    inside = attribute(1, socket.inet_aton(destination))
    if server:
        inside += attribute(2, socket.inet_aton(Lab.address(server))) + attribute(3, struct.pack("!H", 0))
    return attribute(2 | NESTED, inside)


def request(sock, command, payload, dump=False):
    body = struct.pack("=BBH", command, 1, 0) + payload
    return struct.pack("=IHHII", 16 + len(body), sock.family, REQUEST | (DUMP if dump else ACK), 1, 0) + body
