# SPDX-License-Identifier: GPL-2.0
"""Measurements of more than one call of schedule(): memory, the delay of bottom halves, packets from end to end,
floods, two CPUs at once. A function for each op of cells.WHOLE; each yields lines of results."""

import os
import re
import socket
import sys
import time as clock

import cells
from common import (MARKS, MAX_ENTRIES, ROOMY, Services, Wrong, bench, fill, header, interval, median, run,
                    samples, settled, sysctl)

sys.path.append(os.path.dirname(__file__) + "/../selftest")

def line(cell, unit, c, rs, ratios=None):
    """A line of results; `ratios` are those of pairs, if measured in pairs."""
    ratio, low, high = None, None, None
    if ratios:
        ratio, (low, high) = median(ratios), interval(ratios)
    digits = {"ratio": ratio, "lo": low, "hi": high}
    return dict(cell._asdict(), c=c, rs=rs, unit=unit,
                **{name: value if value is None else round(value, 3) for name, value in digits.items()})


def bytes_(cell):
    """The bytes of entries and buckets for each entry. The size of slab objects includes the overhead of the slab."""
    Services(cell)
    fill(cell)
    table = header()
    slab = "/sys/kernel/slab/ip_vs_lblc_rs_entry/"
    if os.path.exists(slab):
        with open(slab + "slab_size") as size, open(slab + "objs_per_slab") as objects:
            if int(size.read()) != 64 or int(objects.read()) % 64:
                raise Wrong("an entry takes more than 64 bytes of its slab")
    yield line(cell, "bytes", None, round(table["bytes"] / table["entries"], 1))


def longest(action):
    """The longest delay of a softirq while `action` runs, in thousands of instructions."""
    prepared = action()
    next(prepared)
    bench("probe start")
    next(prepared)
    bench("probe stop")
    wait = next(iter(samples("raw")))[0]
    next(prepared, None)
    return round(wait / 1000, 1)


def stretch(cell, work):
    """Measures `work` with C's table, of the maximal size, and with ours."""
    c = longest(lambda: work(cell._replace(n=cells.C_HOLDS - 1), "lblc")) if cell.c_too else None
    rs = longest(lambda: work(cell, "lblc_rs"))
    yield line(cell, "1000 instructions", c, rs)


def of_one(cell, scheduler):
    """Makes a service of that scheduler only, and fills its table."""
    services = Services(cell)
    fill(cell)
    for name in services.schedulers:
        if name != scheduler:
            run(f"ipvsadm -D -f {MARKS[name]}")
    clock.sleep(2)      # C frees its entries in a softirq after a grace period


def nothing(cell, scheduler):
    of_one(cell, scheduler)
    yield
    clock.sleep(2)
    yield


def teardown(cell, scheduler):
    of_one(cell, scheduler)
    yield
    run(f"ipvsadm -D -f {MARKS[scheduler]}")
    clock.sleep(3)
    yield


def resize(cell, _):
    Services(cell)
    bench(f"keys random {cells.SEED} {cell.n}")
    yield
    bench("fill")
    settled(cell.n)
    yield


def evict(cell, scheduler):
    of_one(cell, scheduler)
    yield
    sysctl(MAX_ENTRIES, 1000)
    end = clock.monotonic() + 300
    while header()["entries"] > 1000:
        if clock.monotonic() > end:
            raise Wrong("the entries above the limit are not evicted")
        clock.sleep(0.1)
    yield
    sysctl(MAX_ENTRIES, ROOMY)


