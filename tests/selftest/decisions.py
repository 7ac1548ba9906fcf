#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Each clause of the decision at its boundaries, and the intended differences from C.

The rule: keep the known server if it is available, below its threshold, and not overloaded while another is below
half its weight; otherwise choose the least loaded server, of equals the one added last.
"""

from harness import case, eq, has, load_both, main, run, wait_until
from icmp import icmp_error
from lab import Lab, key, sysctl

lab = Lab()
D = key(1)


def known_server(weights, **more):
    """Makes a service that has assigned D to s1; the other servers are added afterwards."""
    lab.service(weights={"s1": weights.pop("s1")}, **more)
    eq(lab.ask(D), "s1")
    for name, weight in weights.items():
        lab.ipvs(lab.server("-a", name, weight))


@case
def overloaded_needs_more_connections_than_weight():
    known_server({"s1": 3, "s2": 100})
    for expected in ("s1",) * 4:  # with 0, 1, 2 and 3 active connections it is not above 3
        eq(lab.hold(D)[0].server, expected)
    eq(lab.ask(D), "s2")  # 4 > 3, and s2 is below half its weight


@case
def overloaded_needs_a_half_idle_server():
    known_server({"s1": 1, "s2": 4})
    lab.hold(D, 2)                          # s1: 2 > 1
    lab.hold(key(2))                        # s2: 1*2 < 4
    eq(lab.counters()["s2"][1], 1)
    eq(lab.ask(D), "s2")
    # D is assigned to s2 now. Begin again with D on s1 and with s2 at exactly half: 2*2 < 4 is false.
    lab.clear()
    known_server({"s1": 1, "s2": 4})
    lab.hold(key(2))
    lab.hold(key(2))
    eq(lab.counters()["s2"][1], 2)
    lab.hold(D, 2)
    eq(lab.counters()["s1"][1], 2)
    eq(lab.ask(D), "s1")


@case
def a_server_is_its_own_reason_to_leave_only_if_half_idle():
    known_server({"s1": 1})
    lab.hold(D, 3)
    eq(lab.ask(D), "s1")  # there is no other server


@case
def an_overloaded_key_moves_and_stays_there():
    known_server({"s1": 1, "s2": 100})
    held = lab.hold(D, 2)
    eq(lab.ask(D), "s2")
    lab.release(held)
    eq(lab.ask(D), "s2")  # the entry was replaced


@case
def weight_0_quiesces():
    known_server({"s1": 10, "s2": 10})
    lab.ipvs(lab.server("-e", "s1", 0))
    eq(lab.ask(D), "s2")
    lab.ipvs(lab.server("-e", "s1", 10))
    eq(lab.ask(D), "s2")  # the entry was replaced


@case
def all_weights_0_is_nobody_and_the_entry_stays():
    known_server({"s1": 10, "s2": 10})
    lab.ipvs(lab.server("-e", "s1", 0), lab.server("-e", "s2", 0))
    eq(lab.ask(D, timeout=0.3), None)
    lab.ipvs(lab.server("-e", "s1", 10), lab.server("-e", "s2", 10))
    eq(lab.ask(D), "s1")


@case
def ties_go_to_the_server_added_last():
    lab.service(weights={"s1": 10, "s2": 10, "s3": 10})
    eq(lab.ask(D), "s3")


@case
def ties_after_a_return_go_to_the_returned_server():
    lab.service(weights={"s1": 10, "s2": 10, "s3": 10})
    lab.ipvs(lab.server("-d", "s1"), lab.server("-a", "s1", 10))
    eq(lab.ask(D), "s1")


@case
def a_weight_0_server_is_no_candidate():
    lab.service(weights={"s1": 10, "s2": 10, "s3": 0})
    eq(lab.ask(D), "s2")


@case
def least_load_counts_inactive_connections_little():
    lab.service(weights={"s1": 100, "s2": 100})
    for n in range(2, 8):
        lab.ask(key(n))                     # three inactive ones each
    wait_until(lambda: lab.active() == 0, "all connections are closed")
    counters = lab.counters()
    eq({counters[name][2] for name in ("s1", "s2")}, {3})
    server = lab.hold(key(9))[0].server     # one active connection: far more load
    eq(server, "s2")
    for n in range(10, 13):
        eq(lab.ask(key(n)), "s1")


@case
def server_removed_and_returned_before_its_key_was_asked_for():
    known_server({"s1": 10, "s2": 10})
    lab.ipvs(lab.server("-d", "s1"), lab.server("-a", "s1", 10))
    eq(lab.ask(key(2)), "s2")          # s2 has less load: D stays on s1 because of its entry only
    eq(lab.ask(D), "s1")


@case
def server_returned_after_its_key_was_asked_for():
    known_server({"s1": 10, "s2": 10})
    lab.ipvs(lab.server("-d", "s1"))
    eq(lab.ask(D), "s2")
    lab.ipvs(lab.server("-a", "s1", 10))
    eq(lab.ask(D), "s2")


@case
def connections_to_a_removed_server_leave_its_weight_alone():
    known_server({"s1": 2, "s2": 2})
    lab.ipvs(lab.server("-d", "s1"), lab.server("-d", "s2"))
    eq(lab.ask(D, timeout=0.3), None)
    lab.ipvs(lab.server("-a", "s2", 2), lab.server("-a", "s1", 2))
    eq(lab.ask(D), "s1")


def threshold(scheduler):
    """D is assigned to s1, which is at its upper threshold; returns the server of the next connection to D."""
    lab.clear()
    lab.service(scheduler=scheduler, weights={"s1": 100})
    eq(lab.ask(D), "s1")
    lab.ipvs(lab.server("-e", "s1", 100, more="-x 2 -y 1"), lab.server("-a", "s2", 100))
    lab.hold(D, 2)
    return lab.ask(D)


@case
def c_ignores_the_upper_threshold_on_a_hit_and_we_do_not():
    load_both()
    eq(threshold("lblc"), "s1")
    eq(threshold("lblc_rs"), "s2")


def relief(scheduler):
    """D is on s2, which is overloaded; s1 is below half its weight but at its threshold. Returns the server of the
    next connection to D."""
    lab.clear()
    lab.service(scheduler=scheduler, weights={"s2": 1})
    eq(lab.ask(D), "s2")
    lab.ipvs(lab.server("-a", "s1", 100, more="-x 1 -y 1"), lab.server("-a", "s3", 2))
    lab.hold(key(2), 1)                     # s3 or s1
    lab.hold(key(3), 1)                     # the other one: s1 is at its threshold, s3 at half its weight
    eq({name: count for name, (_, count, _) in lab.counters().items()}, {"s1": 1, "s2": 0, "s3": 1})
    lab.hold(D, 2)
    eq(lab.counters()["s2"][1], 2)
    return lab.ask(D)


@case
def c_takes_a_server_above_its_threshold_for_half_idle_and_we_do_not():
    load_both()
    eq(relief("lblc"), "s3")
    eq(relief("lblc_rs"), "s2")


def udp_spill(scheduler, options):
    """D is assigned to s1, of weight 3; returns the servers of six UDP flows to D."""
    lab.clear()
    lab.service(scheduler=scheduler, weights={"s1": 3}, options=options)
    servers = lab.send([D])
    lab.ipvs(lab.server("-a", "s2", 100))
    return servers + [lab.send([D])[0] for _ in range(5)]


@case
def udp_spills_with_flag_1_only():
    load_both()
    eq(udp_spill("lblc", ""), ["s1"] * 6)
    eq(udp_spill("lblc", "-b flag-1"), ["s1"] * 6)
    eq(udp_spill("lblc_rs", ""), ["s1"] * 6)
    eq(udp_spill("lblc_rs", "-b flag-1"), ["s1"] * 4 + ["s2"] * 2)


@case
def flag_1_counts_inactive_connections_and_can_be_set_on_a_live_service():
    load_both()
    for scheduler, server in (("lblc", "s1"), ("lblc_rs", "s2")):
        lab.clear()
        known_server({"s1": 3, "s2": 100}, scheduler=scheduler)
        for _ in range(4):
            eq(lab.ask(D), "s1")       # five with the first one, all inactive
        eq(lab.ask(D), "s1")
        run(f"ipvsadm -E -f 1 -s {scheduler} -b flag-1")
        eq(lab.ask(D), server, f"the server with {scheduler}")
        has(run("ipvsadm -S -n"), "flag-1")


def embedded_header(scheduler):
    """With schedule_icmp, an ICMP error about a reply from D is scheduled. Returns the server that it is sent to; D is
    assigned to s1, and the client's address to no server."""
    lab.clear()
    lab.service(scheduler=scheduler, weights={"s1": 10})
    eq(lab.send([D]), ["s1"])
    lab.ipvs(lab.server("-a", "s2", 10))    # the least loaded server from now on
    before = lab.table_size()
    icmp_error(D, "10.0.1.2", 80)
    wait_until(lambda: lab.table_size() > before, "the error was scheduled")
    shown = wait_until(lambda: [words for words in lab.table() if "0FA0" in words], "it is shown")
    return lab.name_of(shown[0][5])


@case
def c_takes_the_clients_address_from_an_icmp_error_and_we_do_not():
    load_both()
    run("nft add rule inet lab marks ip daddr 198.18.0.0/15 icmp type destination-unreachable "
        "meta mark set 1")
    sysctl("net/ipv4/vs/schedule_icmp", 1)
    try:
        eq(embedded_header("lblc"), "s2")
        eq(embedded_header("lblc_rs"), "s1")
    finally:
        sysctl("net/ipv4/vs/schedule_icmp", 0)


@case
def large_weights_and_many_connections_compare_in_64_bits():
    lab.service(weights={"s1": 2147483647, "s2": 2147483647})
    first = lab.hold(D)[0].server
    other = {"s1": "s2", "s2": "s1"}[first]
    eq(lab.hold(key(2))[0].server, other)
    eq(lab.ask(D), first)
    eq(lab.ask(key(2)), other)


main(lab)
