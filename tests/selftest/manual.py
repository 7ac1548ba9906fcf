#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the manual page tells people to type works as it stands there."""

from harness import commands, loaded, main, run
from lab import Lab, key, sysctl

lab = Lab(servers=2)


def a_transparent_cache():
    # What the lab has set up for the other cases.
    run("nft delete table inet lab")
    for family in ("-4", "-6"):
        for mark in (1, 2):
            run(f"ip {family} rule del fwmark {mark}")
        run(f"ip {family} route del local default dev lo table 100")
    for command in commands("A transparent cache"):
        run(command)
    assert "ip_vs_lblc_rs" in loaded()
    first = [lab.ask(key(n)) for n in range(20)]
    assert set(first) == set(lab.names), first
    assert [lab.ask(key(n)) for n in range(20)] == first


def why_a_destination_moved():
    lab.service()
    assert lab.ask("198.18.0.7")
    for command in commands("Why a destination moved"):
        assert run(command), command


def a_shorter_memory():
    run("modprobe ip_vs_lblc_rs")
    for command in commands("A shorter memory"):
        run(command)
    assert sysctl("net/ipv4/vs/lblc_expiration") == "3600"


main([why_a_destination_moved, a_shorter_memory, a_transparent_cache], lab)
