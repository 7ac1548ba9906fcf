# SPDX-License-Identifier: GPL-2.0
"""A fleet: directors behind a router that spreads connections over them, in front of real caches.

    client ───── router ───┬── d1, d2, ...  10.0.1.N: mark packets to 198.18.0.0/15, schedule them
    10.1.0.0/16  10.0.0.1  ├── c1, c2, ...  10.0.2.N: nginx; they take 198.18.0.0/15,
                           └── origin       10.0.3.1  and answer the client through the router

The router has a multipath route to 198.18.0.0/15 (ECMP), and chooses a director by addresses and
ports. Its group of next hops is resilient: when a director is gone, connections through the others
stay where they are. Every host is a network namespace; this process stays outside of them.
"""

import resource

import caches
from harness import run
from lab import Lab, inside, sysctl
from vrrplab import mark_connections

CLIENTS = [f"10.1.{n // 250}.{1 + n % 250}" for n in range(1000)]
MARK = "-f 1"
GROUP = 100         # of the router's next hops; the others have the directors' numbers


class Fleet:
    """The network above."""

    def __init__(self, caches_=8, pages=6, seed=1):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 16, 1 << 16))
        run("modprobe ip_vs")
        Lab.keep_hooks()
        self.names = [f"c{n}" for n in range(1, caches_ + 1)]
        self.directors, self.scheduler, self.weight = [], None, 0
        self.pages, self.runs = pages, 0
        for name in ("lan", "client"):
            run(f"ip netns add {name}")
        with inside("lan"):
            Lab.ip(["link add br0 type bridge", "link set br0 up"])
        self.host("router", "10.0.0.1")
        with inside("router"):
            Lab.ip(["link add client type veth peer name eth0 netns client",
                    "addr add 10.2.0.1/24 dev client", "link set client up",
                    "route add 10.1.0.0/16 via 10.2.0.2"])
            Lab.no_rp_filter(["client"])
            sysctl("net/ipv4/ip_forward", 1)
            sysctl("net/ipv4/fib_multipath_hash_policy", 1)     # addresses and ports
            sysctl("net/ipv4/fib_multipath_hash_seed", seed)
        with inside("client"):
            Lab.ip(["link set lo up", "addr add 10.2.0.2/24 dev eth0", "link set eth0 up",
                    "route add default via 10.2.0.1", "route add local 10.1.0.0/16 dev lo"])
            Lab.no_rp_filter(["all", "eth0"])
            sysctl("net/ipv4/tcp_max_tw_buckets", 262144)
        self.host("origin", "10.0.3.1")
        self.origin = caches.origin()
        for name in self.names:
            self.host(name, self.address(name), "route add default via 10.0.0.1",
                      "route add local 198.18.0.0/15 dev lo")
        self.caches = [caches.cache(name, pages, "10.0.3.1") for name in self.names]
        for server in (self.origin, *self.caches):
            server.ready()

    @staticmethod
    def host(name, address, *more):
        """Creates a network namespace on the bridge. Its MAC address follows from its IP address:
        if it is created again, the entries in its neighbours' ARP caches are still right."""
        run(f"ip netns add {name}")
        mac = "02:00:" + ":".join(f"{int(byte):02x}" for byte in address.split("."))
        with inside("lan"):
            Lab.ip([f"link add {name} type veth peer name eth0 address {mac} netns {name}",
                    f"link set {name} master br0 up"])
        with inside(name):
            Lab.ip(["link set lo up", f"addr add {address}/16 dev eth0", "link set eth0 up", *more])
            Lab.no_rp_filter(["all", "eth0"])

    @staticmethod
    def address(name):
        """The address of a director or cache."""
        return f"10.0.{'dc'.index(name[0]) + 1}.{name[1:]}"

    @staticmethod
    def get(path, site="198.18.0.1"):
        """One request of a client: (cache, whether it was a hit)."""
        with inside("client"):
            said = run(f"curl -sS -o /dev/null -D - --interface {CLIENTS[0]} http://{site}{path}")
        head = dict(line.strip().split(": ", 1) for line in said.splitlines() if ": " in line)
        return head["X-Server"], head["X-Cache"] == "HIT"

    # Directors ------------------------------------------------------------------------------------

    def start(self, count, scheduler, weight):
        """Creates `count` directors, after deleting the ones before. Each divides the caches' weight
        by `count`, as it counts its own connections only."""
        self.end_directors()
        self.scheduler, self.weight = scheduler, weight // count
        for number in range(1, count + 1):
            self.director(f"d{number}")

    def director(self, name):
        """Adds a director; the router sends it a part of the connections."""
        self.host(name, self.address(name), "rule add fwmark 1 lookup 100",
                  "route add local default dev lo table 100")
        with inside(name):
            mark_connections()
            self.ipvs(f"-A {MARK} -s {self.scheduler}",
                      *(self.server("-a", cache) for cache in self.names))
        self.directors.append(name)
        with inside("router"):
            run(f"ip nexthop add id {name[1:]} via {self.address(name)} dev eth0")
            group = "/".join(name[1:] for name in self.directors)
            run(f"ip nexthop replace id {GROUP} group {group} "
                "type resilient buckets 256 idle_timer 0")
            run(f"ip route replace 198.18.0.0/15 nhid {GROUP}")

    def kill(self, name):
        """Cuts the director off, and removes its next hop, as a routing daemon does."""
        run(f"ip -n lan link set {name} down")
        run(f"ip -n router nexthop del id {name[1:]}")
        self.directors.remove(name)

    def lose(self):
        """A director is gone. If it was the only one, another with an empty table takes over."""
        self.kill("d1")
        if not self.directors:
            self.director("d2")

    def regain(self):
        """The director is back with an empty table, unless another one has taken over."""
        if self.directors != ["d2"]:
            self.dispose("d1")
            self.director("d1")

    def everywhere(self, line):
        """A line for ipvsadm on each director."""
        for name in self.directors:
            with inside(name):
                self.ipvs(line)

    def server(self, action, cache):
        """The line for ipvs() that adds (-a) or deletes (-d) a cache."""
        more = f"-g -w {self.weight}" if action == "-a" else ""
        return f"{action} {MARK} -r {self.address(cache)}:0 {more}"

    @staticmethod
    def ipvs(*lines):
        run(["ipvsadm", "-R"], input="\n".join(lines) + "\n")

    @staticmethod
    def dispose(name):
        """Deletes a director's namespace."""
        run(f"ip -n router nexthop del id {name[1:]}", check=False)
        run(f"ip netns exec {name} ipvsadm -C")
        run(f"ip -n lan link del {name}")
        run(f"ip netns del {name}")

    def end_directors(self):
        for name in {f"d{n}" for n in range(1, 9)} & set(run("ip netns list").split()):
            self.dispose(name)
        self.directors = []

    def clear(self):
        """No director and no connection, for the next case."""
        self.end_directors()

    def end(self):
        self.end_directors()
        for server in (self.origin, *self.caches):
            server.end()


