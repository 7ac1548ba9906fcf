#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Load for stress tests: processes that use the director as fast as they can, on every CPU.

    a sender in the client's namespace      the director schedules in softirq
    a sender in the director's namespace    it schedules in the sender's own context (LOCAL_OUT)
    a reader in the director's namespace    reads the files in /proc/net and the sysctls
"""

import errno
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

from counted import EXPIRATION, LIMIT, STATS, TABLE, conns
from harness import eq, run, wait_until
from lab import inside, key

DISCARD = 7  # no server listens on it
SO_MARK = 36
FILES = (TABLE, STATS, "/proc/sys/" + EXPIRATION, "/proc/sys/" + LIMIT)
SERVICE = re.compile(r"FWM \d+( [a-z0-9]+ \d+)+\n")
ENTRY = re.compile(r"  [0-9a-f.:]+ [0-9a-f.:\[\]]+:\d+ \d+( removed)?\n")


class Load:
    """Runs the processes while its context is entered; they send to `keys` destinations of firewall mark 1."""

    def __init__(self, seed, keys=2000):
        self.roles = [("client", seed, keys), ("director", seed + 1, keys), ("reader", seed, keys)]
        self.processes, self.did = [], {}

    @staticmethod
    def prepare():
        """Marks packets to the port; to be called once for a lab."""
        run(["nft", "add rule inet lab marks ip daddr 198.18.0.0/15 udp dport 7 meta mark set 1"])

    def __enter__(self):
        for role in self.roles:
            self.processes.append(subprocess.Popen([sys.executable, __file__, *map(str, role)], text=True,
                                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
        for process in self.processes:
            eq(process.stdout.readline(), "ready\n")
        self.began = conns()
        return self

    def __exit__(self, *error):
        self.served = conns() - self.began
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for (role, *_), process in zip(self.roles, self.processes):
            said = process.communicate()[0]
            assert process.returncode == 0 or any(error), f"{role} ended with status {process.returncode}"
            self.did[role] = json.loads(said) if said else 0
        if not any(error):
            assert all(self.did.values()) and self.served, (self.did, self.served)

    def flows(self, more=1, what="connections are scheduled"):
        """Waits until `more` connections have been scheduled."""
        goal = conns() + more
        wait_until(lambda: conns() >= goal, what, seconds=60)

    def __str__(self):
        return f"{self.served} connections scheduled of {self.did['client']} packets to and " \
               f"{self.did['director']} from the director, {self.did['reader']} files read"


def send(stopped, sock, seed, keys):
    """Sends bursts until stopped; returns the number of datagrams."""
    rng = random.Random(seed)
    sent = 0
    while not stopped:
        for number in rng.choices(range(keys), k=100):
            try:
                sock.sendto(b"", (key(number), DISCARD))
                sent += 1
            except OSError:  # the queue is full, or the service has no server
                pass
        time.sleep(0.001)
    return sent


def read(stopped):
    """Reads the files, which may be removed and made again, until stopped; returns the number of reads. Each file
    that was read must be complete."""
    done = 0
    for path in itertools.cycle(FILES):
        if stopped:
            return done
        try:
            with open(path) as file:
                lines = file.readlines()
        except OSError as error:
            assert error.errno in (errno.ENOENT, errno.EIO), error  # it was removed, before or after open()
            continue
        finally:
            time.sleep(0.001)
        done += 1
        if path.startswith("/proc/sys"):
            good = len(lines) == 1 and int(lines[0]) >= 0
        else:
            good = all(SERVICE.fullmatch(line) or ENTRY.fullmatch(line) for line in lines)
        assert good, (path, lines)


def main(role, seed, keys):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    with inside("client" if role == "client" else "director"):
        print("ready", flush=True)
        if role == "reader":
            return read(stopped)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if role == "director":
            sock.bind(("10.0.1.1", 0))
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, 1)
        return send(stopped, sock, seed, keys)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    sys.stdout.flush()
    os._exit(0)
