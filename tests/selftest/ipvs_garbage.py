# SPDX-License-Identifier: GPL-2.0
"""Random messages for the IPVS control interfaces: valid ones, with extreme values, and broken ones. All depend on one
seed."""

import random
import re
import socket
import struct

import ipvs_netlink as netlink
import ipvs_sockopt as sockopt
from lab import VIP, VIP6

EXTREMES = (0, 1, 2, 3, 5, 20, 60, 255, 1000, 2 ** 15, 2 ** 16 - 1, 2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31,
            2 ** 31 + 1, 2 ** 32 - 1, 2 ** 63, 2 ** 64 - 1)
ADDRESSES = ("10.0.11.2", "10.0.12.2", "10.0.13.2", "10.0.14.2", VIP, "10.0.1.2", "127.0.0.1", "0.0.0.0",
             "255.255.255.255", "224.0.0.1", "fd00:1::2", "fd00:2::2", VIP6, "::", "::1", "ff02::1",
             "fe80::1", "::ffff:10.0.11.2")
WORKED = ("NEW_SERVICE", "SET_SERVICE", "NEW_DEST", "SET_DEST", "DEL_DEST")


OURS = "lblc_rs"


def renamed(message, name):
    """The message with the scheduler's name replaced, unless the name is truncated; its length is the same."""
    kind, what, data, *more = message
    old, new = OURS.encode() + b"\0", name.encode().ljust(len(OURS) + 1, b"\0")
    if kind == "netlink":
        def header(found):
            whole = struct.unpack("=H", found[1])[0] >= 4 + len(old)
            return found[1] + found[2] + new if whole else found[0]
        data = re.sub(rb"(?s)(..)(..)" + re.escape(old), header, data)
    elif data and data[16:16 + len(old)] == old:
        data = data[:16] + new + data[16 + len(old):]
    return kind, what, data, *more


