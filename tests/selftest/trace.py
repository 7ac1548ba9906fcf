#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The tracepoints, by tracefs and by the bpftrace commands of the manual page. Needs a kernel with tracing."""

import contextlib
import os
import re
import signal
import subprocess
import time

from harness import case, commands, eq, lacks, loaded, main, ne, run, unload_all, wait_until
from lab import VIP, VIP6, Lab, key, sysctl

lab = Lab()
TRACING = "/sys/kernel/tracing"
EVENTS = TRACING + "/events/ip_vs_lblc_rs"
LIMIT = "net/ipv4/vs/lblc_rs_max_entries"
EXPIRATION = "net/ipv4/vs/lblc_expiration"
STATS = "/proc/thread-self/net/ip_vs_lblc_rs_stats"
LONG = 120  # seconds: bpftrace compiles, which takes a while where the CPU is emulated


def write(path, value):
    with open(path, "w") as file:
        file.write(value)


@contextlib.contextmanager
def listening(event, condition="0"):
    """Clears the trace and enables `event`."""
    run("modprobe ip_vs_lblc_rs")
    write(f"{TRACING}/trace", "")
    write(f"{EVENTS}/{event}/filter", condition)
    write(f"{EVENTS}/{event}/enable", "1")
    try:
        yield
    finally:
        if os.path.exists(EVENTS):
            write(f"{EVENTS}/{event}/enable", "0")
            write(f"{EVENTS}/{event}/filter", "0")


def traced():
    """The events in the trace, without their names."""
    with open(f"{TRACING}/trace") as file:
        return re.findall(r" lblc_rs_\w+: (.*)$", file.read(), re.MULTILINE)


def stats():
    with open(STATS) as file:
        word = file.readline().split()
    return dict(zip(word[2::2], map(int, word[3::2])))


def at(server, ipv6=False, port=0):
    return f"{lab.address(server, ipv6)}:{port}"


def miss(destination, before, after, reason):
    before, after = (at(name) if name else "-" for name in (before, after))
    return f"FWM 1 {destination} before {before} after {after} reason {reason}"


@case
def a_miss_is_traced_with_its_reason_and_a_hit_is_not():
    d, e, f = key(1), key(2), key(3)
    lab.service(weights={"s1": 1}, options="-o")
    with listening("lblc_rs_miss"):
        lab.send([d, e, f, d])
        lab.ipvs(lab.server("-a", "s2", 10))
        sysctl(EXPIRATION, 0)
        run("sleep 0.1")                    # so that entries are idle for some jiffies
        lab.send([d])
        sysctl(EXPIRATION, 86400)
        lab.ipvs(lab.server("-e", "s1", 0))
        lab.send([e])
        lab.ipvs(lab.server("-d", "s1"))
        lab.send([f])
        lab.ipvs(lab.server("-e", "s2", 0))
        lab.send([f])
        assert traced() == [miss(d, None, "s1", "unknown"), miss(e, None, "s1", "unknown"),
                            miss(f, None, "s1", "unknown"), miss(d, "s1", "s2", "expired"),
                            miss(e, "s1", "s2", "weight0"), miss(f, "s1", "s2", "unavailable"),
                            miss(f, "s2", None, "none")], "\n".join(traced())
    lab.send([d])
    eq(len(traced()), 7)  # the tracepoint is disabled


@case
def a_spill_is_traced_with_both_servers():
    lab.service(weights={"s1": 1})
    lab.hold(key(1), 2)
    lab.ipvs(lab.server("-a", "s2", 1000))
    with listening("lblc_rs_miss"):
        lab.hold(key(1))
        lab.ipvs(lab.server("-e", "s2", 1000, more="-x 1"))
        lab.hold(key(1))
        assert traced() == [miss(key(1), "s1", "s2", "overloaded"),
                            miss(key(1), "s2", "s1", "threshold")], "\n".join(traced())


@case
def services_of_all_kinds_are_traced_by_name():
    lab.service(service=f"-t {VIP}:80", port=80, how="-m", weights={"s1": 1})
    lab.service(service=f"-t [{VIP6}]:80", ipv6=True, port=80, how="-m", weights={"s1": 1})
    with listening("lblc_rs_miss"):
        eq([lab.ask(VIP), lab.ask(VIP6)], ["s1"] * 2)
        assert traced() == [
            f"TCP {VIP}:80 {VIP} before - after {at('s1', port=80)} reason unknown",
            f"TCP [{VIP6}]:80 {VIP6} before - after {at('s1', True, 80)} reason unknown"], traced()


@case
def a_filter_chooses_a_destination():
    lab.service()
    with listening("lblc_rs_miss", f'destination == "{key(7)}"'):
        for n in range(20):
            lab.ask(key(n))
        (event,) = traced()
        assert event.split()[2] == key(7), event


@case
def an_eviction_is_traced_with_its_destination():
    lab.service(weights={"s1": 1}, options="-o")
    sysctl(LIMIT, 50)
    try:
        with listening("lblc_rs_evict"):
            first = [key(n) for n in range(50)]
            lab.send(first)
            eq(traced(), [])
            lab.send([key(n) for n in range(50, 90)])
            here = traced()
            assert len(here) == stats()["evictions"] == 40, here
            wrong = [event for event in here if not re.fullmatch(rf"FWM 1 198\.18\.\S+ {at('s1')} \d+", event)]
            eq(wrong, [], "events of another form")
            # No evicted destination is in the table.
            gone = [event.split()[2] for event in here]
            with open("/proc/thread-self/net/ip_vs_lblc_rs") as file:
                left = {line.split()[0] for line in file if line.startswith("  ")}
            eq((len(set(gone)), left & set(gone)), (40, set()), "destinations evicted, and those of them still there")
            lab.ipvs(lab.server("-a", "s2", 1), lab.server("-d", "s1"))
            lab.send([key(100)])
            assert traced()[-1].endswith(" removed"), traced()[-1]
    finally:
        sysctl(LIMIT, 1 << 18)


