# SPDX-License-Identifier: GPL-2.0
"""The IPVS control interface over generic netlink, as in include/uapi/linux/ip_vs.h."""

import os
import socket
import struct

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
NESTED = 0x8000
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1
CONTROL = 16                             # GENL_ID_CTRL, which resolves the names of families

# In the order of the header's enums, which begin with 1: the number of an attribute is its position.
COMMANDS = ("NEW_SERVICE", "SET_SERVICE", "DEL_SERVICE", "GET_SERVICE",
            "NEW_DEST", "SET_DEST", "DEL_DEST", "GET_DEST",
            "NEW_DAEMON", "DEL_DAEMON", "GET_DAEMON",
            "SET_CONFIG", "GET_CONFIG", "SET_INFO", "GET_INFO", "ZERO", "FLUSH")
COUNTERS = ("conns", "inpkts", "outpkts", "inbytes", "outbytes")
RATES = ("cps", "inpps", "outpps", "inbps", "outbps")
STATS64 = {name: "=Q" for name in COUNTERS + RATES} | {"pad": "bytes"}
STATS = STATS64 | {name: "=I" for name in COUNTERS[:3] + RATES}
SERVICE = {"af": "=H", "protocol": "=H", "addr": "bytes", "port": "!H", "fwmark": "=I",
           "scheduler": "string", "flags": "=II", "timeout": "=I", "netmask": "=I",
           "stats": STATS, "pe": "string", "stats64": STATS64}
DEST = {"addr": "bytes", "port": "!H", "method": "=I", "weight": "=i", "upper": "=I", "lower": "=I",
        "active": "=I", "inactive": "=I", "persistent": "=I", "stats": STATS, "af": "=H",
        "stats64": STATS64, "tun_type": "=B", "tun_port": "!H", "tun_flags": "=H"}
DAEMON = {"state": "=I", "interface": "string", "syncid": "=I", "maxlen": "=H", "group": "bytes",
          "group6": "bytes", "port": "=H", "ttl": "=B"}
TOP = {"service": SERVICE, "dest": DEST, "daemon": DAEMON, "tcp": "=I", "tcp_fin": "=I", "udp": "=I"}
INFO = {"version": "=I", "size": "=I"}


def address(text):
    """An address as in the attributes: 16 bytes, of which IPv4 uses four."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return socket.inet_pton(family, text).ljust(16, b"\0")


def attribute(number, payload):
    length = 4 + len(payload)
    return struct.pack("=HH", length, number) + payload + bytes(-length % 4)


def encode(fields, values):
    """{name: value} as attributes; the value of a nested attribute is such a dictionary."""
    data, order = b"", list(fields)
    for name, value in values.items():
        kind, number = fields[name], order.index(name) + 1
        if isinstance(kind, dict):
            data += attribute(number | NESTED, encode(kind, value))
        elif kind == "string":
            data += attribute(number, value.encode() + b"\0")
        elif kind == "bytes":
            data += attribute(number, value)
        else:
            values_of = value if isinstance(value, tuple) else (value,)
            data += attribute(number, struct.pack(kind, *values_of))
    return data


def split(data):
    """Yields the (number, payload) of consecutive attributes."""
    at = 0
    while at + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, at)
        yield number & ~NESTED, data[at + 4:at + length]
        at += (length + 3) & ~3


def decode(fields, data):
    """The inverse of encode()."""
    values, order = {}, list(fields)
    for number, payload in split(data):
        name = order[number - 1]
        kind = fields[name]
        if isinstance(kind, dict):
            values[name] = decode(kind, payload)
        elif kind == "string":
            values[name] = payload.rstrip(b"\0").decode()
        elif kind == "bytes":
            values[name] = payload
        else:
            value = struct.unpack(kind, payload)
            values[name] = value if len(value) > 1 else value[0]
    return values


class Netlink:
    """A socket in the network namespace of the thread that makes it. `used` is the set of commands called."""

    def __init__(self, family="IPVS"):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, CONTROL)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind((0, 0))
        self.used = set()
        self.family = CONTROL
        reply, = self.exchange(3, attribute(2, family.encode() + b"\0"))  # CTRL_CMD_GETFAMILY, _FAMILY_NAME
        self.about = dict(split(reply[20:]))
        self.family = struct.unpack("=H", self.about[1])[0]  # _FAMILY_ID

    def join(self):
        """Joins the first multicast group of the family."""
        groups = dict(split(self.about[7]))  # _MCAST_GROUPS
        group, = struct.unpack("=I", dict(split(groups[1]))[2])  # _MCAST_GRP_ID
        self.sock.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)

    def call(self, command, dump=False, **values):
        """Calls a command; returns the decoded answers, or raises OSError."""
        self.used.add("IPVS_CMD_" + command)
        payload = encode(TOP, values)
        replies = self.exchange(COMMANDS.index(command) + 1, payload, dump)
        return [decode(INFO if reply[16] == COMMANDS.index("SET_INFO") + 1 else TOP, reply[20:])
                for reply in replies]

    def exchange(self, command, payload, dump=False, version=1):
        """Sends one request; returns the messages of the answer, or raises OSError."""
        flags = REQUEST | (DUMP if dump else ACK)
        body = struct.pack("=BBH", command, version, 0) + payload
        codes, replies = self.converse(
            struct.pack("=IHHII", 16 + len(body), self.family, flags, 1, 0) + body)
        if any(codes):
            raise OSError(codes[0], os.strerror(codes[0]))
        return replies

    def converse(self, datagram):
        """Sends a datagram; returns the error numbers in the answer (0 for success), and the other messages. The kernel
        has answered when send() returns, and continues a dump as it is read."""
        self.sock.send(datagram)
        codes, replies = [], []
        while True:
            try:
                data = self.sock.recv(1 << 17, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return codes, replies
            at = 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind in (ERROR, DONE):
                    codes.append(-struct.unpack_from("=i", data, at + 16)[0])
                else:
                    replies.append(data[at:at + length])
                at += (length + 3) & ~3
