#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The generic netlink family: it shows and changes the tables."""

import threading
from collections import Counter

from harness import SLOW, case, eq, has, lacks, main, run, unload_all, wait_until
from lab import VIP, VIP6, Lab, key, sysctl
from ynl import (FILE, FILE_STATS, INET6, MARK, MARK2, answer, as_in_proc, cli, client, entries, entry,
                 in_proc, name, set_all)

lab = Lab()


# Showing ----------------------------------------------------------------------------------------

@case
def a_netlink_request_loads_the_module():
    """IPVS requests a scheduler's module while it holds the lock that is needed to register a family."""
    for number in range(20):
        unload_all()
        lab.ipvs("-A -f 1 -s lblc_rs")
        if number % 2:
            eq(len(client().dump("service-get", {})), 1)
        run("ipvsadm -C")


@case
def the_kernels_client_shows_services():
    lab.service()
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    lab.service(service=f"-u [{VIP6}]:81", ipv6=True, port=80, how="-m")
    lab.service(mark=2, ipv6=True)
    for n in range(20):
        lab.ask(key(n))
    lab.ask(key(0))
    shown = cli("--dump", "service-get")
    assert [name(it["service"]) for it in shown] == \
        ["FWM 1", f"TCP {VIP}:80", f"UDP [{VIP6}]:81", "FWM6 2"], shown
    marked = shown[0]
    with open(FILE) as file:
        line = file.readline().split()
    assert line[2:] == ["entries", str(marked["entries"]), "buckets", str(marked["buckets"]),
                        "max", str(marked["max-entries"]),
                        "expiration", str(marked["expiration"] // 1000),
                        "bytes", str(marked["bytes"])], (line, marked)
    with open(FILE_STATS) as file:
        words = file.readline().split()[2:]
    counters = dict(zip(words[::2], map(int, words[1::2])))
    assert marked["counters"] == counters | {"deletes": 0}, (marked, counters)
    assert (counters["hits"], counters["unknown"]) == (1, 20), counters
    for service in shown:
        eq(cli("--do", "service-get", service=service["service"]), service)
    print(f"# cli.py: {marked}")


@case
def the_kernels_client_shows_entries():
    lab.service()
    lab.service(mark=2, ipv6=True)
    lab.service(service=f"-t [{VIP6}]:80", ipv6=True, port=80, how="-m")
    asked = {key(n): lab.ask(key(n)) for n in range(300)}
    asked6 = {key(n, True): lab.ask(key(n, True), port=81) for n in range(1, 6)}
    lab.ask(VIP6)
    lab.ipvs(lab.server("-d", "s1"))
    shown = {}
    for message in cli("--dump", "entry-get"):
        shown.setdefault(name(message["service"]), []).extend(message["entry"])
    eq({it["key"]: lab.address(asked[it["key"]]) for it in shown["FWM 1"]},
       {it["key"]: it["server-addr"] for it in shown["FWM 1"]})
    eq(sorted(it["key"] for it in shown["FWM 1"]), sorted(asked))
    shown6 = {it["key"]: it["server-addr"] for it in shown["FWM6 2"]}
    assert shown6 == {one: lab.address(server, True)[1:-1] for one, server in asked6.items()}, \
        (shown6, asked6)
    eq([it["key"] for it in shown[f"TCP [{VIP6}]:80"]], [VIP6])
    removed = {it["key"] for it in shown["FWM 1"] if "removed" in it}
    assert removed == {one for one, server in asked.items() if server == "s1"} != set(), (removed, asked)
    one = cli("--do", "entry-get", service=MARK, entry=[{"key": key(7)}])
    eq((one["service"], one["entry"][0]["server-addr"]), (MARK, lab.address(asked[key(7)])))
    print(f"# cli.py: {one}")
    # Idle times grow, so the file is read before the dump and after it.
    first, got, last = in_proc(), as_in_proc(entries()), in_proc()
    for service, shown in last.items():
        eq(got[service], {one: (server, min(max(got[service][one][1], first[service][one][1]), idle), removed)
                          for one, (server, idle, removed) in shown.items()})
    eq(got.keys(), last.keys())


@case
def a_filter_chooses_in_the_kernel():
    lab.service()
    lab.service(mark=2)
    lab.service(mark=1, ipv6=True)
    asked = {key(n): lab.ask(key(n)) for n in range(400)}
    for n in range(50):
        lab.ask(key(n), port=81)
        lab.ask(key(n + 1, True))

    def keys(service=None, **wanted):
        found = entries(filter=wanted, **({"service": service} if service else {}))
        return {(which, one) for which, shown in found.items() for one in shown}

    every = {("FWM 1", one) for one in asked} | {("FWM 2", key(n)) for n in range(50)}
    every6 = {("FWM6 1", key(n + 1, True)) for n in range(50)}
    assert keys() == every | every6, keys() ^ (every | every6)
    eq(keys(MARK), {it for it in every if it[0] == "FWM 1"})
    eq(keys(MARK | {"af": INET6}), every6)
    eq(keys(MARK, prefix="fd00::"), set())
    eq(keys(prefix="fd00:d::", **{"prefix-len": 64}), every6)
    eq(keys(prefix="198.18.1.0", **{"prefix-len": 24}), {("FWM 1", key(n)) for n in range(256, 400)})
    eq(keys(prefix=key(3)), {("FWM 1", key(3)), ("FWM 2", key(3))})
    eq(keys(prefix="0.0.0.0", **{"prefix-len": 0}), every)
    s1 = {"server-addr": lab.address("s1")}
    of_s1 = {("FWM 1", one) for one, server in asked.items() if server == "s1"}
    assert keys(MARK, **s1) == of_s1 != set(), (keys(MARK, **s1), of_s1)
    eq(keys(MARK, **s1, **{"server-port": 0}), of_s1)
    eq(keys(MARK, **s1, **{"server-port": 80}), set())
    eq(keys(removed=True), set())
    lab.ipvs(lab.server("-d", "s1"))
    eq(keys(removed=True), of_s1)
    wait_until(lambda: not keys(MARK) - keys(MARK, **{"idle-min": 5200}), "all are idle")
    lab.ask(key(5))
    eq(keys(MARK, **{"idle-min": 5000}), {it for it in every if it[0] == "FWM 1"} - {("FWM 1", key(5))})
    set_all(MARK, [entry(6, "s2", 10_000_000), entry(7, "s2", 9_000_000)])
    eq(keys(MARK, **{"idle-max": 5_000_000}),
       {it for it in every if it[0] == "FWM 1"} - {("FWM 1", key(6)), ("FWM 1", key(7))})
    eq(keys(MARK, **{"idle-max": 9_800_000, "idle-min": 5_000_000}), {("FWM 1", key(7))})


@case
def a_dump_has_each_lasting_entry_once_under_churn():
    lab.service(options="-o")
    lab.service(options="-o", mark=2)
    stay = {key(n) for n in range(500)}
    lacks(lab.send(sorted(stay)), None)
    stop, seen, failed = threading.Event(), Counter(), []

    def reader():
        family = client(recv_size=4000)  # many parts
        try:
            while not stop.is_set():
                missing = stay - set(entries(family)["FWM 1"])
                assert not missing, f"left out: {sorted(missing)[:5]}"
                seen["dumps"] += 1
        except Exception as error:  # asserted by the case
            failed.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=reader)
    thread.start()
    try:
        for turn in range(6):
            lab.send([key(n) for n in range(1000 + turn * 700, 1700 + turn * 700)])
            lab.ipvs(lab.server("-e", "s1", turn % 2))
            run("ipvsadm -D -f 2")
            lab.service(options="-o", mark=2)
            if turn % 2:
                sysctl("net/ipv4/vs/lblc_rs_max_entries", 1 << 18)
                gone = client().do("entry-del", {"service": MARK, "filter": {
                    "prefix": "198.18.4.0", "prefix-len": 22}})
                seen["deleted"] += gone["deleted"]
        wait_until(lambda: seen["dumps"] >= 5 or failed, "five whole dumps", 60)
    finally:
        stop.set()
        thread.join()
    assert not failed, failed
    with open(FILE_STATS) as file:
        line = file.readline()
    assert int(line.split("resizes ")[1].split()[0]) >= 1, line
    print(f"# {dict(seen)}")


