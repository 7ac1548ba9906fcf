#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The cost of changes to a service with many servers, and of many services, compared with C's scheduler, which has no
callbacks for servers. It is measured in virtual time (scripts/vm run --icount), which counts instructions and is nearly
the same in each run. IPVS itself walks its list of servers for each change."""

import os
import time

from harness import Skip, case, has, le, load_both, main, run
from memory import available_without_empty_slabs
from parking import fill
from sockopt import Ipvs

SERVERS = 4000
SERVICES = 500
EMPTIED = 4000  # services that are deleted at once
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


def busy(change):
    """The time that `change` needs, and what it leaves to be done later: three seconds, less those in which the CPU was
    idle, of which the kernel tells hundredths."""
    def idle():
        with open("/proc/uptime") as file:
            return float(file.read().split()[1])
    start, idle_before = time.monotonic(), idle()
    change()
    time.sleep(3)
    return time.monotonic() - start - (idle() - idle_before)


def exit_of_a_namespace(scheduler):
    """The time that the exit of a network namespace needs, with many services."""
    made, end = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.unshare(os.CLONE_NEWNET)
        with open("/proc/sys/net/ipv4/vs/run_estimation", "w") as file:
            file.write("0")
        services = Ipvs()
        for mark in range(1, EMPTIED + 1):
            services.add(mark, scheduler)
        os.write(made[1], b".")
        os.read(end[0], 1)
        os._exit(0)
    os.read(made[0], 1)

    def leave():
        os.write(end[1], b".")
        os.waitpid(pid, 0)
    took = busy(leave)
    for file in made + end:
        os.close(file)
    return took


def costs_of_services(scheduler):
    """{change: the time that it needs}"""
    marks = range(1, SERVICES + 1)
    times = {"add": took(f"-A -f {mark} -s {scheduler}" for mark in marks),
             "edit": took(f"-E -f {mark} -s {scheduler} -p 100" for mark in marks),
             "delete": took(f"-D -f {mark}" for mark in marks)}
    services = Ipvs()
    for mark in range(1, EMPTIED + 1):
        services.add(mark, scheduler)
    times["delete all"] = busy(services.flush)
    times["leave a namespace with"] = exit_of_a_namespace(scheduler)
    return times


@case
def services_cost_no_more_than_with_c():
    load_both()
    c, ours = costs_of_services("lblc"), costs_of_services("lblc_rs")
    for what in c:
        print(f"# {what} services: {c[what]:.3f} s with lblc, {ours[what]:.3f} s with lblc_rs")
    for what in c:
        le(ours[what] / c[what], 1.1, f"the cost, as a multiple of C's, to {what} services")


def memory_of_a_service(scheduler):
    """The memory in bytes that a service without servers takes, its entry in IPVS included."""
    services, before = Ipvs(), available_without_empty_slabs()
    for mark in range(1, EMPTIED + 1):
        services.add(mark, scheduler)
    took = before - available_without_empty_slabs()
    services.flush()
    time.sleep(3)
    return took // EMPTIED


@case
def an_empty_service_takes_no_more_memory_than_with_c():
    load_both()
    c, ours = memory_of_a_service("lblc"), memory_of_a_service("lblc_rs")
    print(f"# a service takes {c} bytes with lblc, {ours} bytes with lblc_rs")
    le(ours, c, "the memory of a service")


@case
def adopting_a_parked_table_costs_the_same_however_large_it_is():
    """A walk over 32768 entries would take more than 32768 instructions."""
    run("modprobe ip_vs_lblc_rs && sysctl -qw net.ipv4.vs.lblc_rs_keep=600")
    ipvs, best = Ipvs(), []
    ipvs.add(3, "rr")  # IPVS registers its hooks with the first service
    for mark, entries in (1, 0), (2, 1 << 15):
        ipvs.add(mark, "lblc_rs")
        fill(entries, mark=mark)
        took = []
        for _ in range(5):
            time.sleep(3)  # the work item is done
            ipvs.delete(mark)
            time.sleep(3)
            start = time.monotonic_ns()
            ipvs.add(mark, "lblc_rs")
            took.append(time.monotonic_ns() - start)
        with open("/proc/net/ip_vs_lblc_rs") as file:
            has(file.read(), f"FWM {mark} entries {entries} ")
        best.append(min(took))
    print(f"# instructions to bind a service again: {best[0]} with an empty table, {best[1]} with {entries} entries")
    le(best[1] - best[0], entries // 4, "the instructions for the entries")
    run("sysctl -qw net.ipv4.vs.lblc_rs_keep=0 && ipvsadm -C")


main(Services())
