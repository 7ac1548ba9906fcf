#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""docs/sessions.md: one IPv6 address per session. Each block of commands is run as it stands in the page."""

import ipaddress

from documents import blocks, follow, without_marks
from harness import case, eq, main, ne, run
from lab import Lab, inside

lab = Lab(servers=2)
PAGE = "docs/sessions.md"


def session(number):
    """The address of a session."""
    return f"fd00:d::{number:x}"


def prepare(backends=True):
    """The director and the backends of the page; the lab's own marks and routes are removed."""
    without_marks()
    for name in lab.names:
        with inside(name):
            run("ip -6 route del local fd00:d::/64 dev lo table local", check=False)
    (director,) = blocks(PAGE, "The director")
    follow(director)
    for name in lab.names if backends else ():
        with inside(name):
            follow(blocks(PAGE, "Each backend")[0])


def backend_of(number):
    """The backend that the page's command prints for a session."""
    (command,) = blocks(PAGE, "Where a session is")
    return lab.name_of(follow(command.replace(session(7), session(number))).split()[1])


def active():
    """{backend: active connections}"""
    return {name: count for name, (_, count, _) in lab.counters().items()}


def fill(number):
    """Opens connections to a session until its backend is above its weight of 8: nine; returns the backend."""
    held = lab.hold(session(number), 9)
    (name,) = {it.server for it in held}
    return name


@case
def each_session_has_its_address():
    (block,) = blocks(PAGE, "The address of a session")
    first = follow(block)
    assert ipaddress.ip_address(first) in ipaddress.ip_network("fd00:d::/64"), first
    eq(follow(block), first)
    ne(follow(block.replace("alice/17", "alice/18")), first)
    prepare(backends=False)
    eq(lab.ask(first, timeout=0.5), None)
    lab.clear()
    prepare()
    eq(len({lab.ask(first) for _ in range(9)} - {None}), 1)


@case
def a_session_keeps_its_backend_on_every_port_and_protocol():
    prepare()
    sessions = [session(n) for n in range(1, 21)]
    first = [lab.ask(address) for address in sessions]
    eq(set(first), set(lab.names))
    eq([lab.ask(address) for address in sessions[::-1]], first[::-1])
    eq([lab.ask(address, port=81) for address in sessions], first)
    eq(lab.send(sessions), first)
    with inside("client"):
        run("ip addr add fd00:c::3/64 dev c0 nodad; ip -6 route replace fd00:d::/64 via fd00:c::1 src fd00:c::3")
    try:
        eq([lab.ask(address) for address in sessions], first)
    finally:
        with inside("client"):
            run("ip -6 route del fd00:d::/64; ip addr del fd00:c::3/64 dev c0")
    eq(backend_of(7), first[6])


@case
def a_session_leaves_a_backend_above_its_weight():
    prepare()
    full = fill(1)
    (other,) = set(lab.names) - {full}
    eq(active(), {full: 9, other: 0})
    (tenth,) = lab.hold(session(1))
    eq((tenth.server, backend_of(1)), (other, other))
    eq(active(), {full: 9, other: 1})  # its open connections stay
    eq(lab.ask(session(1)), other)


@case
def a_session_stays_if_no_backend_has_less_than_half_its_weight():
    prepare()
    first = {lab.ask(session(n)): session(n) for n in range(1, 9)}
    one, two = (first[name] for name in lab.names)
    lab.hold(two, 4)
    eq([it.server for it in lab.hold(one, 11)], ["s1"] * 11)


@case
def with_large_weights_a_session_never_leaves():
    prepare()
    (weights,) = blocks(PAGE, "What happens to a session")
    follow(weights)
    full = fill(1)
    eq([it.server for it in lab.hold(session(1), 20)], [full] * 20)


@case
def a_drained_backend_loses_its_sessions_one_by_one():
    prepare()
    sessions = [session(n) for n in range(1, 21)]
    first = [lab.ask(address) for address in sessions]
    (held,) = lab.hold(sessions[first.index("s1")])
    (drain,) = blocks(PAGE, "Drain a backend")
    follow(drain)
    eq(held.server, "s1")
    eq([lab.ask(address) for address in sessions], ["s2"] * 20)
    eq(active(), {"s1": 1, "s2": 0})


@case
def udp_sessions_count_with_flag_1():
    prepare()
    room = session(1)

    def players(number):
        return [lab.send([room])[0] for _ in range(number)]

    (home,) = set(players(12))  # no connection counts
    (block,) = blocks(PAGE, "UDP")
    follow(block)
    ne(players(1), [home])


main(lab)
