#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The hostile user of neighbour.py: root of a user namespace with a network namespace of its own. It does what a
line of its input says, a JSON list of a function of COMMANDS and its arguments, and answers with a line of JSON.

    hostile.py               as said
    hostile.py fuse DIR      a FUSE file system of files whose pages are never filled; prints the name of each file
                             that somebody waits for
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
from crowd import SO_MARK
from ipvs_garbage import Garbage
from ipvs_netlink import Netlink
from ipvs_sockopt import Sockopt
from sockopt import ADD_SERVER, MASQUERADE, Ipvs

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SYSCTLS = ("/proc/sys/" + EXPIRATION, "/proc/sys/" + LIMIT)
TABLES = ("/proc/thread-self/net/ip_vs_lblc_rs", "/proc/thread-self/net/ip_vs_lblc_rs_stats")
MOST_SERVICES = 3000           # of one worker: more are the core's own memory, which has no bound


# Reads that never end -----------------------------------------------------------------------------

def fuse(directory):
    """Serves the file system until it is killed."""
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
    """Such a file system, and the processes that wait for a page of it within read(2) of some other file."""

    def __init__(self):
        self.directory, self.count, self.stuck = tempfile.mkdtemp(), 0, []
        self.server = subprocess.Popen([sys.executable, __file__, "fuse", self.directory], text=True,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        while not os.path.ismount(self.directory):
            if self.server.poll() is not None:
                raise RuntimeError("no FUSE file system")
            time.sleep(0.01)

    def stall(self, read):
        """Reads from the file descriptor that `read()` returns, in a process of its own, until it waits."""
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
                if error.errno != errno.EFAULT:  # that is how it ends
                    print(f"a read of {self.directory}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(0)
        while not select.select([self.server.stdout], [], [], 0.05)[0]:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return False
        self.stuck.append(pid)
        return self.server.stdout.readline().strip() == name

    def end(self):
        """The kernel ends the reads when the server has gone."""
        self.server.kill()
        self.server.wait()
        for pid in self.stuck:
            os.waitpid(pid, 0)
        libc.umount2(self.directory.encode(), 2)  # MNT_DETACH
        os.rmdir(self.directory)


libc = ctypes.CDLL(None, use_errno=True)
stalls = []


def stall(*paths):
    """How many of these files are being read now, without an end."""
    stalls.append(NeverFilled())
    return sum(stalls[-1].stall(lambda: os.open(path, os.O_RDONLY)) for path in paths)


def let_go():
    while stalls:
        stalls.pop().end()


# Services and packets -----------------------------------------------------------------------------

def add(scheduler, first, count):
    """Makes services of marks from `first` on, each with a server; how many, and the error that ended it."""
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
    """Sends a datagram to each of so many addresses, with a firewall mark; how many the kernel took."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    taken = 0
    with sock:
        for number in range(first, first + count):
            try:
                taken += sock.sendto(b"", (f"127.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 7)) == 0
            except OSError:  # nobody takes it
                pass
    return taken


def bring_up():
    """This namespace can send to itself."""
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
    except OSError:  # there is no such file now, or it refuses the value
        pass


# All at once --------------------------------------------------------------------------------------

def in_child(work):
    """Runs it in a process of its own, to the end."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except OSError:
            pass
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def services(chance):
    """Services without number, of all the schedulers there are; then none."""
    new_namespace()
    while True:
        scheduler = chance.choice(("lblc_rs", "lblc_rs", "lblc_rs", "rr"))
        made, _ = add(scheduler, 1, chance.randrange(1, MOST_SERVICES))
        yield made
        for _ in range(3):
            yield flood(chance.randrange(1, made + 2), chance.randrange(1 << 20), 1000)
        flush()


def keys(chance):
    """One service, and as many destinations as there are addresses."""
    new_namespace()
    add("lblc_rs", 1, 1)
    while True:
        yield flood(1, chance.randrange(1 << 21), 5000)


def garbage(chance):
    """Random messages on both control interfaces."""
    new_namespace()
    netlink, sockopt = Netlink(), Sockopt()
    stream = Garbage(chance.getrandbits(32), netlink.family)
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


def settings(chance):
    """Both sysctls, with any value, also by a descriptor in a namespace that they are not of."""
    new_namespace()
    add("lblc_rs", 1, 1)
    while True:
        files = [path for path in SYSCTLS + TABLES if os.path.exists(path)]
        for path in files:
            write(path, str(chance.choice((-1, 0, 1, 7, 86400, 1 << 18, 1 << 24, 1 << 31, "x" * 5000))))
        opened = [os.open(path, os.O_RDONLY) for path in files]

        def elsewhere():
            os.unshare(os.CLONE_NEWNET)
            for file in opened:
                os.pread(file, 1 << 16, 0)
        in_child(elsewhere)
        for file in opened:
            os.close(file)
        yield len(files)


def stalled(chance):
    """Reads that wait for a page for some time, in this namespace and, by descriptors, in others."""
    new_namespace()
    while True:
        never = NeverFilled()
        add("lblc_rs", 1, 1)  # or there would be nothing to read
        files = [path for path in SYSCTLS + TABLES if os.path.exists(path)]
        for path in files:
            never.stall(lambda: os.open(path, os.O_RDONLY))

            def elsewhere():
                file = os.open(path, os.O_RDONLY)
                os.unshare(os.CLONE_NEWNET)
                return file
            never.stall(elsewhere)
        add(chance.choice(("lblc", "lblcr", "lblc_rs")), 2, 1)
        time.sleep(chance.random())
        flush()
        never.end()
        yield len(files)


def names(chance):
    """Asks for schedulers by name; the kernel loads a module for each."""
    new_namespace()
    while True:
        for name in chance.sample(("lblc", "lblc_rs", "lblcr", "lblc-rs", "none_such", "wrr"), 3):
            add(name, 1, 1)
        flush()
        yield 1


def namespaces(chance):
    """Namespaces that are made, used and left."""
    def life():
        new_namespace()
        for mark in range(1, chance.randrange(2, 20)):
            add(chance.choice(("lblc_rs", "lblc_rs", "lblc", "rr")), mark, 1)
            flood(mark, chance.randrange(1 << 20), 20)
        write(SYSCTLS[1], str(chance.randrange(1, 1 << 18)))
    while True:
        in_child(life)
        yield 1


WORKERS = (services, keys, garbage, settings, stalled, names, namespaces)
progress = mmap.mmap(-1, 8 * len(WORKERS))


def storm(seed):
    """Each worker in a process of its own; they end with us."""
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
    """{worker: how much it has done}"""
    return {worker.__name__: struct.unpack_from("Q", progress, 8 * number)[0] for number, worker in enumerate(WORKERS)}


COMMANDS = {command.__name__: command for command in (stall, let_go, add, delete, flush, flood, storm, how_far)}


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
