#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Requests that the generic netlink family refuses: invalid ones, those of users without the capability, and random
messages. A refused request changes nothing. SEED=n repeats the random messages, DECISIONS=n is their number."""

import errno
import json
import os
import sys
import time
from collections import Counter

from harness import case, eq, gt, lacks, main, run
from lab import VIP, VIP6, Lab, key
from raw_netlink import Socket
from ynl import (INET, INET6, MARK, MARK2, SPECIFICATION, YNL, NlError, answer, client, entry, in_proc,
                 refused, set_all)
from ynl_garbage import Garbage

lab = Lab()


def told():
    """The entries in /proc, without their idle times, which grow."""
    return {service: {one: it[::2] for one, it in shown.items()} for service, shown in in_proc().items()}


@case
def each_refusal_says_why():
    lab.service()
    set_all(MARK, [entry(1, "s1")])
    before = told()
    good = entry(2, "s1")
    address = {"af": INET, "protocol": 6, "addr": VIP, "port": 80}
    for service, words, code in (
            ({}, "af is missing", errno.EINVAL),
            ({"af": 7, "fwmark": 1}, "af is AF_INET or AF_INET6", errno.EINVAL),
            ({"af": INET}, "needs a fwmark", errno.EINVAL),
            ({"af": INET, "fwmark": 0}, "needs a fwmark", errno.EINVAL),
            (MARK | address, "needs a fwmark", errno.EINVAL),
            ({"af": INET, "protocol": 6, "addr": VIP}, "needs a fwmark", errno.EINVAL),
            (address | {"addr": VIP6}, "addr is not of the family", errno.EINVAL),
            (MARK2, "no such service", errno.ENOENT),
            (address, "no such service", errno.ENOENT),
            (MARK | {"af": INET6}, "no such service", errno.ENOENT)):
        refused("service-get", {"service": service}, code, words)
        refused("entry-get", {"service": service, "entry": [{"key": key(1)}]}, code, words)
        refused("entry-get", {"service": service}, code, words, dump=True)
        refused("entry-set", {"service": service, "entry": [good]}, code, words)
        refused("entry-del", {"service": service, "entry": [{"key": key(1)}]}, code, words)
        refused("entry-del", {"service": service, "filter": {}}, code, words)
    for operation in ("service-get", "entry-get", "entry-set"):
        refused(operation, {}, errno.EINVAL, "service")
    refused("entry-set", {"service": MARK}, errno.EINVAL, "entry")
    for wrong, words in (({"key": "fd00::1"}, "not of the service's family"),
                         ({"key": None}, "key is missing"),
                         ({"server-addr": None}, "server-addr and server-port are needed"),
                         ({"server-port": None}, "server-addr and server-port are needed")):
        bad = {name: value for name, value in (good | wrong).items() if value is not None}
        refused("entry-set", {"service": MARK, "entry": [good, bad]}, errno.EINVAL, words)
    refused("entry-set", {"service": MARK, "entry": [good | {"idle": (1 << 40) + 1}]}, errno.ERANGE, "idle")
    refused("entry-get", {"service": MARK, "entry": [{"key": key(2)}]}, errno.ENOENT, "no entry")
    refused("entry-get", {"service": MARK, "entry": [{"key": key(1)}] * 2}, errno.EINVAL, "one entry")
    refused("entry-del", {"service": MARK, "entry": [{"key": key(1)}, {"key": VIP6}]},
            errno.EINVAL, "not of the service's family")
    refused("entry-del", {"entry": [{"key": key(1)}]}, errno.EINVAL, "service")
    refused("entry-del", {"service": MARK}, errno.EINVAL, "filter")
    refused("entry-del", {"service": MARK, "filter": {}, "entry": [{"key": key(1)}]}, errno.EINVAL, "filter")
    for wanted, words in (({"server-port": 80}, "server-port needs"), ({"prefix-len": 8}, "prefix-len needs"),
                          ({"prefix": "10.0.0.0", "prefix-len": 33}, "longer than"),
                          ({"prefix": "10.1.0.0", "prefix-len": 8}, "behind prefix-len")):
        refused("entry-del", {"filter": wanted}, errno.EINVAL, words)
        refused("entry-get", {"filter": wanted}, errno.EINVAL, words, dump=True)
    # A walk over a table must be the last message of its datagram.
    family = client()
    try:
        family.do_multi([("entry-del", {"filter": {}}, []), ("entry-del", {"filter": {}}, [])])
    except NlError as error:
        assert "must be the last message" in str(error.nl_msg.extack), error
    else:
        raise AssertionError("two walks in one datagram")
    now = told()
    # The second one was the last message of its datagram: it may have been executed.
    assert now["FWM 1"] in ({}, before["FWM 1"]), now
    set_all(MARK, [entry(1, "s1")])
    eq(list(told()["FWM 1"]), [key(1)])


USER = """
import json, os, sys
sys.path.insert(0, os.getcwd())
if sys.argv[3:]:
    from sockopt import Ipvs
    Ipvs().add(1, "lblc_rs")
