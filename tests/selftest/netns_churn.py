#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""netns_churn.py NUMBER AT_ONCE SEED: makes NUMBER network namespaces, AT_ONCE at a time. Each is a director, and is
deleted with its services, servers and entries. Prints the connections scheduled, and the most namespaces at once."""

import fcntl
import os
import random
import socket
import struct
import sys

from counted import conns
from load import SO_MARK
from sockopt import ADD_SERVER, MASQUERADE, Ipvs

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
EACH = 100


def run_director(seed):
    """Makes a namespace with a service, and connections to it; returns the number of connections."""
    rng = random.Random(seed)
    os.unshare(os.CLONE_NEWNET)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16sh", b"lo", 0)
    flags = struct.unpack("16sh", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))
    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, 1)
    ipvs = Ipvs()
    ipvs.add(1, "lblc_rs")
    for last in range(1, 4):
        ipvs.call(ADD_SERVER, ipvs.service(1) + ipvs.server(f"127.1.0.{last}", 9, 100, MASQUERADE))
    for _ in range(EACH):
        sock.sendto(b"", (f"127.2.{rng.randrange(256)}.{rng.randrange(256)}", 7))
    if rng.random() < 0.3:
        ipvs.edit(1, "rr")
        ipvs.edit(1, "lblc_rs")
    return conns()


def wave(count, seed):
    """Makes `count` namespaces; all exist before the first one is deleted. Returns their connections."""
    (ready_in, ready), (gate, open_gate) = os.pipe(), os.pipe()
    children = []
    for n in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(open_gate)
            status = 1
            try:
                os.write(ready, struct.pack("I", run_director(seed + n)))
                os.read(gate, 1)  # until the parent process closes it
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    os.close(ready)
    scheduled = sum(struct.unpack("I", os.read(ready_in, 4))[0] for _ in children)
    os.close(open_gate)
    statuses = {os.waitpid(pid, 0)[1] for pid in children}
    assert statuses == {0}, f"processes ended with {statuses}"
    os.close(gate)
    os.close(ready_in)
    return scheduled


number, at_once, seed = map(int, sys.argv[1:])
waves = [min(at_once, number - start) for start in range(0, number, at_once)]
print(sum(wave(count, seed + index * 1000) for index, count in enumerate(waves)), max(waves))