class Garbage:
    """A stream of messages; all choices are made by `self.random`."""

    def __init__(self, seed, family):
        self.random, self.family = random.Random(seed), family

    def message(self):
        """("netlink", what, datagram), ("set", number, bytes or None) or ("get", number, bytes, size)."""
        kind = self.random.random()
        if kind < 0.7:
            return ("netlink", *self.netlink())
        return self.set() if kind < 0.9 else self.get()

    # Values -----------------------------------------------------------------------------------

    def maybe(self, probability):
        return self.random.random() < probability

    def number(self, size, signed=False):
        """An integer of `size` bytes, as bytes."""
        value = self.random.choice(EXTREMES)
        if self.maybe(0.3):
            value = self.random.getrandbits(8 * size)
        return (value % (1 << 8 * size)).to_bytes(size, "little", signed=signed)

    def text(self):
        """The name of a scheduler, sometimes a bad one."""
        if self.maybe(0.7):
            return OURS
        if self.maybe(0.9):
            return self.random.choice(("rr", "wlc", "none", "none", "rr"))
        return self.random.choice(("", "x" * 15, "lbl", "%s%n", "../../x"))

    def service(self):
        """The values that identify a service."""
        if self.maybe(0.6):
            mark = self.random.choice((1, 1, 1, 2, 2, 3, 0, 2 ** 32 - 1))
            family = self.random.choice((2, 2, 2, 2, 10, 10, 0, 1, 65535))
            return {"af": family, "fwmark": mark}
        address = self.random.choice((VIP, VIP, VIP6, "0.0.0.0"))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return {"af": family if self.maybe(0.95) else 12 - family,
                "protocol": self.random.choice((6, 6, 17, 17, 132, 0, 1, 255, 65535)),
                "addr": netlink.address(address), "port": self.random.choice((80, 80, 81, 21, 0, 65535))}

    def flags(self):
        """Flags of a service, and their mask."""
        good = self.random.choice((0, 0, 1, 4, 8, 0x10, 0x3f))
        return self.random.choice(((good, 2 ** 32 - 1), (good, 2 ** 32 - 1), (2 ** 32 - 1, 2 ** 32 - 1),
                                   (2 ** 32 - 1, 0), (0, 0), (2, 2)))

    def details(self):
        return {"scheduler": self.text(), "flags": self.flags(),
                "timeout": self.random.choice((0, 1, 300, 2 ** 31, 2 ** 32 - 1)),
                "netmask": self.random.choice((2 ** 32 - 1, 2 ** 32 - 1, 128, 64, 0, 129, 0x00ffffff))}

    def server(self):
        values = {"addr": netlink.address(self.random.choice(ADDRESSES[:4] * 3 + ADDRESSES)),
                  "port": self.random.choice((0, 0, 0, 80, 81, 65535))}
        extreme = [*EXTREMES[:16], 100, 100]
        values |= {"method": self.random.choice((3, 3, 3, 0, 2, 1, 4, 7, 2 ** 32 - 1)),
                   "weight": self.random.choice((0, 1, 2, 1000, 2 ** 31 - 1, -1, -2 ** 31, 100, 10)),
                   "upper": self.random.choice([0] * 16 + extreme),
                   "lower": self.random.choice([0] * 24 + extreme)}
        if self.maybe(0.2):
            values["af"] = self.random.choice((2, 10, 0, 1, 65535))
        if self.maybe(0.2):
            values |= {"tun_type": self.random.choice((0, 1, 2, 3, 255)),
                       "tun_port": self.random.choice((0, 6080)), "tun_flags": self.random.choice((0, 3, 65535))}
        return values

    def daemon(self):
        values = {"state": self.random.choice((1, 2, 1, 2, 0, 3, 2 ** 32 - 1)),
                  "interface": self.random.choice(("c0", "s1", "lo", "", "none_such", "x" * 15)),
                  "syncid": self.random.choice((0, 1, 255, 256, 2 ** 32 - 1))}
        for name, choice in (("maxlen", (0, 1, 1000, 65535)), ("port", (0, 8848, 65535)), ("ttl", (0, 1, 255)),
                             ("group", (b"\xe0\0\0\x51", b"\x0a\0\0\x01", b"\0\0\0\0")),
                             ("group6", (netlink.address("ff02::51"), netlink.address("fd00::1")))):
            if self.maybe(0.2):
                values[name] = self.random.choice(choice)
        return values

    # Netlink ----------------------------------------------------------------------------------------

    def netlink(self):
        """A description and a datagram."""
        command = self.random.choice(netlink.COMMANDS + WORKED * 4)
        if command in ("FLUSH", "DEL_SERVICE") and self.maybe(0.9):
            command = "NEW_SERVICE"  # so that services accumulate
        values = {}
        if "SERVICE" in command or "DEST" in command or command == "ZERO":
            values["service"] = self.service()
            if command in ("NEW_SERVICE", "SET_SERVICE"):
                values["service"] |= self.details()
                if self.maybe(0.05):
                    values["service"]["pe"] = self.random.choice(("", "none_such", "x" * 16))
        if "DEST" in command:
            values["dest"] = self.server()
        if "DAEMON" in command:
            values["daemon"] = self.daemon()
        if "CONFIG" in command:
            values |= {name: self.random.choice(EXTREMES[:16]) for name in ("tcp", "tcp_fin", "udp")
                       if self.maybe(0.7)}
        tree = self.tree(netlink.TOP, values)
        broken = self.maybe(0.5)
        if broken:
            for _ in range(self.random.choice((1, 1, 2, 3))):
                self.break_one(tree)
        payload = self.flat(tree)
        number = netlink.COMMANDS.index(command) + 1
        flags = netlink.REQUEST | netlink.ACK
        if self.maybe(0.03):
            flags |= self.random.choice((netlink.DUMP, 0x100, 0x200, 0xff00))
        if command == "GET_DEST" or command == "GET_DAEMON" and self.maybe(0.8):
            flags = netlink.REQUEST | netlink.DUMP
        family, version, length = self.family, 1, 20 + len(payload)
        if self.maybe(0.05):
            broken = True
            what = self.random.randrange(6)
            if what == 0:
                number = self.random.choice((0, len(netlink.COMMANDS) + 1, 255, 128))
            elif what == 1:
                version = self.random.randrange(256)
            elif what == 2:
                family = self.random.choice((0, 1, 2, 3, 4, 15, 60000, 65535))
            elif what == 3:
                length = self.random.choice((0, 1, 15, 16, 17, 19, 20, length - 1, length + 1, 2 ** 32 - 1))
            elif what == 4:
                flags &= self.random.choice((netlink.REQUEST, netlink.ACK, 0))
            else:
                payload = payload[:self.random.randrange(len(payload) + 1)]
        header = struct.pack("=IHHII", length, family, flags, 1, 0)
        return f"{command}{' broken' * broken} {values}", \
            header + struct.pack("=BBH", number, version, 0) + payload

    def tree(self, fields, values):
        """Attributes as a list of [number, payload or such a list], for break_one() and flat()."""
        found, order = [], list(fields)
        for name, value in values.items():
            kind, number = fields[name], order.index(name) + 1
            if isinstance(kind, dict):
                found.append([number | netlink.NESTED * self.maybe(0.5), self.tree(kind, value)])
            else:
                one = netlink.encode({name: kind}, {name: value if isinstance(value, (tuple, str, bytes))
                                                    else self.fit(kind, value)})
                found.append([number, one[4:struct.unpack_from("=H", one)[0]]])
        return found

    @staticmethod
    def fit(kind, value):
        """The value, wrapped to the range of that struct format."""
        bits = 8 * struct.calcsize(kind)
        value %= 1 << bits
        return value - (1 << bits) if kind[-1].islower() and value >> bits - 1 else value

    def break_one(self, tree):
        """Breaks one attribute of the tree."""
        while tree and isinstance(tree[-1][1], list) and self.maybe(0.8):
            tree = self.random.choice(tree)[1]
            if not isinstance(tree, list):
                return
        if not tree:
            tree.append([self.random.randrange(20), self.number(4)])
            return
        at = self.random.randrange(len(tree))
        number, payload = tree[at][:2]
        flat = isinstance(payload, bytes)
        what = self.random.randrange(9)
        if what == 0:
            del tree[at]
        elif what == 1:
            tree.insert(self.random.randrange(len(tree) + 1),
                        [number, self.number(self.random.choice((1, 2, 4, 8))) if flat else payload])
        elif what == 2:
            tree[at] = [number, payload[:self.random.randrange(len(payload) + 1)]]
        elif what == 3 and flat:
            tree[at] = [number, payload + self.random.randbytes(self.random.choice((1, 4, 12, 300, 5000)))]
        elif what == 4:
            tree[at] = [self.random.choice((0, 7, 13, 17, 255, 0x3fff, number ^ 1)), payload]
        elif what == 5:
            tree[at] = [number ^ self.random.choice((0x8000, 0x4000, 0xc000)), payload]
        elif what == 6:
            lie = self.random.choice((0, 1, 3, 4, 5, 8, 100, 65535))
            tree[at] = [number, payload, lie]
        elif what == 7:
            tree[at] = [number, self.random.randbytes(self.random.choice((0, 1, 3, 4, 16, 40)))]
        else:
            for _ in range(self.random.choice((1, 2, 12))):
                payload = [[number, payload]]
            tree[at] = [number, payload]

    def flat(self, tree):
        data = b""
        for number, payload, *lie in tree:
            if isinstance(payload, list):
                payload = self.flat(payload)
            one = netlink.attribute(number, payload)
            data += struct.pack("=H", *lie) + one[2:] if lie else one
        return data

    # Socket options -----------------------------------------------------------------------------------

    def old_service(self):
        """A struct ip_vs_service_user."""
        values = self.service()
        details = self.details()
        name = details["scheduler"].encode()
        if self.maybe(0.03):
            name = self.random.choice((b"x" * 16, name.ljust(16, b"x"), self.random.randbytes(16)))
        return sockopt.SERVICE.pack(
            values.get("protocol", self.random.choice((6, 6, 6, 17, 0))) & 0xffff,
            values.get("addr", bytes(16))[:4], struct.pack("!H", values.get("port", 0)),
            values.get("fwmark", 0), name, details["flags"][0], details["timeout"],
            struct.pack("=I", details["netmask"]))

    def old_server(self):
        """A struct ip_vs_dest_user."""
        values = self.server()
        return sockopt.DEST.pack(values["addr"][:4], struct.pack("!H", values["port"]),
                                 self.random.choice((values["method"], 0x2003, 0x10003, 2 ** 32 - 1)),
                                 values["weight"], values["upper"] % 2 ** 32, values["lower"] % 2 ** 32)

    def old_daemon(self):
        values = self.daemon()
        name = values["interface"].encode()
        if self.maybe(0.1):
            name = self.random.choice((b"c0".ljust(16, b"x"), self.random.randbytes(16)))
        return sockopt.DAEMON.pack(self.fit("=i", values["state"]), name, self.fit("=i", values["syncid"]))

    def blur(self, data):
        """The data, sometimes truncated, extended, or with other bytes in it."""
        if self.maybe(0.85):
            return data
        what = self.random.randrange(4)
        if what == 0:
            return data[:self.random.randrange(len(data) + 1)]
        if what == 1:
            return data + self.random.randbytes(self.random.choice((1, 4, 24, 68, 4000)))
        if what == 2:
            return self.random.randbytes(len(data))
        at = self.random.randrange(len(data) + 1)
        return (data[:at] + self.number(4) + data[at + 4:])[:len(data)]

    def set(self):
        option = self.random.choice(sockopt.SET + ("ADD", "EDIT", "ADDDEST", "EDITDEST", "DELDEST") * 5)
        if option in ("FLUSH", "DEL") and self.maybe(0.9):
            option = "ADD"
        number = sockopt.SET.index(option)
        if self.maybe(0.02):
            number = self.random.choice((-1, len(sockopt.SET), len(sockopt.SET) + 1, 1000))
        if "DAEMON" in option:
            data = self.old_daemon()
        elif option == "TIMEOUT":
            data = b"".join(self.number(4) for _ in range(3))
        elif option == "FLUSH" or option in sockopt.EMPTY:
            data = b""
        else:
            data = self.old_service() + (self.old_server() if "DEST" in option else b"")
        if data and self.maybe(0.01):
            return "set", sockopt.BASE + number, None, len(data)
        return "set", sockopt.BASE + number, self.blur(data)

    def get(self):
        option = self.random.choice(sockopt.GET)
        number = sockopt.GET.index(option)
        if self.maybe(0.02):
            number = self.random.choice((-1, len(sockopt.GET), len(sockopt.GET) + 1, 1000))
        count = self.random.choice((0, 1, 5, 20, 2 ** 20, 2 ** 32 - 1))
        data, size = self.old_service()[:16], sockopt.SERVICE_ENTRY.size
        if option == "SERVICES":
            data = sockopt.GET_SERVICES.pack(count)
            size = len(data) + count * sockopt.SERVICE_ENTRY.size
        elif option == "DESTS":
            data += struct.pack("=I4x", count)
            size = len(data) + count * sockopt.DEST_ENTRY.size
        elif option != "SERVICE":
            size = {"VERSION": 64, "DAEMON": 48}.get(option, 12)
        if self.maybe(0.2):
            size = self.random.choice((0, 1, size - 1, size + 1, 2 ** 31 - 1, -1, -2 ** 31))
        return "get", sockopt.BASE + number, self.blur(data), self.fit("=i", size)
