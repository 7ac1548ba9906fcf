# SPDX-License-Identifier: GPL-2.0
"""Two directors with keepalived.

            ┌── client 10.0.1.2; its route to 198.18.0.0/15 is the VIP 10.0.1.100
    switch ─┼── d1 10.0.1.11, d2 10.0.1.12: one of them has the VIP, marks packets and schedules
            └── s1, s2, s3: 10.0.(10+N).2; they take 198.18.0.0/15, and answer the client directly

Every host is a network namespace; this process stays outside of them.
"""

import os
import signal
import subprocess

from harness import run, wait_until
from lab import VIP, Lab, Servers, inside, sysctl

DIRECTORS = {"d1": 150, "d2": 100}
SAMPLES = "/work/scripts/samples"
LONG = 60  # seconds: an election takes four, more where the machine is busy


def mark_connections():
    """Makes the current namespace a director: connections to 198.18.0.0/15 get the mark 1."""
    sysctl("net/ipv4/ip_forward", 1)
    run(["nft", "-f", "-"], input="""
        table ip lab {
            chain marks {
                type filter hook prerouting priority mangle;
                ip daddr 198.18.0.0/15 meta mark set 1
            }
        }""")


class Talkers(Servers):
    """Servers that answer everything they receive with their names."""

    def talk(self, sock, name):
        if sock.recv(4096):
            sock.send(name.encode() + b"\n")
        else:
            self.hang_up(sock, name)


class Keepalived:
    """The keepalived of a director, with the sample configuration, in which `changes` replaces words."""

    def __init__(self, director, changes):
        path = f"/tmp/{director}."
        self.config, self.log = path + "conf", path + "log"
        with open(SAMPLES + "/keepalived.conf") as file:
            self.text = file.read()
        # Checks must not take a server out because the machine is busy.
        usual = {"priority 150": f"priority {DIRECTORS[director]}", "connect_timeout 3": "connect_timeout 60"}
        for old, new in {**usual, **changes}.items():
            self.change(old, new)
        with inside(director), open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["keepalived", "--dont-fork", "--log-console", "--no-syslog",
                 f"--use-file={self.config}", f"--pid={path}pid",
                 *(f"--{child}_pid={path}{child}" for child in ("vrrp", "checkers", "bfd"))],
                stdout=log, stderr=log, start_new_session=True)

    def change(self, old, new):
        assert old in self.text, old
        self.text = self.text.replace(old, new)
        with open(self.config, "w") as file:
            file.write(self.text)

    def reload(self, old, new):
        """Changes the configuration, and makes the daemon read it again."""
        self.change(old, new)
        self.process.send_signal(signal.SIGHUP)

    def said(self):
        with open(self.log) as file:
            return file.read()

    def end(self):
        """Ends the daemon, which removes its services."""
        self.process.terminate()
        self.process.wait()

    def kill(self):
        """Kills the daemon and its children; the services stay."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Pair(Lab):
    """The network above. Each case creates its own directors."""

    def __init__(self):
        self.names = ["s1", "s2", "s3"]
        self.conns, self.daemons = [], {}
        self.synced = True
        run("modprobe ip_vs")
        self.keep_hooks()
        run("ip netns add switch")
        with inside("switch"):
            self.ip(["link add br0 type bridge", "link set br0 up"])
        self.host("client", "10.0.1.2", f"route add 198.18.0.0/15 via {VIP}")
        for name in self.names:
            self.host(name, self.address(name), "route add local 198.18.0.0/15 dev lo")
        self.servers = Talkers(self.names)
        self.servers.start()

    def host(self, name, address, *more):
        run(f"ip netns add {name}")
        with inside("switch"):
            self.ip([f"link add {name} type veth peer name eth0 netns {name}",
                     f"link set {name} master br0 up"])
        with inside(name):
            self.ip(["link set lo up", f"addr add {address}/16 dev eth0", "link set eth0 up",
                     *more])
            self.no_rp_filter(["all", "eth0"])

    def director(self, name, **changes):
        """Creates a director and starts its keepalived."""
        self.host(name, f"10.0.1.1{name[1]}", "rule add fwmark 1 lookup 100",
                  "route add local default dev lo table 100")
        with inside(name):
            mark_connections()
        self.daemons[name] = Keepalived(name, changes)
        return self.daemons[name]

    def clear(self):
        """Closes all connections and deletes the directors."""
        for connection in self.conns:
            connection.close()
        self.conns.clear()
        for daemon in self.daemons.values():
            daemon.end()
        self.daemons.clear()
        for name in DIRECTORS.keys() & run("ip netns list").split():
            run(f"ip netns exec {name} ipvsadm -C")
            run(f"ip -n switch link del {name}")
            run(f"ip netns del {name}")

    def wait(self, condition, what):
        """Waits for a condition that keepalived brings about; if it does not, the error has the daemons' logs."""
        try:
            wait_until(condition, what, LONG)
        except RuntimeError as error:
            logs = "\n".join(f"{name}: {line}" for name, daemon in self.daemons.items()
                             for line in daemon.said().splitlines())
            raise RuntimeError(f"{error}\n{logs}") from None

    def role(self, director):
        """The role of a director: "master", "backup", or None before keepalived has decided."""
        vip = f" {VIP}/" in run(f"ip -n {director} -4 -o addr show dev eth0")
        if not self.synced:
            return "master" if vip else "backup"
        daemon = run(f"ip netns exec {director} ipvsadm -l --daemon").split()
        return daemon[0] if daemon and vip == (daemon[0] == "master") else None

    def ready(self, director):
        """Whether the director's service has all servers."""
        with inside(director):
            return set(self.counters()) == set(self.names)

    def pair(self, synced=True, **changes):
        """Starts both directors, with or without sync daemons; returns (master, backup) once both
        have a role."""
        self.synced = synced
        if not synced:
            changes["lvs_sync_daemon eth0 inst caches"] = ""
        for name in DIRECTORS:
            self.director(name, **changes)
        self.wait(lambda: sorted(map(self.role, DIRECTORS), key=str) == ["backup", "master"]
                  and all(map(self.ready, DIRECTORS)), "a master, a backup, and their servers")
        return sorted(DIRECTORS, key=self.role, reverse=True)

    def fail_over(self, master, backup):
        """Cuts the master off and kills its keepalived; returns when the backup has taken over."""
        run(f"ip -n switch link set {master} down")
        self.daemons.pop(master).kill()
        self.tell()
        self.wait(lambda: self.role(backup) == "master", "the backup takes over")

    def open(self, addresses):
        """Opens a connection to each address; returns {address: server}."""
        return {address: self.connect(address, timeout=LONG).server for address in addresses}

    def tell(self):
        """Sends a line on each connection."""
        for connection in self.conns:
            connection.sock.send(b"hello\n")

    def hear(self):
        """Waits until each connection's server has answered, and checks that it is still the same one."""
        for connection in self.conns:
            answer = connection.sock.recv(64).decode().strip()
            assert answer == connection.server, f"{connection.server} has become {answer!r}"

    def copied(self, backup):
        """Sends on the connections until the backup has all of them."""
        ports = {connection.sock.getsockname()[1] for connection in self.conns}

        def all_there():
            self.tell()
            self.hear()
            with inside(backup), open("/proc/net/ip_vs_conn_sync") as file:
                rows = [line.split() for line in file]
            return ports <= {int(row[2], 16) for row in rows if row[7:9] == ["ESTABLISHED", "SYNC"]}

        self.wait(all_there, "the backup learns the connections")
