#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""schedule() of C's scheduler and of ours, called directly and alternately with a random trace. The answers must be
the same, except for the differences in docs/differences.md, which must be as a model predicts
(tests/modules/lblc_direct/model.c). SEED=n replays a trace, DECISIONS=n sets its length."""

import os
import time

from harness import case, eq, gt, main, run
from lab import inside
from pair import COMMANDS, STATS, Difference, Pair

SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
LIMIT = "net.ipv4.vs.lblc_rs_max_entries"
CALLS = int(os.environ.get("DECISIONS", 1_000_000))


class Services:
    """Stands for the lab: clears the services between cases."""

    @staticmethod
    def clear():
        run("modprobe ip_vs && ipvsadm -C")
        run("rmmod lblc_direct", check=False)


def difference(stimuli=(), **more):
    """The difference that lblc_direct reports; there must be one."""
    try:
        Pair(SEED, stimuli=stimuli, **more).trace(20000)
    except Difference as found:
        return str(found)
    raise AssertionError(f"the comparison does not detect {stimuli or 'another scheduler'}")


@case
def another_scheduler_is_detected():
    for line in difference(schedulers=("lblc", "wlc")).splitlines()[1:4]:
        print("#", line)


@case
def c_in_our_place_lacks_each_improvement():
    for row in ("icmp", "threshold", "flag_1", "wide", "flag_2"):
        services = Services()
        services.clear()
        difference([row], schedulers=("lblc", "lblc"))


def same(calls, ipv6):
    print(f"# SEED={SEED} DECISIONS={CALLS}")
    start = time.monotonic()
    got = Pair(SEED + ipv6, ipv6=ipv6).trace(calls)
    print(f"# {got} in {time.monotonic() - start:.0f} s")
    assert got["calls"] == calls and got["differences"] == 0, got
    gt(got["moves"], calls / 100)  # entries were reassigned, not only kept
    # All servers at weight 0 at once are rare: a short trace may not have that.
    assert got["none"] > 0 or calls < 500_000, f"in {calls} calls a server was always available"


@case
def every_answer_is_that_of_c():
    same(CALLS // 2, False)


@case
def every_ipv6_answer_is_that_of_c():
    same(CALLS - CALLS // 2, True)


@case
def documented_differences_occur_as_predicted():
    rows = ("icmp", "threshold", "flag_1", "wide", "flag_2")
    for stimuli in [[row] for row in rows] + [rows]:
        got = Pair(SEED, stimuli=stimuli).trace(CALLS // 10)
        print(f"# {'+'.join(stimuli)}: {got}")
        assert all((got[row] > 0) == (row in stimuli) for row in rows + ("expiry",)), got
        Services.clear()


@case
def an_entry_is_reused_when_too_many_wait_to_be_freed():
    run(f"modprobe ip_vs && modprobe ip_vs_lblc_rs && sysctl -qw {LIMIT}=64")
    try:
        run("modprobe lblc_direct")
        # Not the addresses of the cases above: a server from the trash keeps its connections.
        Pair.ipvs("-A -f 2 -s lblc_rs", *(f"-a -f 2 -r 10.9.0.{n}:0 -g -w 1000" for n in (1, 2)))
        Pair.command("flood 6000")
        with open(STATS) as file:
            word = next(line for line in file if line.startswith("FWM 2 ")).split()
        stats = dict(zip(word[2::2], map(int, word[3::2])))
        assert stats["evictions"] > 4096 and stats["failures"] > 0, stats
        with open(COMMANDS) as file:
            word = file.readline().split()
        stayed = int(word[word.index("stayed") + 1])
        eq((stayed, stats["replaces"]), (64, 64), "entries that stayed, and entries replaced")
    finally:
        run(f"sysctl -qw {LIMIT}={1 << 18}")


def answers(where, order, flag="-b flag-2", seed=0, ipv6=False):
    """Asks the director in `where` for CALLS keys. Returns how many of its answers are not the last one's."""
    run(f"ip netns add {where}", check=False)
    six = " -6" if ipv6 else ""
    with inside(where):
        run("ip link set lo up && sysctl -qw net.ipv4.vs.lblc_rs_keep=0")
        Pair.ipvs(f"-A -f 2{six} -s lblc_rs {flag}",
                  *(f"-a -f 2{six} -r {f'[fd00::{n}]' if ipv6 else f'10.1.0.{n}'}:0 -g -w {100 * n}" for n in order))
        with open("/proc/sys/net/ipv4/vs/lblc_rs_seed", "w") as file:
            file.write(str(seed))
        Pair.command(f"agree {CALLS}")
        run("ipvsadm -C")
    with open(COMMANDS) as file:
        word = file.readline().split()
    return int(word[word.index("unequal") + 1])


@case
def two_directors_agree_on_a_million_keys():
    run("modprobe ip_vs_lblc_rs && modprobe lblc_direct")
    one, two = [1, 2, 3, 4, 5, 6, 7, 8], [5, 8, 2, 7, 1, 4, 6, 3]
    try:
        for ipv6 in (False, True):
            answers("d1", one, ipv6=ipv6)
            unequal = answers("d2", two, ipv6=ipv6)
            assert unequal == 0, unequal
            unequal = answers("d1", two, seed=2 ** 63 + 1, ipv6=ipv6)
            assert unequal > CALLS // 2, f"another seed is another order: {unequal}"
            unequal = answers("d2", one, seed=2 ** 63 + 1, ipv6=ipv6)
            assert unequal == 0, unequal
        answers("d1", one, flag="")
        unequal = answers("d2", two, flag="")
        print(f"# {CALLS} keys, IPv4 and IPv6: 0 unequal; without flag-2 {unequal}")
        assert unequal > CALLS // 2, unequal
    finally:
        for where in ("d1", "d2"):
            run(f"ip netns del {where}", check=False)


main(Services())
