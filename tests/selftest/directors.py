#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""flag-2: a destination without a server gets the first one in the order that docs/directors.md defines. The program on
that page computes the expected order. Two directors agree.

The second director is the client, which schedules the packets that it sends to port 81.
"""

import rendezvous
from harness import case, gt, has, lacks, main, ne, run, wait_until
from icmp import icmp_error
from lab import VIP, Lab, inside, key, sysctl

SEED = "net/ipv4/vs/lblc_rs_seed"
EQUAL = {"s1": 1000, "s2": 1000, "s3": 1000, "s4": 1000}
KEYS = 2000

lab = Lab()


def orders(keys, weights, port=0, seed=0):
    """For each key, the servers with a weight above 0 in the order that the program of docs/directors.md prints."""
    names = {lab.address(name, ":" in keys[0]).strip("[]"): name for name in weights}
    servers = [(address, port, weights[name]) for address, name in names.items() if weights[name]]
    return [[names[address] for address in order] for order in rendezvous.orders(keys, servers, seed)]


def firsts(keys, weights, **more):
    return [order[0] for order in orders(keys, weights, **more)]


def keys_of(order, weights, count=1, start=0):
    """`count` keys whose order begins with `order`."""
    keys = [key(n) for n in range(start, start + 400)]
    found = [address for address, its in zip(keys, orders(keys, weights)) if its[:len(order)] == list(order)]
    assert len(found) >= count, f"{len(found)} keys with the order {order}"
    return found[:count]


def service(weights=None, flags="flag-2", **more):
    """Adds a service with `flags`."""
    options = f"-b {flags} " + more.pop("options", "")
    return lab.service(weights=weights or EQUAL, options=options, **more)


def same(keys, got, want):
    """Asserts that each key went to the server that it should go to."""
    wrong = [f"{address}: {is_}, not {should}" for address, is_, should in zip(keys, got, want) if is_ != should]
    assert not wrong, f"{len(wrong)} of {len(keys)}: {wrong[:5]}"


def equal(got, want):
    assert got == want, f"{got}, not {want}"


@case
def unknown_destinations_go_to_the_first_in_their_order():
    for weights in (EQUAL, {"s1": 100, "s2": 200, "s3": 300, "s4": 1000}):
        for ipv6 in (False, True):
            lab.clear()
            service(weights, ipv6=ipv6)
            keys = [key(n, ipv6) for n in range(200)]
            want = firsts(keys, weights)
            equal(set(want), set(weights))
            same(keys, lab.send(keys), want)
            same(keys, lab.send(keys[::-1])[::-1], want)


@case
def every_kind_of_connection_goes_to_the_first_server():
    service()
    keys = [key(n) for n in range(20)]
    same(keys, [lab.ask(address) for address in keys], firsts(keys, EQUAL))
    lab.clear()
    service(service=f"-t {VIP}:80", port=80, how="-m")
    equal([lab.ask(VIP)], firsts([VIP], EQUAL, port=80))
    lab.clear()
    service(options="-o")
    for _ in range(2):
        same(keys, lab.send(keys), firsts(keys, EQUAL))
    lab.clear()
    # The template of the first connection decides for the client's others.
    service(options="-p 100")
    equal(set(lab.send(keys)), {firsts(keys, EQUAL)[0]})


@case
def without_the_flag_the_least_loaded_is_taken():
    lab.service(weights=EQUAL)
    keys = [key(n) for n in range(8)]
    # One connection each, which counts as load: the newest server first, then the next.
    equal(lab.send(keys), ["s4", "s3", "s2", "s1"] * 2)


@case
def the_flag_is_set_and_cleared_on_a_live_service():
    lab.service(weights=EQUAL)
    old, new, newest = [key(n) for n in range(40)], [key(n) for n in range(100, 140)], [key(n) for n in range(200, 400)]
    before = lab.send(old)
    run("ipvsadm -E -f 1 -s lblc_rs -b flag-2")
    same(old, lab.send(old), before)
    same(new, lab.send(new), firsts(new, EQUAL))
    has(run("ipvsadm -S -n"), "flag-2")
    run("ipvsadm -E -f 1 -s lblc_rs")
    same(old + new, lab.send(old + new), before + firsts(new, EQUAL))
    lab.send(newest)
    load = [inactive for _, _, inactive in lab.counters().values()]
    assert sum(load) == 400 and max(load) - min(load) <= 1, load


@case
def the_seed_makes_another_order_for_new_destinations():
    service()
    old, new = [key(n) for n in range(40)], [key(n) for n in range(100, 200)]
    try:
        before = lab.send(old)
        for seed in (1, 2 ** 64 - 1):
            sysctl(SEED, seed)
            equal(sysctl(SEED), str(seed))
            same(old, lab.send(old), before)
            want = firsts(new, EQUAL, seed=seed)
            ne(want, firsts(new, EQUAL))
            same(new, lab.send(new), want)
            run("ipvsadm -E -f 1 -s rr")  # forgets all destinations
            run("ipvsadm -E -f 1 -s lblc_rs -b flag-2")
            before = firsts(old, EQUAL, seed=seed)
            same(old, lab.send(old), before)
    finally:
        sysctl(SEED, 0)


@case
def the_seed_has_64_bits_and_only_root_reads_it():
    path = "/proc/sys/" + SEED
    equal((sysctl(SEED), run(f"stat -c %a {path}")), ("0", "600"))
    try:
        sysctl(SEED, 2 ** 64 - 1)
        for bad in ("-1", str(2 ** 64), "seed", "1x", ""):
            try:
                sysctl(SEED, bad)
            except OSError:
                pass
            assert sysctl(SEED) == str(2 ** 64 - 1), f"{bad!r} made it {sysctl(SEED)}"
        refused = run(["setpriv", "--reuid=65534", "--clear-groups", "cat", path], check=False)
        assert refused.returncode and "denied" in refused.stderr, refused
        with inside("client"):
            equal(sysctl(SEED), "0")    # each network namespace has its own
    finally:
        sysctl(SEED, 0)


@case
def at_its_weight_a_server_is_first_and_above_it_is_not():
    weights = {"s1": 3, "s2": 4, "s3": 4}
    service(weights)
    keys = keys_of(["s1", "s2"], weights, 6)
    for address in keys[:4]:            # at 0, 1, 2 and 3 connections it is not above 3
        equal(lab.hold(address)[0].server, "s1")
    equal(lab.ask(keys[4]), "s2")       # s1 has 4
    lab.release(lab.conns[:1])
    equal(lab.ask(keys[5]), "s1")       # s1 has 3
    equal(lab.ask(keys[4]), "s2")       # it is known now


@case
def with_flag_1_all_connections_are_compared_with_the_weight():
    weights = {"s1": 3, "s2": 9}
    keys = keys_of(["s1", "s2"], weights, 8)
    for flags, want in (("flag-2", ["s1"] * 8), ("flag-1,flag-2", ["s1"] * 4 + ["s2"] * 4)):
        lab.clear()
        service(weights, flags)
        equal((flags, [lab.send([address])[0] for address in keys]), (flags, want))


@case
def with_all_above_their_weight_the_least_loaded_is_taken():
    weights = {"s1": 1, "s2": 1}
    service(weights)
    for name in weights:
        for address in keys_of([name], weights, 2):
            equal(lab.hold(address)[0].server, name)
    lab.hold(keys_of(["s1"], weights, 3)[2])
    counts = {name: active for name, (_, active, _) in lab.counters().items()}
    equal(sorted(counts.values()), [2, 3])
    least = min(counts, key=counts.get)
    other = "s2" if least == "s1" else "s1"
    equal(lab.ask(keys_of([other], weights, 1, 5000)[0]), least)


@case
def a_destination_that_spills_goes_to_the_next_in_its_order():
    weights = {"s1": 2, "s2": 9, "s3": 9}
    service(weights)
    address, = keys_of(["s1", "s2", "s3"], weights)
    lab.hold(keys_of(["s2"], weights)[0], 5)    # s3 would be the least loaded
    equal([held.server for held in lab.hold(address, 3)], ["s1"] * 3)
    equal(lab.ask(address), "s2")
    lab.release(lab.conns[5:])
    equal(lab.ask(address), "s2")       # it is known, with s2


@case
def at_its_upper_threshold_a_server_is_not_taken():
    service()
    address, other = keys_of(["s1", "s2"], EQUAL, 2)
    equal(lab.ask(address), "s1")
    lab.ipvs(lab.server("-e", "s1", 1000, more="-x 2 -y 1"))
    lab.hold(address, 2)
    equal((lab.ask(other), lab.ask(address)), ("s2", "s2"))     # neither chosen nor kept


@case
def a_quiesced_server_is_passed_over_and_first_again_later():
    service()
    known, unknown, later = keys_of(["s1", "s3"], EQUAL, 3)
    elsewhere = [address for address, order in zip(map(key, range(50)), orders(list(map(key, range(50))), EQUAL))
                 if order[0] != "s1"]
    equal(lab.ask(known), "s1")
    lab.ipvs(lab.server("-e", "s1", 0))
    equal((lab.ask(known), lab.ask(unknown)), ("s3", "s3"))
    same(elsewhere, lab.send(elsewhere), firsts(elsewhere, EQUAL))
    lab.ipvs(lab.server("-e", "s1", 1000))
    equal((lab.ask(known), lab.ask(later)), ("s3", "s1"))


@case
def a_removed_server_loses_only_its_destinations_and_gets_new_ones_later():
    service()
    keys, new = [key(n) for n in range(100)], [key(n) for n in range(100, 200)]
    same(keys, lab.send(keys), firsts(keys, EQUAL))
    lab.ipvs(lab.server("-d", "s2"))
    left = {name: weight for name, weight in EQUAL.items() if name != "s2"}
    asked = keys[:50]
    want = firsts(asked, left)
    same(asked, lab.send(asked), want)
    lab.ipvs(lab.server("-a", "s2", 1000))
    # Destinations that were used meanwhile have moved; the others go to s2 again.
    same(keys, lab.send(keys), want + firsts(keys[50:], EQUAL))
    same(new, lab.send(new), firsts(new, EQUAL))


@case
def an_icmp_error_goes_by_the_services_address():
    run("nft add rule inet lab marks ip daddr 198.18.0.0/15 icmp type destination-unreachable "
        "meta mark set 1")
    sysctl("net/ipv4/vs/schedule_icmp", 1)
    try:
        service()
        # The client's address, which C would take, has another first server.
        mine = firsts(["10.0.1.2"], EQUAL)[0]
        address = next(address for address in map(key, range(100)) if firsts([address], EQUAL)[0] != mine)
        icmp_error(address, "10.0.1.2", 80)
        shown = wait_until(lambda: [words for words in lab.table() if "0FA0" in words], "it is scheduled")
        equal([lab.name_of(shown[0][5])], firsts([address], EQUAL))
    finally:
        sysctl("net/ipv4/vs/schedule_icmp", 0)


def second_director():
    """Makes the client a director for the packets that it sends to port 81, with the same addresses of servers."""
    with inside("client"):
        lab.ip([f"{six}route replace {lab.address(name, bool(six)).strip('[]')} via "
                + (f"fd00:a{n}::2" if six else f"10.0.{20 + n}.2")
                for n, name in enumerate(lab.names, 1) for six in ("", "-6 ")])
        run(["nft", "-f", "-"], input="""
            table inet second
            delete table inet second
            table inet second {
                chain marks {
                    type route hook output priority mangle;
                    ip daddr 198.18.0.0/15 th dport 81 meta mark set 1
                    ip6 daddr fd00:d::/64 th dport 81 meta mark set 1
                }
            }""")


def both_directors(keys, names, flag="-b flag-2", ipv6=False):
    """The servers to which two directors send a datagram for each key; their servers were added in opposite orders."""
    lab.clear()
    with inside("client"):
        run("ipvsadm -C")
    six = " -6" if ipv6 else ""
    for where, order in (("director", names), ("client", names[::-1])):
        with inside(where):
            lab.ipvs(f"-A -f 1{six} -s lblc_rs {flag}",
                     *(lab.server("-a", name, 100000 * int(name[1:]), f"-f 1{six}", ipv6) for name in order))
    said = [lab.send(keys, port) for port in (80, 81)]
    with inside("client"):
        run("ipvsadm -C")
    return said


@case
def two_directors_agree_on_every_unknown_destination():
    second_director()
    try:
        for ipv6 in (False, True):
            keys = [key(n, ipv6) for n in range(KEYS)]
            weights = {name: 100000 * int(name[1:]) for name in lab.names}
            one, two = both_directors(keys, lab.names, ipv6=ipv6)
            lacks(one + two, None)  # all were served
            same(keys, two, one)
            same(keys[:200], one[:200], firsts(keys[:200], weights))
            print(f"# {len(keys)} destinations, {'IPv6' if ipv6 else 'IPv4'}: 0 unequal")
        one, two = both_directors(keys, lab.names, flag="", ipv6=True)
        unequal = sum(a != b for a, b in zip(one, two))
        print(f"# without flag-2: {unequal} unequal")
        gt(unequal, KEYS / 2)  # without the flag they differ, so the comparison can fail
    finally:
        with inside("client"):
            run("ipvsadm -C; nft delete table inet second")


main(lab)
