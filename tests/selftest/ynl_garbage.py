# SPDX-License-Identifier: GPL-2.0
"""Random messages for the generic netlink family: valid ones, ones with extreme values, and broken ones. Their
attributes are those of the specification; all random choices come from one seed."""

import random
import socket
import struct

import yaml

from ipvs_netlink import ACK, DUMP, NESTED, REQUEST, attribute
from lab import VIP, Lab, key
from ynl import SPECIFICATION

EXTREMES = (0, 1, 2, 10, 80, 255, 1000, 2 ** 15, 2 ** 16 - 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 40,
            2 ** 40 + 1, 2 ** 63, 2 ** 64 - 1)
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
ADDRESSES = [*(key(n) for n in range(20)), *(key(n, True) for n in range(1, 5)), VIP, "0.0.0.0",
             *(Lab.address(f"s{n}") for n in range(1, 5)), "fd00:1::2", "::", "255.255.255.255"]


class Garbage:
    """A stream of messages; all choices are made by `self.random`."""

    def __init__(self, seed):
        self.random, self.wild = random.Random(seed), False
        with open(SPECIFICATION) as file:
            whole = yaml.safe_load(file)
        self.sets = {it["name"]: it["attributes"] for it in whole["attribute-sets"]}
        self.operations = whole["operations"]["list"]

    def maybe(self, chance):
        return self.random.random() < chance

    def spoil(self, chance):
        """As maybe(), in messages that may be broken."""
        return self.wild and self.maybe(chance)

    def message(self, family):
        """The name of an operation, and a datagram with a request."""
        self.wild = self.maybe(0.6)
        if self.spoil(0.02):
            return "noise", self.random.randbytes(self.random.choice((1, 15, 16, 17, 20, 24, 100, 4000)))
        number = self.random.choice([n for n, it in enumerate(self.operations) if "event" not in it])
        operation = self.operations[number]
        dump = "dump" in operation and self.maybe(0.4)
        kind = operation["dump" if dump else "do"]
        wanted = kind.get("request", {}).get("attributes", [])
        if self.spoil(0.03):
            wanted = [it["name"] for it in self.sets["msg"]]
        body = b"".join(self.top(name) for name in wanted if not self.spoil(0.2))
        if self.spoil(0.15):
            body = self.broken(body)
        command = number + 1 if not self.spoil(0.03) else self.random.randrange(256)
        version = 1 if not self.spoil(0.03) else self.random.randrange(256)
        reserved = 0 if not self.spoil(0.02) else self.random.randrange(65536)
        flags = REQUEST | (DUMP if dump else ACK)
        if self.spoil(0.03):
            flags = self.random.getrandbits(16) | REQUEST
        body = struct.pack("=BBH", command, version, reserved) + body
        length = 16 + len(body)
        if self.spoil(0.03):
            length = max(0, length + self.random.choice((-20, -4, -1, 1, 4, 100)))
        name = operation["name"] if command == number + 1 else "another"
        if 0 < command <= len(self.operations):
            name = self.operations[command - 1]["name"]
        return name, struct.pack("=IHHII", length, family, flags, 1, 0) + body

    def top(self, name):
        """An attribute of a message; many, if it may be there many times."""
        number, what = self.find("msg", name)
        many = self.random.choice((1, 1, 2, 5, 50)) if what.get("multi-attr") else 1
        return b"".join(self.one(number, what) for _ in range(many))

    def find(self, space, name):
        for number, what in enumerate(self.sets[space], 1):
            if what["name"] == name:
                return number, what
        raise KeyError(name)

    def one(self, number, what):
        if self.spoil(0.02):
            number = self.random.choice((0, number + 1, 99, 0x3fff))
        if what["type"] == "nest":
            if what["name"] == "service" and not self.spoil(0.3):
                payload = self.service()
            else:
                payload = self.nest(what["nested-attributes"])
            return attribute(number | (NESTED if not self.spoil(0.02) else 0), payload)
        return attribute(number, self.value(what))

    def service(self):
        """Mostly one that is there."""
        if self.maybe(0.2):
            return attribute(1, struct.pack("=H", 2)) + attribute(2, struct.pack("=H", 6)) + \
                attribute(3, socket.inet_aton(VIP)) + attribute(4, struct.pack("!H", 80))
        family = self.random.choice((2, 2, 2, 10))
        mark = self.random.choice((1, 1, 2, 3)) if family == 2 else 1
        return attribute(1, struct.pack("=H", family)) + attribute(5, struct.pack("=I", mark))

    def nest(self, space):
        # An entry is nothing without its server; a filter of everything chooses nothing.
        chance = {"entry": 0.98 if self.wild else 1, "filter": 0.25}.get(space, 0.8)
        return b"".join(self.one(number, what) for number, what in enumerate(self.sets[space], 1)
                        if not self.maybe(1 - chance))

    def value(self, what):
        if self.spoil(0.03):
            return self.random.randbytes(self.random.randrange(20))
        kind = what["type"]
        if kind == "flag":
            return b""
        if kind == "binary":
            address = self.random.choice(ADDRESSES if self.spoil(0.2) else ADDRESSES[:20])
            return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        value = self.random.choice(EXTREMES) if self.spoil(0.3) else \
            self.random.choice((0, 1) if "enum" in what else (0, 24, 32) if kind == "u8" else (0, 1, 80, 5000))
        if kind == "uint":
            kind = self.random.choice(("u32", "u64"))
        size = SIZES[kind]
        return (value & (1 << 8 * size) - 1).to_bytes(size, "big" if "byte-order" in what else "little")

    def broken(self, body):
        """The attributes with one thing wrong."""
        if not body:
            return self.random.randbytes(8)
        at = self.random.randrange(len(body))
        return self.random.choice((
            body[:at], body + body, body[:at] + self.random.randbytes(1) + body[at + 1:],
            body + self.random.randbytes(3), body + struct.pack("=HH", 3, 1),
            body + struct.pack("=HH", 0xffff, 2 | NESTED), attribute(2 | NESTED, body)))
