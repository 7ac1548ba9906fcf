#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""schedule() of C's scheduler and of ours, called directly and alternately with a random trace: what is
not meant to differ is the same, and what is (docs/differences.md) differs exactly as a model of it says
(tests/modules/lblc_direct/model.c). SEED=n replays a trace, DECISIONS=n sets its length."""

import os
import time

from harness import main, run
from pair import Difference, Pair

SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
CALLS = int(os.environ.get("DECISIONS", 1_000_000))


class Services:
    """What the harness clears between cases."""

    @staticmethod
    def clear():
        run("modprobe ip_vs && ipvsadm -C")
        run("rmmod lblc_direct", check=False)


def objection(stimuli=(), **more):
    """What the module objects to."""
    try:
        Pair(SEED, stimuli=stimuli, **more).trace(20000)
    except Difference as difference:
        return str(difference)
    raise AssertionError(f"no objection: this comparison sees nothing of {stimuli or 'anything'}")


def another_scheduler_is_told_apart():
    for line in objection(schedulers=("lblc", "wlc")).splitlines()[1:4]:
        print("#", line)


def c_in_our_place_lacks_each_improvement():
    for row in ("icmp", "threshold", "flag_1", "wide"):
        services = Services()
        services.clear()
        objection([row], schedulers=("lblc", "lblc"))


def same(calls, ipv6):
    print(f"# SEED={SEED} DECISIONS={CALLS}")
    start = time.monotonic()
    got = Pair(SEED + ipv6, ipv6=ipv6).trace(calls)
    print(f"# {got} in {time.monotonic() - start:.0f} s")
    assert got["calls"] == calls and got["differences"] == 0, got
    assert got["moves"] > calls / 100, "the trace exercised more than staying"
    # All servers at weight 0 are rare: a short trace may lack that.
    assert got["none"] > 0 or calls < 500_000, "somebody could always take it"


def every_answer_is_that_of_c():
    same(CALLS // 2, False)


def every_ipv6_answer_is_that_of_c():
    same(CALLS - CALLS // 2, True)


def what_is_meant_to_differ_differs_as_said():
    rows = ("icmp", "threshold", "flag_1", "wide")
    for stimuli in [[row] for row in rows] + [rows]:
        got = Pair(SEED, stimuli=stimuli).trace(CALLS // 10)
        print(f"# {'+'.join(stimuli)}: {got}")
        assert all((got[row] > 0) == (row in stimuli) for row in rows + ("expiry",)), got
        Services.clear()


main([another_scheduler_is_told_apart, c_in_our_place_lacks_each_improvement,
      every_answer_is_that_of_c, every_ipv6_answer_is_that_of_c,
      what_is_meant_to_differ_differs_as_said], Services())