# Changing ---------------------------------------------------------------------------------------

@case
def the_kernels_client_sets_and_deletes():
    lab.service()
    eq(cli("--do", "entry-set", service=MARK, entry=[entry(1, "s2"), entry(2, "s3", 5000)]),
       answer(created=2))
    for n, server in ((1, "s2"), (2, "s3")):
        eq([lab.ask(key(n)) for _ in range(5)], [server] * 5)
    eq(cli("--do", "entry-set", service=MARK, entry=[entry(1, "s4")]), answer(changed=1))
    eq(lab.ask(key(1)), "s4")
    eq(cli("--do", "entry-del", service=MARK, entry=[{"key": key(1)}, {"key": key(9)}]), {"deleted": 1})
    eq(list(entries()["FWM 1"]), [key(2)])
    eq(cli("--do", "entry-del", filter={}), {"deleted": 1})
    eq(entries(), {})
    counters = client().do("service-get", {"service": MARK})["counters"]
    assert (counters["inserts"], counters["replaces"], counters["deletes"]) == (2, 1, 2), counters


def idle_is(destination, least, most):
    """Asserts that the entry has been idle for at least `least` ms, and less than `most`."""
    shown = entries()["FWM 1"][destination]
    assert least <= shown["idle"] < most, (shown, least, most)


