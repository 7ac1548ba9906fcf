# SPDX-License-Identifier: GPL-2.0
"""A small network of namespaces, for the cases and the demo.

    client ───────────── director ──┬── s1     servers: TCP, UDP and SCTP on ports 80 and 81
    10.0.1.2    c0   10.0.1.1       ├── s2     10.0.(10+N).2, fd00:N::2
    fd00:c::2        fd00:c::1      ├── s3     they also take every packet for
     │          VIP 10.0.1.100      └── s4     198.18.0.0/15, fd00:d::/64 and the VIPs
     │          VIP fd00:c::100          │
     └───────────────────────────────────┘     replies go directly to the client, except with NAT

The director marks packets to 198.18.0.0/15 and fd00:d::/64: 1 for port 80, 2 for port 81.
This process is in the director's namespace; it makes its sockets in the namespaces of the hosts.
"""

import contextlib
import os
import resource
import selectors
import socket
import struct
import threading

from harness import SLOW, run, wait_until

VIP, VIP6 = "10.0.1.100", "fd00:c::100"
PORTS, KEEP = (80, 81), "net/ipv4/vs/lblc_rs_keep"
SCTP = 132
PROTOCOLS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0),
             "sctp": (socket.SOCK_STREAM, SCTP)}


def key(number, ipv6=False):
    """A destination address, one of 65536."""
    high, low = divmod(number, 256)
    return f"fd00:d::{number:x}" if ipv6 else f"198.18.{high}.{low}"


def sysctl(name, value=None):
    """Reads or writes a sysctl of the director."""
    path = "/proc/sys/" + name
    if value is None:
        with open(path) as file:
            return file.read().strip()
    with open(path, "w") as file:
        file.write(str(value))
    return None


@contextlib.contextmanager
def inside(name):
    """Moves this thread to the network namespace `name` and back."""
    with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{name}") as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(here.fileno(), os.CLONE_NEWNET)


class Connection:
    """A connection of the client, and the name of its server or None."""

    def __init__(self, sock, server):
        self.sock, self.server = sock, server

    def close(self):
        self.sock.close()


class Servers(threading.Thread):
    """All real servers: they answer connections with their names, and record datagrams."""

    def __init__(self, names):
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.datagrams = []
        self.arrived = threading.Condition()
        for name in names:
            with inside(name):
                for port in PORTS:
                    for protocol, (kind, number) in PROTOCOLS.items():
                        # An SCTP server sends all of its addresses to the client: bind it to one.
                        family, bound = socket.AF_INET6, "::"
                        if protocol == "sctp":
                            family, bound = socket.AF_INET, Lab.address(name)
                        sock = socket.socket(family, kind, number)
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        sock.bind((bound, port))
                        if protocol == "udp":
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
                        else:
                            sock.listen(4096)
                        sock.setblocking(False)
                        work = self.datagram if protocol == "udp" else self.accept
                        self.selector.register(sock, selectors.EVENT_READ, (work, name))

    def run(self):
        while True:
            for event, _ in self.selector.select():
                work, name = event.data
                try:
                    work(event.fileobj, name)
                except OSError:
                    self.hang_up(event.fileobj, name)

    def accept(self, listener, name):
        with contextlib.suppress(OSError):  # a client may have reset the connection: the listener stays
            sock, _ = listener.accept()
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ, (self.talk, name))
            sock.send(name.encode() + b"\n")

    def talk(self, sock, name):
        if not sock.recv(4096):
            self.hang_up(sock, name)

    def hang_up(self, sock, _name):
        self.selector.unregister(sock)
        sock.close()

    def datagram(self, sock, name):
        while True:
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                return
            with self.arrived:
                self.datagrams.append((data, name))
                self.arrived.notify()


class Traffic(threading.Thread):
    """Opens and closes connections to fifty destinations while its context is entered."""

    def __init__(self):
        super().__init__()
        self.stop, self.served, self.refused = threading.Event(), 0, 0

    def run(self):
        with inside("client"):
            while not self.stop.is_set():
                try:
                    with socket.create_connection((key(self.served % 50), 80), timeout=0.5 * SLOW) as sock:
                        self.served += bool(sock.recv(16))
                except OSError:
                    self.refused += 1

    def flows(self):
        """Waits until another connection has been served."""
        before = self.served
        wait_until(lambda: self.served > before, "traffic flows")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()


