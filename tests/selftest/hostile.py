#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The hostile user of neighbour.py: root of a user namespace with a network namespace of its own.

    hostile.py               reads commands, each a line with a JSON list of a function of COMMANDS and its arguments;
                             answers each with a line of JSON
    hostile.py fuse DIR      serves a FUSE file system whose pages are never filled; prints the name of each file of
                             which a page is read
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import random
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

from counted import EXPIRATION, LIMIT
from ipvs_garbage import Garbage
from ipvs_netlink import Netlink
from ipvs_sockopt import Sockopt
from load import SO_MARK
from sockopt import ADD_SERVER, MASQUERADE, Ipvs

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SYSCTLS = ("/proc/sys/" + EXPIRATION, "/proc/sys/" + LIMIT)
TABLES = ("/proc/thread-self/net/ip_vs_lblc_rs", "/proc/thread-self/net/ip_vs_lblc_rs_stats")
MOST_SERVICES = 3000           # of one worker; IPVS itself does not limit the memory of more


# Reads that never end -----------------------------------------------------------------------------

def fuse(directory):
    """Serves the file system until the process is killed."""
    import fusepy

    class NeverFilled(fusepy.Operations):
        def getattr(self, path, fh=None):
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": 4096}

        def read(self, path, size, offset, fh):
            print(path[1:], flush=True)
            threading.Event().wait()

    fusepy.FUSE(NeverFilled(), directory, foreground=True)


