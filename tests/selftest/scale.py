#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The cost of changes to a service with many servers, compared with C's scheduler, which has no callbacks for them.
It is measured in virtual time (scripts/vm run --icount), which counts instructions and is nearly the same in each
run. IPVS itself walks its list for each change."""

import time

from harness import Skip, case, main, run

SERVERS = 4000
TRASH = 300     # seconds; IPVS keeps a removed server for two minutes, and looks once a minute


# The estimator of IPVS wakes up 25 times a second, and virtual time stops each time.
run("modprobe ip_vs && sysctl -qw net.ipv4.vs.run_estimation=0")


class Services:
    """Stands for the lab: clears the services between cases."""

    @staticmethod
    def clear():
        with open("/proc/cmdline") as file:
            if "lblc.time=virtual" not in file.read():
                raise Skip("needs virtual time: scripts/vm run --icount")
        run("modprobe ip_vs && ipvsadm -C && ip link set lo up && ip route replace local 10.0.0.0/8 dev lo")


def took(lines):
    """The time that ipvsadm needs for these lines."""
    start = time.monotonic()
    run(["ipvsadm", "-R"], input="\n".join(lines) + "\n")
    return time.monotonic() - start


def costs(scheduler):
    """The times to add, edit and delete all servers."""
    servers = [f"10.1.{n >> 8}.{n & 255}:0" for n in range(SERVERS)]
    run(f"ipvsadm -A -f 1 -s {scheduler}")
    times = [took(f"-a -f 1 -r {server} -g -w 10" for server in servers),
             took(f"-e -f 1 -r {server} -g -w 20" for server in servers),
             took(f"-d -f 1 -r {server}" for server in servers)]
    run("ipvsadm -C")
    time.sleep(TRASH)
    return times


@case
def changes_of_many_servers_cost_the_same_as_with_c():
    c, ours = costs("lblc"), costs("lblc_rs")
    for what, of_c, of_ours in zip(("add", "edit", "delete"), c, ours):
        print(f"# {what} {SERVERS} servers: {of_c:.3f} s with lblc, {of_ours:.3f} s with lblc_rs")
    ratios = [of_ours / of_c for of_c, of_ours in zip(c, ours)]
    assert max(ratios) < 1.1, (ratios, c, ours)


main(Services())
