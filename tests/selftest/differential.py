#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Random traces of connections on -s lblc and -s lblc_rs: every choice must be the same, except those listed in
docs/differences.md. See traces.py. SEED=n replays a trace, DECISIONS=n sets its length."""

import os
import time

from harness import case, gt, main, run
from lab import Lab, inside
from traces import Difference, Trace

SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
DECISIONS = int(os.environ.get("DECISIONS", 2000))

lab = Lab(servers=6)


def replay(wanted, *traces):
    """Takes steps of the traces in turn until they have made `wanted` decisions."""
    print(f"# SEED={SEED} DECISIONS={DECISIONS}")
    try:
        while sum(trace.decisions for trace in traces) < wanted:
            for trace in traces:
                trace.step()
    finally:
        for trace in traces:
            trace.end()


def the_client_schedules_too():
    """Marks packets that the client sends to 198.19.0.0/16, so that the client schedules them itself."""
    with inside("client"):
        run(["nft", "-f", "-"], input="""
            table inet own {
                chain marks {
                    type route hook output priority mangle;
                    ip daddr 198.19.0.0/16 th dport 80 meta mark set 1
                    ip daddr 198.19.0.0/16 th dport 81 meta mark set 2
                }
            }""")


@case
def every_choice_is_that_of_c():
    traces = [Trace(lab, SEED, ("lblc", "lblc_rs")),
              Trace(lab, SEED + 1, ("lblc", "lblc_rs"), where="client")]
    try:
        replay(DECISIONS, *traces)
    finally:
        with inside("client"):
            lab.clear()
    for trace in traces:
        print(f"# {trace.where}: {trace.decisions} decisions, 0 differences; {trace.moves} moves, "
              f"{trace.swaps} swaps")
        gt(trace.decisions, DECISIONS / 4)
    # Entries were reassigned, not only kept. (Of both: a short one may have servers with much weight.)
    gt(sum(trace.moves for trace in traces), sum(trace.decisions for trace in traces) / 100)


@case
def with_thresholds_only_documented_differences_occur():
    trace = Trace(lab, SEED, ("lblc", "lblc_rs"), thresholds=True)
    replay(max(DECISIONS // 5, 800), trace)
    print(f"# {trace.decisions} decisions, differences: {trace.explained}; ours had to leave a server above "
          f"its threshold {trace.must} times")
    gt(trace.explained["threshold"], 0)
    gt(trace.must, 0)


@case
def another_scheduler_is_detected():
    try:
        replay(200, Trace(lab, SEED, ("lblc", "wlc")))
    except Difference as difference:
        print(f"# {difference}")
    else:
        raise AssertionError("lblc and wlc made the same choices: the comparison detects nothing")


@case
def c_twice_does_not_honour_thresholds():
    try:
        replay(2000, Trace(lab, SEED, ("lblc", "lblc"), thresholds=True))
    except Difference as difference:
        print(f"# {difference}")
    else:
        raise AssertionError("C's module passes as ours")


the_client_schedules_too()
main(lab)