class NeverFilled:
    """A file system served by fuse(), and the processes that wait for a page of it within read(2) of another file."""

    def __init__(self):
        self.directory, self.count, self.stuck = tempfile.mkdtemp(), 0, []
        self.server = subprocess.Popen([sys.executable, __file__, "fuse", self.directory], text=True,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        while not os.path.ismount(self.directory):
            if self.server.poll() is not None:
                raise RuntimeError("no FUSE file system")
            time.sleep(0.01)

    def stall(self, read):
        """Reads the file descriptor that `read()` returns, in a new process; returns, once that has ended or waits for
        the page, whether it waits."""
        self.count += 1
        name = f"{os.getpid()}-{self.count}"
        pid = os.fork()
        if pid == 0:
            try:
                file = read()
                with open(f"{self.directory}/{name}", "r+b") as page:
                    memory = mmap.mmap(page.fileno(), 4096, flags=mmap.MAP_PRIVATE)
                os.readv(file, [memory])
            except OSError as error:
                if error.errno != errno.EFAULT:  # the error when the server is killed
                    print(f"a read of {self.directory}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(0)
        while not select.select([self.server.stdout], [], [], 0.05)[0]:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return False
        self.stuck.append(pid)
        return self.server.stdout.readline().strip() == name

    def end(self):
        """Kills the server, upon which the kernel ends the reads."""
        self.server.kill()
        self.server.wait()
        for pid in self.stuck:
            os.waitpid(pid, 0)
        libc.umount2(self.directory.encode(), 2)  # MNT_DETACH
        os.rmdir(self.directory)


libc = ctypes.CDLL(None, use_errno=True)
stalls = []


def stall(*paths):
    """Reads these files without an end; returns how many are being read."""
    stalls.append(NeverFilled())
    return sum(stalls[-1].stall(lambda: os.open(path, os.O_RDONLY)) for path in paths)


def end_stalls():
    while stalls:
        stalls.pop().end()


# Services and packets -----------------------------------------------------------------------------

def add(scheduler, first, count):
    """Makes `count` services of marks from `first` on, each with a server; returns how many were made, and the error
    of the next one or None."""
    ipvs = Ipvs()
    for mark in range(first, first + count):
        try:
            ipvs.add(mark, scheduler)
            ipvs.call(ADD_SERVER, ipvs.service(mark) + ipvs.server("127.1.0.1", 9, 100, MASQUERADE))
        except OSError as error:
            return mark - first, errno.errorcode[error.errno]
    return count, None


def delete(first, count):
    ipvs = Ipvs()
    for mark in range(first, first + count):
        ipvs.delete(mark)


def flush():
    Ipvs().flush()


def flood(mark, first, count):
    """Sends a datagram with a firewall mark to each of `count` addresses; returns how many the kernel accepted."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    taken = 0
    with sock:
        for number in range(first, first + count):
            try:
                taken += sock.sendto(b"", (f"127.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 7)) == 0
            except OSError:  # no server is available
                pass
    return taken


def bring_up():
    """Brings up the loopback device of this namespace."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def new_namespace():
    os.unshare(os.CLONE_NEWNET)
    bring_up()


def write(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:  # the file does not exist now, or refuses the value
        pass


# All at once --------------------------------------------------------------------------------------

def in_child(work):
    """Runs `work` in a new process, and waits for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except OSError:
            pass
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def services(rng):
    """Makes many services, of several schedulers, sends packets to them, and deletes them."""
    new_namespace()
    while True:
        scheduler = rng.choice(("lblc_rs", "lblc_rs", "lblc_rs", "rr"))
        made, _ = add(scheduler, 1, rng.randrange(1, MOST_SERVICES))
        yield made
        for _ in range(3):
            yield flood(rng.randrange(1, made + 2), rng.randrange(1 << 20), 1000)
        flush()


def keys(rng):
    """Sends to one service with any destination address."""
    new_namespace()
    add("lblc_rs", 1, 1)
    while True:
        yield flood(1, rng.randrange(1 << 21), 5000)


def garbage(rng):
    """Sends random messages on both control interfaces."""
    new_namespace()
    netlink, sockopt = Netlink(), Sockopt()
    stream = Garbage(rng.getrandbits(32), netlink.family)
    while True:
        kind, what, data, *more = stream.message()
        try:
            if kind == "netlink":
                netlink.converse(data)
            elif kind == "get":
                sockopt.get_raw(what, data, more[0], room=max(len(data), min(more[0], 1 << 20), 1))
            else:
                sockopt.sock.setsockopt(socket.IPPROTO_IP, what, data, *more)
        except OSError:
            pass
        yield 1


def settings(rng):
    """Writes any value to both sysctls, and reads all files by descriptors from another namespace."""
    new_namespace()
    add("lblc_rs", 1, 1)
    while True:
        files = [path for path in SYSCTLS + TABLES if os.path.exists(path)]
        for path in files:
            write(path, str(rng.choice((-1, 0, 1, 7, 86400, 1 << 18, 1 << 24, 1 << 31, "x" * 5000))))
        opened = [os.open(path, os.O_RDONLY) for path in files]

        def elsewhere():
            os.unshare(os.CLONE_NEWNET)
            for file in opened:
                os.pread(file, 1 << 16, 0)
        in_child(elsewhere)
        for file in opened:
            os.close(file)
        yield len(files)


def stalled(rng):
    """Reads files while waiting for a page, from this namespace and, by descriptors, from others."""
    new_namespace()
    while True:
        never = NeverFilled()
        add("lblc_rs", 1, 1)  # so that there is something to read
        files = [path for path in SYSCTLS + TABLES if os.path.exists(path)]
        for path in files:
            never.stall(lambda: os.open(path, os.O_RDONLY))

            def elsewhere():
                file = os.open(path, os.O_RDONLY)
                os.unshare(os.CLONE_NEWNET)
                return file
            never.stall(elsewhere)
        add(rng.choice(("lblc", "lblcr", "lblc_rs")), 2, 1)
        time.sleep(rng.random())
        flush()
        never.end()
        yield len(files)


def names(rng):
    """Makes services with schedulers whose modules the kernel loads."""
    new_namespace()
    while True:
        for name in rng.sample(("lblc", "lblc_rs", "lblcr", "lblc-rs", "none_such", "wrr"), 3):
            add(name, 1, 1)
        flush()
        yield 1


def namespaces(rng):
    """Makes namespaces, uses them and lets them be deleted."""
    def life():
        new_namespace()
        for mark in range(1, rng.randrange(2, 20)):
            add(rng.choice(("lblc_rs", "lblc_rs", "lblc", "rr")), mark, 1)
            flood(mark, rng.randrange(1 << 20), 20)
        write(SYSCTLS[1], str(rng.randrange(1, 1 << 18)))
    while True:
        in_child(life)
        yield 1


WORKERS = (services, keys, garbage, settings, stalled, names, namespaces)
progress = mmap.mmap(-1, 8 * len(WORKERS))


def stress(seed):
    """Starts each worker in a process of its own; they end with this one."""
    for number, worker in enumerate(WORKERS):
        if os.fork() == 0:
            did = 0
            try:
                for more in worker(random.Random(f"{seed} {worker.__name__}")):
                    did += more
                    struct.pack_into("Q", progress, 8 * number, did)
            except BaseException as error:
                print(f"{worker.__name__}: {error!r}", file=sys.stderr, flush=True)
            finally:
                os._exit(1)


def how_far():
    """{worker: the amount of its work so far}"""
    return {worker.__name__: struct.unpack_from("Q", progress, 8 * number)[0] for number, worker in enumerate(WORKERS)}


COMMANDS = {command.__name__: command for command in (stall, end_stalls, add, delete, flush, flood, stress, how_far)}


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bring_up()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = COMMANDS[name](*arguments)
        print(json.dumps("done" if answer is None else answer), flush=True)


if __name__ == "__main__":
    fuse(sys.argv[2]) if sys.argv[1:2] == ["fuse"] else main()