@case
def a_set_entry_replaces_any_other_or_an_older_one():
    lab.service()
    eq(set_all(MARK, [entry(1, "s1", 100_000)]), answer(created=1))
    idle_is(key(1), 100_000, 110_000)
    eq(set_all(MARK, [entry(1, "s2", 500_000)], "keep-newer"), answer(kept=1))
    eq(set_all(MARK, [entry(1, "s2", 50_000)], "keep-newer"), answer(changed=1))
    eq(entries()["FWM 1"][key(1)]["server-addr"], lab.address("s2"))
    eq(set_all(MARK, [entry(1, "s3", 500_000)]), answer(changed=1))
    idle_is(key(1), 500_000, 510_000)
    lab.ask(key(1))
    idle_is(key(1), 0, 10_000)
    # An entry that has expired is not used.
    most = 1 << 40
    eq(set_all(MARK, [entry(2, "s1", most)]), answer(created=1))
    idle_is(key(2), most, most + 10_000)
    lab.ask(key(2))
    eq(client().do("service-get", {"service": MARK})["counters"]["expired"], 1)


@case
def a_server_that_is_not_in_the_service_is_removed():
    lab.service(weights={"s1": 1000, "s2": 1000})
    eq(set_all(MARK, [entry(1, "s3"), entry(2, "s1", port=81), entry(3, "s1")]), answer(created=3))
    shown = entries()["FWM 1"]
    assert {one for one, it in shown.items() if "removed" in it} == {key(1), key(2)}, shown
    lab.ipvs(lab.server("-a", "s3", 1000))
    lacks(entries()["FWM 1"][key(1)], "removed")
    eq(lab.ask(key(1)), "s3")
    has(("s1", "s2", "s3"), lab.ask(key(2)))
    lacks(entries()["FWM 1"][key(2)], "removed")
    # Behind a tunnel a server may be of the other family.
    other = {"key": key(4), "server-addr": "fd00:1::2", "server-port": 0}
    eq(set_all(MARK, [other]), answer(created=1))
    eq(entries()["FWM 1"][key(4)]["server-addr"], "fd00:1::2")
    has(("s1", "s2", "s3"), lab.ask(key(4)))


