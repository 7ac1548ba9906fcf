#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""keepalived: two directors and the state that a backup takes over; the drop-in under a running daemon.

            ┌── client 10.0.1.2; its route to 198.18.0.0/15 is the VIP 10.0.1.100
    switch ─┼── d1 10.0.1.11, d2 10.0.1.12: one of them has the VIP, marks packets and schedules
            └── s1, s2, s3: 10.0.(10+N).2; they take 198.18.0.0/15, and answer the client directly

Every host is a network namespace; this process stays outside of them.
"""

import os
import signal
import subprocess

from harness import SLOW, case, eq, gt, has, lacks, loaded, main, run, unload_all, wait_until
from lab import VIP, Lab, Servers, Traffic, inside, key, sysctl

DIRECTORS = {"d1": 150, "d2": 100}
SAMPLES = "/work/scripts/samples"
TABLE = "/proc/thread-self/net/ip_vs_lblc_rs"
LONG = 60  # seconds: an election takes four, more where the machine is busy


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
            sysctl("net/ipv4/ip_forward", 1)
            run(["nft", "-f", "-"], input="""
                table ip lab {
                    chain marks {
                        type filter hook prerouting priority mangle;
                        ip daddr 198.18.0.0/15 meta mark set 1
                    }
                }""")
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

    @staticmethod
    def role(director):
        """The role of a director: "master", "backup", or None before keepalived has decided."""
        vip = f" {VIP}/" in run(f"ip -n {director} -4 -o addr show dev eth0")
        daemon = run(f"ip netns exec {director} ipvsadm -l --daemon").split()
        return daemon[0] if daemon and vip == (daemon[0] == "master") else None

    def ready(self, director):
        """Whether the director's service has all servers."""
        with inside(director):
            return set(self.counters()) == set(self.names)

    def pair(self, **changes):
        """Starts both directors; returns (master, backup) once both have a role."""
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


lab = Pair()


def active(director):
    """{server: active connections}"""
    with inside(director):
        return {name: count for name, (_, count, _) in lab.counters().items()}


def weights(director):
    with inside(director):
        return {weight for weight, _, _ in lab.counters().values()}


def weights_of(director):
    """{server: weight}"""
    with inside(director):
        return {name: weight for name, (weight, _, _) in lab.counters().items()}


def table(director):
    """{destination: server} from the table of a director."""
    with inside(director), open(TABLE) as file:
        lines = [line.split() for line in file if line.startswith("  ")]
    by_address = {lab.address(name): name for name in lab.names}
    return {line[0]: by_address[line[1].split(":")[0]] for line in lines}


def counters(director):
    """The sum of the module's counters on a director."""
    with inside(director), open(TABLE + "_stats") as file:
        return sum(int(word) for word in file.readline().split()[3::2])


def drop_in():
    unload_all()
    run("modprobe ip_vs_lblc_rs dropin=1")


@case
def connections_go_on_through_the_backup():
    drop_in()
    master, backup = lab.pair()
    lab.open([key(n) for n in range(1000, 1030)])
    lab.copied(backup)
    eq(active(master), {"s1": 10, "s2": 10, "s3": 10})
    eq(active(backup), active(master))  # the load is copied with the connections
    with Traffic() as traffic:
        traffic.flows()
        lab.fail_over(master, backup)
        lab.hear()
        traffic.flows()
    lab.tell()
    lab.hear()
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"})


def all_on_s1(master):
    """Makes the master send nine destinations to s1; by load alone they would be spread. Returns them."""
    addresses = [key(n) for n in range(9)]
    with inside(master):
        lab.ipvs(*(lab.server("-e", name, 0) for name in ("s2", "s3")))
    eq(lab.open(addresses), dict.fromkeys(addresses, "s1"))
    with inside(master):
        lab.ipvs(*(lab.server("-e", name, 1000) for name in ("s2", "s3")))
    eq([lab.ask(address) for address in addresses], ["s1"] * 9)
    return addresses


@case
def the_table_is_not_copied_but_learned_anew():
    drop_in()
    master, backup = lab.pair()
    addresses = all_on_s1(master)
    with inside(master):
        sysctl("net/ipv4/vs/lblc_expiration", 3600)
    lab.copied(backup)
    gt(counters(master), 0)
    eq(counters(backup), 0)
    with inside(backup):
        eq(sysctl("net/ipv4/vs/lblc_expiration"), "86400")
    eq(table(master), dict.fromkeys(addresses, "s1"))
    eq(table(backup), {})  # connections are copied, the table is not
    lab.fail_over(master, backup)
    lab.hear()
    eq(table(backup), {})  # established connections are not scheduled
    # s1 has the most connections now, so unknown destinations go to the others.
    learned = {address: lab.ask(address, timeout=LONG) for address in addresses}
    assert set(learned.values()) == {"s2", "s3"}, learned
    eq(table(backup), learned)
    eq({address: lab.ask(address) for address in addresses}, learned)
    lab.tell()
    lab.hear()


@case
def cs_table_is_not_copied_either():
    unload_all()
    master, backup = lab.pair()
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc"})
    addresses = all_on_s1(master)
    lab.copied(backup)
    lab.fail_over(master, backup)
    lab.hear()
    eq({lab.ask(address, timeout=LONG) for address in addresses}, {"s2", "s3"})


