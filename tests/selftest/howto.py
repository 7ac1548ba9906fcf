#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The scheduler of docs/howto-scheduler.md: another module that is built on ipvs/."""

from collections import Counter

from harness import case, eq, has, lacks, loaded, main, run, unload_all, wait_until
from lab import Lab, Traffic, key

lab = Lab()


def unload():
    """Unloads the module, which must not be in use."""
    lab.clear()
    run("rmmod ip_vs_random_rs")
    lacks(loaded(), "ip_vs_random_rs")


@case
def it_schedules_at_random_by_weight():
    unload_all()
    lab.service("random_rs", options="-o", weights={"s1": 100, "s2": 100, "s3": 200, "s4": 0})
    has(loaded(), "ip_vs_random_rs")
    lacks(loaded(), "ip_vs_lblc_rs")
    got = Counter(lab.send([key(1)] * 2000))
    # Six standard deviations to each side.
    eq((set(got), sum(got.values())), ({"s1", "s2", "s3"}, 2000), "servers, and packets served")
    assert all(380 < got[name] < 620 for name in ("s1", "s2")) and 865 < got["s3"] < 1135, got
    unload()


@case
def it_honours_weight_0_and_the_upper_threshold():
    lab.service("random_rs", weights={"s1": 1})
    lab.hold(key(1), 2)
    lab.ipvs(lab.server("-e", "s1", 1, more="-x 2 -y 1"), lab.server("-a", "s2", 0))
    eq(lab.ask(key(2), timeout=0.3), None)
    lab.ipvs(lab.server("-e", "s2", 1))
    eq([lab.ask(key(n)) for n in range(10)], ["s2"] * 10)
    unload()


@case
def it_lives_beside_ours_under_traffic():
    with Traffic() as traffic:
        lab.service("random_rs")
        for _ in range(5):
            for scheduler in ("lblc_rs", "random_rs"):
                run(f"ipvsadm -E -f 1 -s {scheduler}")
                traffic.flows()
                lab.ipvs(lab.server("-d", "s4"), lab.server("-a", "s4", 10))
                traffic.flows()
    eq({"ip_vs_random_rs", "ip_vs_lblc_rs"} - loaded(), set(), "modules that are not loaded")
    # The service uses random_rs now, so lblc_rs has none to show.
    with open("/proc/thread-self/net/ip_vs_lblc_rs_stats") as file:
        eq(file.read(), "")
    unload()
    wait_until(lambda: run("rmmod ip_vs_lblc_rs", check=False).returncode == 0, "ip_vs_lblc_rs is not in use")


main(lab)