def collect(cell, scheduler):
    """A partial collection, which looks at every entry, at the first tick: a minute after the service was made."""
    sysctl(MAX_ENTRIES, cell.n * 5 // 4)
    of_one(cell, scheduler)
    yield
    clock.sleep(62)
    yield
    sysctl(MAX_ENTRIES, ROOMY)


def udp(cell):
    """One-packet UDP from a client through the director to 16 servers, which drop it: seconds for all keys."""
    from lab import Lab, inside, key
    run("ipvsadm -C")

    class Silent:
        """Servers that drop all packets as early as possible."""

        def __init__(self, names):
            for name in names:
                run(["ip", "netns", "exec", name, "nft", "-f", "-"], input="table inet silence { chain everything { "
                    "type filter hook prerouting priority raw; policy drop;\n}\n}\n")

        def start(self):
            pass

    with open("/proc/self/ns/net") as here:
        try:
            pairs = packets(cell, Lab(servers=cell.d, serve=Silent), inside, key)
        finally:
            os.setns(here.fileno(), os.CLONE_NEWNET)
    c, rs = (median([pair[scheduler] for pair in pairs]) * 1e9 / cell.n for scheduler in MARKS)
    yield line(cell, "ns a packet", round(c), round(rs),
               [pair["lblc"] / pair["lblc_rs"] for pair in pairs])


def packets(cell, lab, inside, key):
    """The seconds to send a packet for each key, to a service of each scheduler, in pairs."""
    ports = {"lblc": 80, "lblc_rs": 81}
    for scheduler, mark in MARKS.items():
        lab.service(scheduler, {name: 1000 for name in lab.names}, mark=mark, options="-o")
    addresses = [key(n) for n in range(cell.n)]
    with inside("client"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def seconds(scheduler):
        port, send = ports[scheduler], sock.sendto
        start = clock.perf_counter()
        for address in addresses:
            send(b"", (address, port))
        return clock.perf_counter() - start

    pairs = []
    for number in range(2 * cells.UDP_PAIRS + 2):
        order = list(MARKS) if number % 2 else list(MARKS)[::-1]
        pairs.append({scheduler: seconds(scheduler) for scheduler in order})
    stats = run("ipvsadm -Ln --stats --exact")
    for mark in MARKS.values():
        if int(re.search(rf"^FWM  {mark} +(\d+)", stats, re.M)[1]) < cell.n * 2 * cells.UDP_PAIRS:
            raise Wrong("not every packet was scheduled")
    run("ipvsadm -C")
    return pairs[2:]    # the first ones fill the tables


def flood(cell):
    """The percentage of calls for frequent keys that return the same server as before."""
    Services(cell)
    sysctl(MAX_ENTRIES, cell.n)
    bench(f"keys random {cells.SEED} {cells.REGULARS}")
    bench("active 0")
    bench(f"flood {cells.REGULARS} {2 * cell.n}")
    kept, asked = samples("raw")
    sysctl(MAX_ENTRIES, ROOMY)
    yield line(cell, "% kept", *(round(100 * kept[side] / asked[side], 1) for side in (0, 1)))


def race(cell):
    """The rate of calls on two CPUs at once, relative to that on one; of known keys beside a flood of new ones, the rate
    of the CPU that asks for known ones."""
    if os.cpu_count() < 2:
        raise Wrong("this needs two CPUs")
    grown, number = cell.op == "race-grown", cells.RACES[cell.op]
    what = "flood" if grown else cell.op.removeprefix("race-")
    beside = what == "flood"    # one CPU asks for known keys, and the other one inserts
    found = {scheduler: [] for scheduler in MARKS}
    for turn in range(cells.RACE_RUNS):
        # A flood lengthens the chains, so the table is not used after it.
        order = (1, 1, 2) if beside else (1, 2) if turn % 2 else (2, 1)
        for scheduler in MARKS:
            Services(cell)
            fill(cell._replace(n=cells.GROWN) if grown else cell)
            bench(f"only {cell.n}")
            took = {}
            for cpus in order:
                kind = "own" if beside and cpus == 1 else what
                bench(f"race {'C' if scheduler == 'lblc' else 'ours'} {kind} {cpus} {number}")
                took[cpus] = next(iter(samples("raw")))[0]
            found[scheduler].append((1 if beside else 2) * took[1] / took[2])
    c, rs = (round(median(found[scheduler]), 2) for scheduler in MARKS)
    yield line(cell, "x one CPU", c, rs)


DO = {"bytes": bytes_, "udp": udp, "flood": flood, **dict.fromkeys(cells.RACES, race)}
STRETCH = {"stretch-nothing": nothing, "stretch-teardown": teardown, "stretch-resize": resize,
           "stretch-evict": evict, "stretch-collect": collect}


def measure(cell):
    if cell.op in STRETCH:
        return stretch(cell, STRETCH[cell.op])
    return DO[cell.op](cell)