@case
def removed_servers_have_a_limit():
    lab.service()
    many = [entry(n, "s1", port=n) for n in range(1, 5001)]
    got = [set_all(MARK, many[at:at + 1000]) for at in range(0, 5000, 1000)]
    assert sum(it["created"] for it in got) == 4096 and sum(it["failed"] for it in got) == 904, got
    eq(client().do("entry-del", {"filter": {"removed": True}}), {"deleted": 4096})
    # The work item frees those that no entry refers to.
    wait_until(lambda: set_all(MARK, [entry(5001, "s2", port=9)])["created"] or
               client().do("entry-del", {"service": MARK, "filter": {}}) and False,
               "there is room for others")


@case
def a_full_table_makes_room():
    lab.service()
    sysctl("net/ipv4/vs/lblc_rs_max_entries", 100)
    try:
        eq(set_all(MARK, [entry(n, "s1") for n in range(300)]), answer(created=300))
        shown = client().do("service-get", {"service": MARK})
        assert (shown["entries"], shown["counters"]["evictions"]) == (100, 200), shown
    finally:
        sysctl("net/ipv4/vs/lblc_rs_max_entries", 1 << 18)


@case
def a_filter_chooses_the_entries_to_delete():
    lab.service()
    lab.service(mark=2)
    for service in (MARK, MARK2):
        set_all(service, [entry(n, f"s{1 + n % 4}", n * 100_000) for n in range(400)])

    def left():
        return {which: len(shown) for which, shown in entries().items()}

    def deleted(**attributes):
        return client().do("entry-del", attributes)["deleted"]

    eq(left(), {"FWM 1": 400, "FWM 2": 400})
    eq(deleted(service=MARK, filter={"server-addr": lab.address("s1")}), 100)
    eq(deleted(filter={"server-addr": lab.address("s2"), "server-port": 0}), 200)
    eq(deleted(filter={"server-addr": lab.address("s3"), "server-port": 1}), 0)
    eq(deleted(filter={"prefix": key(256), "prefix-len": 24}), 72 + 108)
    eq(left(), {"FWM 1": 128, "FWM 2": 192})
    eq(deleted(filter={"idle-min": 10_000_000}), 78 + 117)
    eq(deleted(service=MARK2, filter={}), 75)
    eq(left(), {"FWM 1": 50})
    lab.ipvs(lab.server("-d", "s3"))
    eq(deleted(filter={"removed": True}), 25)
    eq(deleted(filter={}), 25)
    eq(left(), {})


@case
def a_table_is_restored_as_it_was():
    lab.service(options="-o")
    lab.service(options="-o", mark=1, ipv6=True)
    for n in range(0, 60_000, 1000):
        set_all(MARK, [entry(n + m, f"s{1 + m % 4}", n) for m in range(1000)])
    six = MARK | {"af": INET6}
    set_all(six, [entry(n, "s1", 7000, ipv6=True) for n in range(1, 1000)])
    saved = client(recv_size=1 << 17).dump("entry-get", {})
    before = as_in_proc(entries())
    eq(client().do("entry-del", {"filter": {}})["deleted"], 60_999)
    for message in saved:
        them = message["entry"]
        for at in range(0, len(them), 1000):
            done = set_all(message["service"], them[at:at + 1000], "keep-newer")
            assert not done["failed"] and not done["kept"], done
    after = as_in_proc(entries())
    for service, shown in before.items():
        eq({one: it[::2] for one, it in shown.items()},
           {one: it[::2] for one, it in after[service].items()})
        late = [one for one, it in shown.items() if abs(it[1] - after[service][one][1]) > 60 * SLOW]
        assert not late, late[:5]


main(lab)