def kept(addresses, **changes):
    """The number of destinations that keep their server when the master dies under traffic."""
    master, backup = lab.pair(**changes)
    with Traffic() as traffic:
        before = {address: lab.ask(address) for address in addresses}
        traffic.flows()
        lab.fail_over(master, backup)
        after = {address: lab.ask(address, timeout=LONG) for address in addresses}
        traffic.flows()
    lab.clear()
    lacks([*before.values(), *after.values()], None)
    return sum(after[address] == before[address] for address in addresses)


@case
def with_flag_2_a_backup_sends_destinations_where_the_master_did():
    drop_in()
    addresses = [key(n) for n in range(1000, 1200)]
    without, with_it = kept(addresses), kept(addresses, **{"# flag-2": "flag-2"})
    print(f"# of {len(addresses)} destinations, {without} keep their server; with flag-2, {with_it}")
    assert with_it >= 190, f"{with_it} of 200"
    assert without < 190, f"{without} of 200 even without the flag: the case shows nothing"


@case
def a_warm_backup_keeps_destinations():
    """The command of the sample, as it stands there, with the other director's namespace for ssh."""
    drop_in()
    with open(SAMPLES + "/lblc-backup.service") as file:
        command = file.read().split("ExecStart=")[1].strip().replace(" ssh ", " ip netns exec ")
    master, backup = lab.pair()
    addresses = [key(n) for n in range(1000, 1200)]
    with Traffic() as traffic:
        before = {address: lab.ask(address) for address in addresses}
        for _ in range(2):
            run(f"ip netns exec {master} {command.replace('backup', backup)}")
        traffic.flows()
        lab.fail_over(master, backup)
        after = {address: lab.ask(address, timeout=LONG) for address in addresses}
    lacks([*before.values(), *after.values()], None)
    moved = [address for address in addresses if after[address] != before[address]]
    print(f"# of {len(addresses)} destinations, {len(addresses) - len(moved)} keep their server")
    assert len(moved) <= 2, moved


@case
def a_running_keepalived_is_switched_over():
    unload_all()
    director = "d1"
    daemon = lab.director(director)
    lab.wait(lambda: lab.role(director) == "master" and lab.ready(director), "a director")
    addresses = [key(n) for n in range(9)]
    lab.open(addresses)
    try:
        with Traffic() as traffic, inside(director):
            traffic.flows()
            # The steps of docs/keepalived.md.
            run(f"cp {SAMPLES}/ip_vs_lblc_rs-dropin.conf /etc/modprobe.d/")
            run("ipvsadm -E -f 1 -s wlc")
            run("rmmod ip_vs_lblc")
            run("ipvsadm -E -f 1 -s lblc")
            traffic.flows()
    finally:
        os.remove("/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf")
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"})
    lab.tell()
    lab.hear()
    learned = {address: lab.ask(address) for address in addresses}
    known = table(director)
    eq(learned.items() - known.items(), set(), "destinations that d1 does not know")
    # A reload that changes weights keeps the service and its table.
    daemon.reload("weight 1000", "weight 500")
    lab.wait(lambda: weights(director) == {500}, "keepalived changes the weights")
    eq(table(director), known)


@case
def a_dead_server_loses_its_destinations():
    drop_in()
    lab.director("d1", **{"delay_loop 5": "delay_loop 1", "connect_timeout 3": f"connect_timeout {5 * SLOW}"})
    lab.wait(lambda: lab.role("d1") == "master" and lab.ready("d1"), "a director")
    addresses = all_on_s1("d1")
    with inside("s1"):
        run("nft add table inet dead")
        run("nft 'add chain inet dead drops { type filter hook input priority 0; policy drop; }'")
    lab.wait(lambda: "s1" not in weights_of("d1"), "keepalived takes s1 out")
    eq({lab.ask(address, timeout=LONG) for address in addresses[:5]} - {"s2", "s3"}, set(), "servers not expected")
    with inside("s1"):
        run("nft delete table inet dead")
    lab.wait(lambda: "s1" in weights_of("d1"), "keepalived takes s1 back")
    # As docs/keepalived.md says: destinations that were used meanwhile have moved, the others go to s1 again.
    eq({lab.ask(address, timeout=LONG) for address in addresses[:5]} - {"s2", "s3"}, set(), "servers not expected")
    eq([lab.ask(address, timeout=LONG) for address in addresses[5:]], ["s1"] * 4)


@case
def keepalived_takes_the_flags_but_not_the_name():
    drop_in()
    lab.director("d1", **{"# flag-1": "flag-1", "# flag-2": "flag-2"})
    lab.wait(lambda: lab.ready("d1"), "a director")
    has(run("ip netns exec d1 ipvsadm -S -n"), "-s lblc -b flag-1,flag-2")
    lab.clear()
    daemon = lab.director("d1", **{"lb_algo lblc": "lb_algo lblc_rs"})
    lab.wait(lambda: lab.ready("d1"), "a director")
    has(run("ip netns exec d1 ipvsadm -S -n"), "-s wlc")
    has(daemon.said(), "Invalid lvs_scheduler 'lblc_rs' - ignoring")


main(lab)
