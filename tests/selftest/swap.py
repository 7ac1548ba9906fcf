#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Schedulers, servers and services that are changed under traffic."""

from harness import case, eq, has, lacks, load_both, main, ne, run
from lab import Lab, Traffic, key

lab = Lab()


def swapped_to_and_from(*schedulers, rounds=6):
    lab.service()
    with Traffic() as traffic:
        for _ in range(rounds):
            for scheduler in schedulers:
                run(f"ipvsadm -E -f 1 -s {scheduler}")
                run(f"ipvsadm -E -f 1 -s {scheduler}")  # the same scheduler again
                if scheduler != "none":
                    traffic.flows()
        run("ipvsadm -E -f 1 -s lblc_rs")
        traffic.flows()
    first = [lab.ask(key(n)) for n in range(20)]
    lacks(first, None)
    eq([lab.ask(key(n)) for n in range(20)], first)


@case
def to_and_from_lblc():
    load_both()
    swapped_to_and_from("lblc", "lblc_rs")


@case
def to_and_from_wlc():
    swapped_to_and_from("wlc", "lblc_rs")


@case
def to_and_from_none():
    swapped_to_and_from("none", "lblc_rs")


@case
def an_edit_binds_to_a_service_that_has_servers():
    lab.service("rr")
    run("ipvsadm -E -f 1 -s lblc_rs")
    first = [lab.ask(key(n)) for n in range(20)]
    eq(set(first), set(lab.names))
    eq([lab.ask(key(n)) for n in range(20)], first)


@case
def a_failed_swap_keeps_locality_working():
    lab.service()
    ne(lab.ask(key(1)), None)
    ne(run("ipvsadm -E -f 1 -s no_such_scheduler", check=False).returncode, 0, "the status of ipvsadm")
    has(run("ipvsadm -S -n"), "lblc_rs")
    ne(lab.ask(key(1)), None)


@case
def servers_are_added_and_deleted_under_traffic():
    lab.service()
    with Traffic() as traffic:
        for _ in range(10):
            for name in lab.names[1:]:
                lab.ipvs(lab.server("-e", name, 5), lab.server("-d", name),
                         lab.server("-a", name, 1000))
                traffic.flows()


@case
def services_are_added_and_deleted_under_traffic():
    with Traffic() as traffic:
        for _ in range(20):
            lab.service()
            traffic.flows()
            run("ipvsadm -D -f 1")


main(lab)
