#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""docs/other-programs.md: ldirectord with the sample configuration, and the files of ipvsadm."""

import os
import selectors
import shutil
import socket
import subprocess

from documents import TOP, blocks, follow
from harness import Skip, case, eq, has, lacks, loaded, main, run, unload_all, wait_until
from lab import Lab, inside, key

lab = Lab(servers=2)
DROPIN = "/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf"
CONFIG, LOG = "/etc/ha.d/ldirectord.cf", "/tmp/ldirectord.log"
PAGE = "docs/other-programs.md"
LONG = 300  # seconds: programs in Perl take minutes to start in QEMU on a busy machine


class Ldirectord:
    """Runs ldirectord as the page does, with words of the sample changed, while its context is entered."""

    def __init__(self, **changes):
        self.changes = changes

    def __enter__(self):
        if not shutil.which("ldirectord"):
            raise Skip("there is no ldirectord")
        unload_all()
        copy_dropin, copy_sample, start = blocks(PAGE, "ldirectord")[0].splitlines()
        if self.changes.pop("dropin", True):
            follow(copy_dropin)
        follow(copy_sample)
        # Checks must not take a server out because the machine is busy.
        self.change(**{"checkinterval=5": "checkinterval=1", "checktimeout=3": "checktimeout=60",
                       **self.changes})
        self.log = open(LOG, "w")
        # It stays in the foreground: as a daemon it writes nowhere if there is no syslog.
        command = start.replace("ldirectord ", "ldirectord -d ").split()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)
        try:
            wait_until(lambda: self.alive() and len(usable()) == 2, "ldirectord adds the servers", LONG)
        except RuntimeError as error:
            self.__exit__()
            raise RuntimeError(f"{error}\n{self.said()}") from None
        return self

    def said(self):
        with open(LOG) as file:
            return file.read()[-2000:]

    def alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"ldirectord has ended: {self.said()}")
        return True

    @staticmethod
    def change(**words):
        with open(CONFIG) as file:
            text = file.read()
        for old, new in words.items():
            has(text, old)
            text = text.replace(old, new)
        with open(CONFIG, "w") as file:
            file.write(text)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        if os.path.exists(DROPIN):
            os.remove(DROPIN)


def die(server):
    """The server refuses connections to port 80, so that no check waits for its time limit."""
    for it in list(lab.servers.selector.get_map().values()):
        sock = it.fileobj
        if it.data == (lab.servers.accept, server) and sock.family == socket.AF_INET6 \
                and sock.getsockname()[1] == 80:
            sock.shutdown(socket.SHUT_RD)
            lab.servers.hang_up(sock, server)


def live(server):
    with inside(server):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::", 80))
        sock.listen(4096)
    sock.setblocking(False)
    lab.servers.selector.register(sock, selectors.EVENT_READ, (lab.servers.accept, server))


def usable():
    """The servers that accept new connections."""
    return {name for name, (weight, _, _) in lab.counters().items() if weight > 0}


def survives_a_dead_server():
    """A server dies and comes back; its destinations move as the page says."""
    before = {key(n): lab.ask(key(n)) for n in range(20)}
    mine = [address for address, server in before.items() if server == "s1"]
    ours = [address for address, server in before.items() if server == "s2"]
    assert len(mine) > 3 and len(ours) > 3, before
    die("s1")
    try:
        wait_until(lambda: usable() == {"s2"}, "ldirectord takes s1 out", LONG)
        eq([lab.ask(address) for address in mine[:3]], ["s2"] * 3)
    finally:
        live("s1")
    wait_until(lambda: usable() == {"s1", "s2"}, "ldirectord takes s1 back", LONG)
    eq([lab.ask(address) for address in mine[:3]], ["s2"] * 3, "destinations that were asked for meanwhile")
    eq({lab.ask(address) for address in mine[3:]}, {"s1"}, "destinations that were not asked for meanwhile")
    eq({lab.ask(address) for address in ours}, {"s2"})


@case
def ldirectord_takes_a_dead_server_out_and_back():
    with Ldirectord():
        has(run("ipvsadm -S -n"), "-A -f 1 -s lblc\n")
        eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"})
        survives_a_dead_server()
    eq(run("ipvsadm -S -n"), "", "the services after the end of ldirectord")


@case
def ldirectord_quiesces_a_dead_server():
    with Ldirectord(**{"quiescent=no": "quiescent=yes", "# schedflags=flag-1": "schedflags=flag-1,flag-2"}) as daemon:
        has(run("ipvsadm -S -n"), "-A -f 1 -s lblc -b flag-1,flag-2\n")
        survives_a_dead_server()
        # A change of the configuration keeps the table.
        before = {key(n): lab.ask(key(n)) for n in range(20)}
        daemon.change(**{"gate 1000": "gate 900"})
        wait_until(lambda: {weight for weight, _, _ in lab.counters().values()} == {900}, "it reloads", LONG)
        eq({address: lab.ask(address) for address in before}, before)


@case
def ldirectord_cuts_the_name():
    with Ldirectord(**{"dropin": False, "scheduler=lblc": "scheduler=lblc_rs"}):
        has(run("ipvsadm -S -n"), "-A -f 1 -s lblc\n")
        eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc"}, "the module")
        done = run("lblctop --once", check=False)
        has(done.stderr, "the module is not loaded")
        has(done.stderr, "FWM 1 has lblc of ip_vs_lblc")


@case
def ipvsadm_saves_and_restores_the_scheduler():
    with open(TOP + "scripts/samples/ipvsadm.rules") as file:
        sample = [line.strip() for line in file if not line.startswith("#")]
    run(f"grep -v '^#' {TOP}scripts/samples/ipvsadm.rules | ipvsadm -R")
    eq(sorted(run("ipvsadm -S -n").splitlines()), sorted(sample), "the sample")
    has(run("ipvsadm -S -n"), "-A -f 1 -s lblc_rs\n")
    run("ipvsadm -E -f 1 -s lblc_rs -b flag-1,flag-2")
    saved = run("ipvsadm -S -n")
    has(saved, "-A -f 1 -s lblc_rs -b flag-1,flag-2\n")
    lacks(saved, "-s lblc\n")
    run("ipvsadm -C")
    run(["ipvsadm", "-R"], input=saved + "\n")
    eq(run("ipvsadm -S -n"), saved)


main(lab)