class Lab:
    """The network above, with `servers` servers named s1, s2, ..., run by `serve`."""

    def __init__(self, servers=4, serve=Servers):
        self.names = [f"s{n}" for n in range(1, servers + 1)]
        self.conns = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 17, 1 << 17))
        run("modprobe ip_vs")
        for name in ["client", "director"] + self.names:
            run(f"ip netns add {name}", check=False)
        with open("/run/netns/director") as director:
            os.setns(director.fileno(), os.CLONE_NEWNET)
        batch = ["link set lo up", "link add c0 type veth peer name c0 netns client",
                 "addr add 10.0.1.1/24 dev c0", "addr add fd00:c::1/64 dev c0 nodad",
                 f"addr add {VIP}/32 dev c0", f"addr add {VIP6}/128 dev c0 nodad",
                 "link set c0 up"]
        for n, name in enumerate(self.names, 1):
            batch += [f"link add {name} type veth peer name eth0 netns {name}",
                      f"addr add 10.0.{10 + n}.1/24 dev {name}",
                      f"addr add fd00:{n}::1/64 dev {name} nodad", f"link set {name} up"]
        for mark in (1, 2):
            batch += [f"rule add fwmark {mark} lookup 100", f"-6 rule add fwmark {mark} lookup 100"]
        batch += ["route add local default dev lo table 100",
                  "-6 route add local default dev lo table 100"]
        self.ip(batch)
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            sysctl("net/" + path, 1)
        self.no_rp_filter(["all", "c0"] + self.names)
        with inside("client"):
            links = ["link set lo up", "addr add 10.0.1.2/24 dev c0", "link set c0 up",
                     "addr add fd00:c::2/64 dev c0 nodad", "route add default via 10.0.1.1",
                     "-6 route add default via fd00:c::1"]
            for n, name in enumerate(self.names, 1):
                links += [f"link add {name} type veth peer name eth1 netns {name}",
                          f"addr add 10.0.{20 + n}.1/24 dev {name}",
                          f"addr add fd00:a{n}::1/64 dev {name} nodad", f"link set {name} up"]
            self.ip(links)
            sysctl("net/ipv4/ip_local_port_range", "2000 64999")
            sysctl("net/ipv4/tcp_max_tw_buckets", 262144)  # above it, the client sends resets
            self.no_rp_filter(["all", "c0"] + self.names)
        for n, name in enumerate(self.names, 1):
            with inside(name):
                self.ip(["link set lo up", f"addr add 10.0.{10 + n}.2/24 dev eth0",
                         f"addr add fd00:{n}::2/64 dev eth0 nodad", "link set eth0 up",
                         f"addr add 10.0.{20 + n}.2/24 dev eth1",
                         f"addr add fd00:a{n}::2/64 dev eth1 nodad", "link set eth1 up",
                         f"route add default via 10.0.{20 + n}.1",
                         f"-6 route add default via fd00:a{n}::1",
                         f"rule add from 10.0.{10 + n}.2 lookup 10",
                         f"route add default via 10.0.{10 + n}.1 table 10",
                         f"-6 rule add from fd00:{n}::2 lookup 10",
                         f"-6 route add default via fd00:{n}::1 table 10",
                         "route add local 198.18.0.0/15 dev lo", f"route add local {VIP} dev lo",
                         "-6 route add local fd00:d::/64 dev lo",
                         f"-6 route add local {VIP6} dev lo"])
                self.no_rp_filter(["all", "eth0", "eth1"])
        self.keep_hooks()
        run(["nft", "-f", "-"], input="""
            table inet lab {
                chain marks {
                    type filter hook prerouting priority mangle;
                    ip daddr 198.18.0.0/15 th dport 80 meta mark set 1
                    ip daddr 198.18.0.0/15 th dport 81 meta mark set 2
                    ip6 daddr fd00:d::/64 th dport 80 meta mark set 1
                    ip6 daddr fd00:d::/64 th dport 81 meta mark set 2
                }
            }""")
        self.servers = serve(self.names)
        self.servers.start()

    @staticmethod
    def keep_hooks():
        """Adds a chain to each netfilter hook. IPVS registers its hooks with the first service and unregisters them
        with the last; the kernel patches its text then, unless there are others. On two CPUs under TCG that patching
        can end in an int3 oops, with any module."""
        idle = "".join(f"chain {hook} {{ type filter hook {hook} priority filter; }}\n"
                       for hook in ("prerouting", "input", "forward", "output", "postrouting"))
        run(["nft", "-f", "-"], input=f"table inet idle {{ {idle} }}")

    @staticmethod
    def no_rp_filter(devices):
        for device in devices:
            sysctl(f"net/ipv4/conf/{device}/rp_filter", 0)

    @staticmethod
    def ip(lines):
        four = [line for line in lines if not line.startswith("-6 ")]
        six = [line[3:] for line in lines if line.startswith("-6 ")]
        run(["ip", "-batch", "-"], input="\n".join(four) + "\n")
        run(["ip", "-6", "-batch", "-"], input="\n".join(six) + "\n")

    @staticmethod
    def address(name, ipv6=False):
        """The address of a server, as for ipvsadm."""
        number = int(name[1:])
        return f"[fd00:{number}::2]" if ipv6 else f"10.0.{10 + number}.2"

    # The director ---------------------------------------------------------------------------------

    def ipvs(self, *lines):
        """Runs the lines by one `ipvsadm -R`."""
        run(["ipvsadm", "-R"], input="\n".join(lines) + "\n")

    def service(self, scheduler="lblc_rs", weights=None, mark=1, ipv6=False, options="",
                service=None, port=0, how="-g"):
        """Makes a service with servers, by default for a firewall mark and with direct routing."""
        service = service or f"-f {mark}" + (" -6" if ipv6 else "")
        weights = weights or {name: 1000 for name in self.names}
        self.ipvs(f"-A {service} -s {scheduler} {options}",
                  *(self.server("-a", name, weight, service, ipv6, port, how)
                    for name, weight in weights.items()))
        return service

    def server(self, action, name, weight=None, service="-f 1", ipv6=False, port=0, how="-g",
               more=""):
        """The line for ipvs() that adds (-a), edits (-e) or deletes (-d) a server."""
        weight = "" if weight is None else f"{how} -w {weight}"
        return f"{action} {service} -r {self.address(name, ipv6)}:{port} {weight} {more}"

    def counters(self, header="FWM  00000001"):
        """{server: (weight, active, inactive)} of a service, from /proc/net/ip_vs."""
        found, here = {}, False
        with open("/proc/net/ip_vs") as file:
            for line in file:
                if not line.startswith("  ->"):
                    here = line.startswith(header)
                elif here and "RemoteAddress" not in line:
                    word = line.split()
                    found[self.name_of(word[1])] = tuple(int(x) for x in word[3:6])
        return found

    @staticmethod
    def name_of(address):
        """The name of the server with an address as in /proc/net/ip_vs."""
        if address.startswith("["):
            return "s" + str(int(address[1:].split(":")[1], 16))
        return "s" + str(int(address[4:6], 16) - 10)

    def clear(self):
        """Removes all connections, services and parked tables, for the next case."""
        run("for one in client director; do ip netns exec $one sysctl -eqw net.ipv4.vs.lblc_rs_keep=0; done")
        for connection in self.conns:
            connection.close()
        self.conns.clear()
        # With this sysctl, removing any server expires all connections of removed servers. Otherwise servers of the
        # next case would come from the trash with connections.
        sysctl("net/ipv4/vs/expire_nodest_conn", 1)
        run("ipvsadm -C")
        self.ipvs("-A -f 9 -s rr", self.server("-a", "s1", 1, "-f 9"))
        run("ipvsadm -C")
        wait_until(lambda: self.table_size() == 0, "the connection table becomes empty")
        sysctl("net/ipv4/vs/expire_nodest_conn", 0)
        run("ipvsadm --set 900 120 300")

    @staticmethod
    def table_size():
        """The number of entries in the connection table of IPVS. (Not the lines of ip_vs_conn: during a resize it omits
        those in the new table.)"""
        with open("/proc/net/ip_vs_status") as file:
            return int(file.readline().removeprefix("Conns:"))

    @staticmethod
    def table():
        """Waits until the connection table of IPVS has entries; returns the words of each line."""
        def lines():
            with open("/proc/net/ip_vs_conn") as file:
                return [line.split() for line in file][1:]
        return wait_until(lines, "the connections are shown")

    # The client -----------------------------------------------------------------------------------

    def connect(self, address, port=80, protocol="tcp", timeout=30):
        """Opens a connection and keeps it; its `server` is None if no server answered in `timeout` seconds. (A case
        that expects None need not wait that long.)"""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind, number = PROTOCOLS[protocol]
        with inside("client"):
            sock = socket.socket(family, kind, number)
        sock.settimeout(timeout * SLOW)
        try:
            sock.connect((address, port))
            server = sock.recv(64).decode().strip() or None
        except OSError:
            server = None
        connection = Connection(sock, server)
        self.conns.append(connection)
        return connection

    def ask(self, address, **more):
        """Opens and closes a connection; returns the name of its server or None."""
        connection = self.connect(address, **more)
        connection.close()
        self.conns.remove(connection)
        return connection.server

    def hold(self, address, count=1, **more):
        """Opens connections and waits until the director counts them as active."""
        before = self.active()
        opened = [self.connect(address, **more) for _ in range(count)]
        wait_until(lambda: self.active() >= before + count, "connections become active")
        return opened

    def active(self):
        """The number of active connections of all services."""
        with open("/proc/net/ip_vs") as file:
            return sum(int(line.split()[4]) for line in file
                       if line.startswith("  ->") and "Remote" not in line)

    def release(self, connections):
        """Closes connections and waits until the director does not count them as active."""
        before = self.active()
        for connection in connections:
            connection.close()
            self.conns.remove(connection)
        wait_until(lambda: self.active() <= before - len(connections), "connections become inactive")

    def send(self, addresses, port=80):
        """Sends a datagram to each address from one socket; returns the servers that received them, in that order."""
        family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
        with inside("client"), self.servers.arrived:
            self.servers.datagrams.clear()
            sock = socket.socket(family, socket.SOCK_DGRAM)
        # Other threads may send as well.
        token, got = os.urandom(8), {}

        def arrived():
            mine = [(data[8:], name) for data, name in self.servers.datagrams if data[:8] == token]
            got.update((struct.unpack("!I", number)[0], name) for number, name in mine)
            self.servers.datagrams.clear()
            return len(got) >= start + len(batch)

        with sock:
            for start in range(0, len(addresses), 64):
                batch = addresses[start:start + 64]
                for number, address in enumerate(batch, start):
                    sock.sendto(token + struct.pack("!I", number), (address, port))
                with self.servers.arrived:
                    self.servers.arrived.wait_for(arrived, timeout=5 * SLOW)
        return [got.get(number) for number in range(len(addresses))]
