#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Dumps of the generic netlink family that are read in small parts: a bucket that is larger than a part, and what
changes between two parts."""

import contextlib
import os
import socket
import struct

from counted import STATS, TABLE, numbers
from harness import case, eq, gt, main, run, wait_until
from ipvs_netlink import CONTROL, DONE, ERROR, NESTED, attribute, split
from lab import Lab
from parking import fill
from raw_netlink import EMPTY_FILTER, ENTRY_DEL, ENTRY_GET, ENTRY_SET, Socket, request, service_of
from verdict import read, write

SERVICE, ENTRY, FWMARK, KEY = 1, 2, 5, 1
INTERRUPTED = 0x10      # NLM_F_DUMP_INTR
PART = 4096             # the kernel then fills a page at a time
FEWEST = 1024           # buckets, at least
CGROUPS, CGROUP = "/sys/fs/cgroup", "/sys/fs/cgroup/dumps"

lab = Lab()


class Dump:
    """A dump of all entries, or of those of a firewall mark. `found` has, in their order, the (mark, key) of the
    entries of all parts so far, `parts` their number."""

    def __init__(self, mark=None):
        # Not the same socket: the kernel's parts are as large as the largest buffer that a socket had.
        family = Socket()
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, CONTROL)
        # Only one part at a time waits to be read.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PART)
        self.found, self.parts, self.interrupted, self.ended = [], 0, False, False
        self.sock.send(request(family, ENTRY_GET, service_of(mark) if mark else b"", dump=True))
        family.sock.close()

    def part(self):
        data, at = self.sock.recv(PART), 0
        self.parts += 1
        while at < len(data):
            length, kind, flags = struct.unpack_from("=IHH", data, at)
            eq(kind == ERROR, False, "whether the kernel reports an error")
            self.interrupted |= bool(flags & INTERRUPTED)
            if kind == DONE:
                eq(struct.unpack_from("=i", data, at + 16), (0,), "the end of the dump")
                self.ended = True
            else:
                self.message(data[at + 20:at + length])
            at += (length + 3) & ~3
        return self

    def message(self, data):
        mark = None
        for number, payload in split(data):
            if number == SERVICE:
                mark = struct.unpack("=I", dict(split(payload))[FWMARK])[0]
            else:
                self.found.append((mark, dict(split(payload))[KEY]))

    def rest(self):
        while not self.ended:
            self.part()
        self.sock.close()
        return self

    def keys(self, mark):
        """Those of a service, each of which is there once."""
        keys = [key for found, key in self.found if found == mark]
        eq(len(keys) - len(set(keys)), 0, f"how many entries of FWM {mark} are there more than once")
        return keys


def filled(number, first=0):
    """The keys of fill()."""
    return {struct.pack("!I", (10 << 24) + n) for n in range(first, first + number)}


def exchange(command, payload):
    sock = Socket()
    sock.exchange(command, payload)
    sock.sock.close()


def reclaimed():
    """Lets the cgroup return the memory that it has in advance, and the pages of ipvsadm's files; returns whether there
    were none. The lists of the CPUs are emptied first: pages in them can be reclaimed only later, and would then leave
    room for buckets."""
    before = read(f"{CGROUP}/memory.current")
    write("/proc/sys/vm/drop_caches", "1")
    write(f"{CGROUP}/memory.high", "0")
    return read(f"{CGROUP}/memory.current") == before


@contextlib.contextmanager
def without_memory_for_buckets():
    """A service for mark 1 whose table cannot grow: it is charged to a memory cgroup that may have no more."""
    if not os.path.ismount(CGROUPS):
        run(f"mount -t cgroup2 cgroup2 {CGROUPS}")
    write(f"{CGROUPS}/cgroup.subtree_control", "+memory")
    os.mkdir(CGROUP)
    try:
        run("ipvsadm -A -f 1 -s lblc_rs", preexec_fn=lambda: write(f"{CGROUP}/cgroup.procs", "0"))
        wait_until(reclaimed, "nothing more of the cgroup can be reclaimed")
        write(f"{CGROUP}/memory.max", read(f"{CGROUP}/memory.current"))
        yield
    finally:
        run("ipvsadm -C")
        os.rmdir(CGROUP)


@case
def a_bucket_larger_than_a_part_is_continued():
    number = 110 * FEWEST
    with without_memory_for_buckets():
        fill(number)
        eq((numbers(TABLE)["buckets"], numbers(TABLE)["entries"]), (FEWEST, number), "buckets and entries")
        gt(numbers(STATS)["failures"], 0, "failures")
        dump = Dump(1).rest()
        eq(set(dump.keys(1)) ^ filled(number), set(), "what is missing, or too much")
        # If each part had whole buckets, there would not be as many.
        gt(dump.parts, 1.2 * FEWEST, "the parts")
        eq(dump.interrupted, False, "whether it was interrupted")


def neighbours():
    """Keys that share a bucket, or two, in a small table of mark 1: a dump has the entries in the order of their
    hashes. The service has none of them afterwards."""
    fill(64 * FEWEST)
    keys = Dump(1).rest().keys(1)
    eq(len(keys), 64 * FEWEST, "the entries")
    exchange(ENTRY_DEL, service_of(1) + EMPTY_FILTER)
    wait_until(lambda: numbers(TABLE)["buckets"] == FEWEST, "the table shrinks")
    return keys[:60]


def remember(keys):
    after = attribute(2, socket.inet_aton(lab.address("s1"))) + attribute(3, bytes(2))
    them = b"".join(attribute(ENTRY | NESTED, attribute(KEY, one) + after) for one in keys)
    exchange(ENTRY_SET, service_of(1) + them)


@case
def a_dump_says_that_a_table_got_another_key():
    lab.service(mark=2)
    lab.service(mark=1)
    others = 20_000
    fill(others, mark=2)
    before = neighbours()

    def dump(change):
        """Changes something between two parts of what mark 2 has; mark 1 follows."""
        found = Dump().part().part()
        rekeys = numbers(STATS)["rekeys"]
        eq({mark for mark, _ in found.found}, {2}, "the services so far")
        change()
        found.rest()
        missing = filled(others) - set(found.keys(2))
        eq(missing, set(), "the missing entries of mark 2, whose table kept its key")
        eq(set(found.keys(1)) >= set(before), change == attack, "whether those of mark 1 are there")
        return found.interrupted, numbers(STATS)["rekeys"] > rekeys

    def attack():
        remember(before)
        wait_until(lambda: numbers(STATS)["rekeys"] > 0, "the table of mark 1 gets another key")

    def grow():
        fill(4 * others, others, mark=2)

    eq(dump(lambda: None), (False, False), "nothing happens: whether it was interrupted, and got another key")
    eq(dump(grow), (False, False), "a table grows: whether it was interrupted, and got another key")
    eq(dump(attack), (True, True), "a table gets a key: whether it was interrupted, and got another key")
    eq(dump(attack), (False, False), "later: whether it was interrupted, and got another key")


main(lab)
