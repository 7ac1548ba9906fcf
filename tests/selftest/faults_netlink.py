#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Failed allocations, as in faults.py, in the operations of generic netlink, in reporting changes, and while a table is
parked or adopted."""

import errno
import itertools
import os
import socket
import struct

from counted import STATS, numbers
from harness import case, eq, ge, gt, ksft, main, run
from injection import INJECTORS, attempt, fail_each, inject, ipvs, lab, never_fails, service
from ipvs_netlink import split
from lab import key
from parking import homes, keep, parked
from raw_netlink import (EMPTY_FILTER, ENTRY_DEL, ENTRY_GET, ENTRY_SET, SERVICE_GET, Socket, one_entry, request,
                         service_of)
from ynl import MARK, Listener, client, entry, set_all

WHOSE = service_of(1)
KEYS = [key(n) for n in range(20)]


def drain(sock):
    """Reads and drops the rest of an answer."""
    try:
        while sock.recv(1 << 17, socket.MSG_DONTWAIT):
            pass
    except OSError:
        pass  # nothing is left


def each_fault(command, payload, dump, before, judge):
    """Asks with the 1st, 2nd, ... allocation failing. `before` makes the state in which it is asked; `judge` is called
    with the replies, or with None if there was an error, and whether the operation may have been done."""
    sock, refused, lost = Socket(), 0, 0
    message = request(sock, command, payload, dump)
    for nth in itertools.count(1):
        before()
        got = []
        error, left = attempt(nth, lambda: got.append(sock.converse(message)))
        codes, replies = got[0] if got else ([], [])
        if error or not codes:
            # The request or its answer was lost: send() or recv() says so.
            assert not left and (error is None or error.errno in (errno.ENOMEM, errno.ENOBUFS)), (nth, error)
            lost += 1
            judge(None, True)
        elif any(codes):
            assert not left and set(codes) - {0} == {errno.ENOMEM}, (nth, left, codes)
            refused += 1
            judge(None, False)
        else:
            judge(replies, True)
        if left:
            break
        drain(sock.sock)
    assert not error and codes and not any(codes), (error, codes)
    ksft.print_msg(f"{nth - 1} allocations: {refused} times refused, {lost} times without an answer")
    return refused


def known():
    """A service that knows KEYS."""
    service()
    set_all(MARK, [entry(n, "s1") for n in range(len(KEYS))])


def bodies(replies):
    return [dict(split(reply[20:])) for reply in replies]


@case
def services_are_shown():
    known()
    for dump in (False, True):
        def judge(replies, _):
            if replies is not None:
                eq([len(bodies(replies)), len(bodies(replies)[0][10]) > 100], [1, True], "a service with its counters")
        each_fault(SERVICE_GET, b"" if dump else WHOSE, dump, lambda: None, judge)


@case
def entries_are_shown():
    known()

    def one_is_shown(replies, _):
        if replies is not None:
            eq([reply.keys() for reply in bodies(replies)], [{1, 2}], "the attributes of the answer")

    def all_are_shown(replies, _):
        if replies is not None:
            there = [number for reply in replies for number, _ in split(reply[20:])]
            eq(there.count(2), len(KEYS), "the number of entries in a dump without an error")
    gt(each_fault(ENTRY_GET, WHOSE + one_entry(KEYS[0]), False, lambda: None, one_is_shown), 0)
    each_fault(ENTRY_GET, WHOSE + EMPTY_FILTER, True, lambda: None, all_are_shown)


@case
def entries_are_set():
    known()
    wanted = {destination: f"{lab.address('s2')}:0" for destination in KEYS[:3]} | {
        key(n): f"{lab.address('s3')}:0" for n in range(100, 105)}
    old = {}

    def before():
        client().do("entry-del", {"filter": {}})
        set_all(MARK, [entry(n, "s1") for n in range(len(KEYS))])
        old.clear()
        old.update(homes())

    def judge(replies, may_be):
        now = homes()
        if replies is None:
            done = now.keys() >= old.keys() and now.items() <= (old | wanted).items()
            assert now == old or may_be and done, (old, now)
            return
        reply, = bodies(replies)
        created, changed, _, failed = (struct.unpack("=I", reply[number])[0] for number in (11, 12, 13, 14))
        eq((created + failed, changed), (5, 3), "the entries created or failed, and changed")
        eq(len(now), len(old) + created)
        eq({one: now[one] for one in now if one in wanted},
           {one: server for one, server in wanted.items() if one in now})
    payload = WHOSE + b"".join(one_entry(destination, "s2") for destination in KEYS[:3]) + b"".join(
        one_entry(key(n), "s3") for n in range(100, 105))
    gt(each_fault(ENTRY_SET, payload, False, before, judge), 0)


@case
def entries_are_deleted():
    known()
    some = {KEYS[1], KEYS[2]}
    for payload, gone in (WHOSE + b"".join(map(one_entry, some)), some), (EMPTY_FILTER, set(KEYS)):
        def before():
            set_all(MARK, [entry(n, "s1") for n in range(len(KEYS))])

        def judge(replies, may_be, gone=gone):
            now = set(homes())
            if replies is None:
                assert now == set(KEYS) or may_be and now == set(KEYS) - gone, now
            else:
                eq(now, set(KEYS) - gone, "the entries that are left")
        gt(each_fault(ENTRY_DEL, payload, False, before, judge), 0)


@case
def a_table_is_parked():
    """If it cannot be, it is freed, as with lblc_rs_keep 0."""
    keep()
    did = {True: 0, False: 0}

    def again():
        if parked() or not homes():
            did[bool(parked())] += 1
        service()
        lab.send(KEYS)
        eq(len(homes()), len(KEYS))
        eq(parked(), {})
    again()
    never_fails(lambda: ipvs.delete(1), again, check=lambda: None)
    print(f"# parked {did[True]} times, freed {did[False]} times")
    ge(min(did.values()), 1, "how often the rarer of both happened")


@case
def a_table_is_adopted():
    """If it cannot be, it stays parked, and the service has its old scheduler. Other parked tables are given back
    first."""
    keep()
    service()
    lab.send(KEYS)
    servers = homes()
    eq(len(servers), len(KEYS))
    run("modprobe ip_vs_rr")
    ipvs.edit(1, "rr")

    def is_whole():
        if " lblc_rs" in run("ipvsadm -S -n"):
            eq(homes(), servers, "the table")
        else:
            eq(parked()["FWM 1"]["entries"], len(KEYS))
    gt(fail_each(lambda: ipvs.edit(1, "lblc_rs"), lambda: ipvs.edit(1, "rr"), check=is_whole), 2)
    given_back = 0
    for nth in itertools.count(1):
        for mark in (2, 3):
            ipvs.add(mark, "lblc_rs")
            ipvs.delete(mark)
        error, left = attempt(nth, lambda: ipvs.edit(1, "lblc_rs"))
        given_back += list(parked()) == []
        # What fails outside of the module is not tried again.
        assert error is None or error.errno == errno.ENOMEM and "FWM 2" in parked(), (nth, error, parked())
        is_whole()
        ipvs.edit(1, "rr")
        if left:
            break
    gt(given_back, 2, "how often the other parked tables were freed, and this one adopted")


@case
def what_cannot_be_told_is_counted():
    """entry-set runs in this task, and so do the allocations of the notes."""
    known()
    listener, sock, total, destinations = Listener(), Socket(), 0, map(key, itertools.count(1000))
    # The number of the note's allocation changes when a slab takes a page, so a round may step over it.
    for _ in range(10):
        for nth in itertools.count(1):
            before, destination = numbers(STATS)["inserts"], next(destinations)
            message = request(sock, ENTRY_SET, WHOSE + one_entry(destination, "s1"))
            _, left = attempt(nth, lambda: sock.converse(message))
            drain(sock.sock)
            total += numbers(STATS)["inserts"] - before
            if left:
                break
        listener.until(destination)
        eq(len(listener.heard) + listener.passed_over, total, "changes that were told or passed over")
        if listener.passed_over:
            break
    gt(listener.passed_over, 0, "changes passed over")
    listener.close()


os.path.ismount("/sys/kernel/debug") or run("mount -t debugfs debugfs /sys/kernel/debug")
for name in INJECTORS:
    inject(name, ignore_gfp_wait="N", verbose=0)
run("dmesg -n 4")
main(lab)