# What is compared: a number of directors, and the scheduler as for ipvsadm.
PLANS = {
    "1 director, lblc_rs": (1, "lblc_rs"),
    "4 directors, lblc_rs": (4, "lblc_rs"),
    "4 directors, lblc_rs -b flag-2": (4, "lblc_rs -b flag-2"),
    "4 directors, dh": (4, "dh"),
    "4 directors, mh": (4, "mh"),
}


def story(fleet, plan, seed, weight, rounds):
    """Runs a plan with clients that ask for a third more sites than the caches hold. Yields (event,
    result); `rounds` has the number of requests for each site after each event."""
    count, scheduler = plan
    held = len(fleet.names) * caches.room(fleet.pages)
    sites = held * 4 // 3
    fleet.start(count, scheduler, weight)
    # Six tenths of the weights are used, if nine of ten requests are hits.
    stay = 0.6 * len(fleet.names) * weight / (0.9 + 0.1 * 3)
    clients = caches.Clients("client", CLIENTS, sites, stay, seed, weight)
    cache = fleet.names[len(fleet.names) // 2]
    events = {
        "cold": lambda: None,
        "steady": lambda: None,
        "a director is gone": fleet.lose,
        "it is back": fleet.regain,
        "a cache is removed": lambda: fleet.everywhere(fleet.server("-d", cache)),
        "the cache is back": lambda: fleet.everywhere(fleet.server("-a", cache)),
    }
    fleet.runs += 1
    try:
        for (name, event), times in zip(events.items(), rounds):
            event()
            # Another path for each run: its pages are not in the caches, and replace those of the
            # run before.
            yield name, clients.ask(clients.draw(round(times * sites)), f"/{fleet.runs}")
    finally:
        clients.end()