sys.path.append(sys.argv[1])
from lib import NlError, YnlFamily
family = YnlFamily(sys.argv[2], schema="")
said = {}
for what, ask in {
        "services": lambda: family.dump("service-get", {}),
        "entries": lambda: family.dump("entry-get", {}),
        "get": lambda: family.do("service-get", {"service": {"af": 2, "fwmark": 1}}),
        "set": lambda: family.do("entry-set", {"service": {"af": 2, "fwmark": 1}, "entry": [
            {"key": "198.18.0.9", "server-addr": "10.0.0.1", "server-port": 0}]}),
        "delete": lambda: family.do("entry-del", {"filter": {}})}.items():
    try:
        said[what] = ask()
    except NlError as error:
        said[what] = error.error
print(json.dumps(said))
"""


def as_user(*before, service=False):
    said = run(["setpriv", "--reuid", "1000", "--clear-groups", *before, sys.executable, "-c", USER, YNL,
                SPECIFICATION] + ["service"] * service)
    return json.loads(said.splitlines()[-1])


@case
def an_ordinary_user_may_do_nothing():
    lab.service()
    set_all(MARK, [entry(1, "s1")])
    before = told()
    eq(as_user(), dict.fromkeys(("services", "entries", "get", "set", "delete"), errno.EPERM))
    eq(told(), before)


@case
def root_of_a_namespace_sees_its_own():
    lab.service()
    set_all(MARK, [entry(1, "s1")])
    before = told()
    said = as_user("unshare", "--user", "--net", "--map-root-user")
    assert said == {"services": [], "entries": [], "get": errno.ENOENT, "set": errno.ENOENT,
                    "delete": {"deleted": 0}}, said
    said = as_user("unshare", "--user", "--net", "--map-root-user", service=True)
    assert said["set"] == answer(created=1) and said["delete"] == {"deleted": 1}, said
    assert len(said["services"]) == 1 and not said["entries"], said
    # In a network namespace of the machine, with no capability there.
    said = as_user("unshare", "--user", "--map-root-user")
    assert set(said.values()) == {errno.EPERM}, said
    eq(told(), before)


def state(family):
    """Everything that a message can change: entries, their servers, and the counters."""
    counters = family.dump("service-get", {})
    return told(), [it["counters"] for it in counters]


@case
def random_messages_change_nothing_when_refused():
    lab.service()
    lab.service(mark=2)
    lab.service(mark=1, ipv6=True)
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    count = int(os.environ.get("DECISIONS", 10_000))
    print(f"# SEED={seed}")
    sock, garbage = Socket(), Garbage(seed)
    family, seen, changes = client(), Counter(), Counter()
    now = state(family)
    for number in range(count):
        command, message = garbage.message(sock.family)
        codes, answers = sock.converse(message)
        before, now = now, state(family)
        where = f"message {number}, {command}, {message[:200].hex()}: {codes}"
        seen.update(errno.errorcode[code] if code else "taken" for code in codes or [0])
        unclear = {code for code in codes if code not in CLEAR}
        assert not unclear, where
        if codes and all(codes) and not answers:
            assert before == now, f"{where} was refused, but changed something"
        elif before != now:
            assert command in ("entry-set", "entry-del"), f"{where} changed something"
            changes[command] += 1
        for shown, counters in zip(now[0].values(), now[1]):
            left = counters["inserts"] - counters["deletes"] - counters["evictions"] - counters["expiries"]
            assert len(shown) == left, f"{where}: {len(shown)} entries, {counters}"
    print(f"# {count} messages: {dict(seen.most_common())}; changed by {dict(changes)}")
    gt(changes["entry-set"], 0)
    gt(changes["entry-del"], 0)
    gt(seen["taken"], count / 20)
    lacks(lab.send([key(n) for n in range(20)]), None)


# The errors with which a message may be refused.
CLEAR = {0, errno.EINVAL, errno.ERANGE, errno.ENOENT, errno.EOPNOTSUPP, errno.EBADMSG}


main(lab)