@case
def a_resize_is_traced_with_both_sizes():
    lab.service(options="-o")
    with listening("lblc_rs_rebuild"):
        lab.send([key(n) for n in range(2500)])
        wait_until(lambda: len(traced()) == stats()["resizes"] >= 1, "the table has grown")
        sysctl(LIMIT, 10)
        try:
            wait_until(lambda: traced() and " after 1024 " in traced()[-1], "the table has shrunk")
        finally:
            sysctl(LIMIT, 1 << 18)
        sizes = [1024]
        for event in traced():
            word = event.split()
            assert word[:5] == ["FWM", "1", "resize", "buckets", "before"], event
            assert int(word[5]) == sizes[-1] and int(word[9]) <= 2500, event
            sizes.append(int(word[7]))
        assert max(sizes) >= 4096 and sizes[-1] == 1024, sizes


@case
def the_module_unloads_while_a_tracepoint_is_enabled():
    lab.service()
    with listening("lblc_rs_miss"):
        lab.ask(key(1))
        lab.clear()
        run("rmmod ip_vs_lblc_rs")
        assert not os.path.exists(EVENTS), f"{EVENTS} is still there"
        lacks(loaded(), "ip_vs_lblc_rs")
    lab.service()
    ne(lab.ask(key(1)), None)
    with open(f"{EVENTS}/lblc_rs_miss/enable") as file:
        eq(file.read().strip(), "0")
    lab.clear()
    unload_all()


@contextlib.contextmanager
def bpftrace(command):
    """Runs a command of the manual page, and interrupts it at the end; yields a function that returns its output."""
    path = "/tmp/bpftrace.out"

    def said():
        with open(path) as file:
            return file.read()

    with open(path, "w") as out:
        child = subprocess.Popen(["sh", "-c", "exec " + command], stdout=out, stderr=out)
    try:
        since, before = time.monotonic(), None

        def is_attached():
            """Whether bpftrace waits for events, and has opened no other file for two seconds."""
            nonlocal since, before
            files = os.listdir(f"/proc/{child.pid}/fd")
            if files != before:
                since, before = time.monotonic(), files
            with open(f"/proc/{child.pid}/wchan") as file:
                waits = "poll" in file.read()  # not always, on a busy machine
            return waits and time.monotonic() > since + 2 or child.poll() is not None
        wait_until(is_attached, "bpftrace is attached", LONG)
        assert child.poll() is None, said()
        yield said
        child.send_signal(signal.SIGINT)
        assert child.wait(LONG) == 0, said()
    finally:
        child.kill()
        child.wait()


@case
def the_page_shows_how_to_follow_a_destination():
    command = "\n".join(commands("Following a destination"))
    lab.service(weights={"s1": 10})

    def lines():
        return [line for line in said().splitlines() if line.startswith("(")]
    with bpftrace(command) as said:
        for n in range(5, 10):
            lab.ask(key(n))
        lab.ipvs(lab.server("-a", "s2", 10), lab.server("-e", "s1", 0))
        eq(lab.ask("198.18.0.7"), "s2")
        # When bpftrace is interrupted, it can lose events that it has not printed.
        wait_until(lambda: len(lines()) >= 2, "bpftrace has printed both", LONG)
    assert lines() == [f"(-, {at('s1')}, unknown)", f"({at('s1')}, {at('s2')}, weight0)"], said()


@case
def the_page_shows_how_to_count_reasons():
    command = "\n".join(commands("Counting reasons"))
    lab.service(weights={"s1": 10}, options="-o")
    with bpftrace(command) as said:
        lab.send([key(n) for n in range(30)])
        lab.ipvs(lab.server("-a", "s2", 10), lab.server("-e", "s1", 0))
        lab.send([key(n) for n in range(20)])
    assert f"@[unknown, {at('s1')}]: 30\n" in said() and f"@[weight0, {at('s2')}]: 20\n" in said(), said()


@case
def the_page_shows_how_to_do_without_bpftrace():
    run("modprobe ip_vs_lblc_rs")
    lines = commands("Without bpftrace")
    eq(lines[-1], f"cat {TRACING}/trace_pipe")
    lab.service()
    try:
        run("\n".join(lines[:-1]))
        pipe = subprocess.Popen(lines[-1].split(), stdout=subprocess.PIPE, text=True)
        for n in range(5, 10):
            lab.ask(key(n))
        line = pipe.stdout.readline()
        assert f"lblc_rs_miss: FWM 1 {key(7)} before - after " in line, line
        pipe.kill()
        pipe.communicate()
    finally:
        write(f"{EVENTS}/lblc_rs_miss/enable", "0")
        write(f"{EVENTS}/lblc_rs_miss/filter", "0")


if not os.path.isdir(TRACING + "/events"):
    run(f"mount -t tracefs tracefs {TRACING}")

main(lab)
