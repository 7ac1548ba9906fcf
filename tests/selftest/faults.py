#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Failed allocations: the 1st, the 2nd, ... allocation of each operation fails, until one attempt needs fewer
(injection.py). An operation that fails must return ENOMEM and change nothing; one that succeeds despite the fault must
have done all of its work. Needs a kernel with fault injection (CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC): see the table
in scripts/test.

The kernel's warnings about failed allocations, with stack traces, stay off the console; the last two cases look for
worse.
"""

import ctypes
import errno
import glob
import itertools
import os
import random
import re
import socket

import rendezvous
from counted import (DAY, DEFAULT_LIMIT, EXPIRATION, LIMIT, STATS, TABLE, adds_up, calls, conns,
                     numbers)
from harness import case, eq, ge, gt, ksft, lacks, load_both, main, run, unload_all, wait_until, with_progress
from injection import (FULL, INJECTORS, SEED, allocations, attempt, fail_each, inject, ipvs, lab, never_fails, serves,
                       service, state)
from lab import key, sysctl
from load import DISCARD, SO_MARK, Load
from verdict import read, write

Load.prepare()
FLAG_2 = 0x10   # IP_VS_SVC_F_SCHED2
FINIT_MODULE, DELETE_MODULE = 313, 176  # x86-64
libc = ctypes.CDLL(None, use_errno=True)


def without_files(one, two):
    """Whether both are the same, except for missing sysctls: failing to register one is logged, and is no error."""
    return one[:2] == two[:2] and one[3] == two[3] and all(
        had in (False, wanted) for had, wanted in zip(one[2], two[2]))


@case
def adding_a_service():
    run("modprobe ip_vs_lblc_rs")
    ge(fail_each(lambda: ipvs.add(1, "lblc_rs"), lambda: ipvs.delete(1), check=lambda: None), 5)


@case
def deleting_a_service():
    service()
    never_fails(lambda: ipvs.delete(1), service)


def walks():
    """How often the kernel's log says that the list is walked."""
    return run("dmesg").count("walks the list of its servers")


LEAVING = ("s1", "s2", "s3")


def delete_most():
    """Deletes all servers but one: the module's array becomes mostly empty, and is replaced by a smaller one."""
    for name in LEAVING:
        ipvs.delete_server(1, lab.address(name))


def add_most():
    """Adds them again: the array becomes full."""
    for name in LEAVING:
        ipvs.add_server(1, lab.address(name), 0, 1000)


@case
def adding_servers():
    """Only IPVS itself returns an error; a failed allocation of the module costs speed, or an entry."""
    service()
    delete_most()
    # IPVS takes them from its trash without an allocation. A server with a new port is new.
    never_fails(add_most, delete_most)
    add_most()
    failed = 0
    for nth in itertools.count(1):
        before = state()
        error, left = attempt(nth, lambda: ipvs.add_server(1, lab.address("s1"), nth, 1000))
        assert not error or error.errno == errno.ENOMEM, error
        failed += bool(error)
        there = f":{nth} " in run("ipvsadm -S -n")
        assert there != bool(error), (nth, error)
        serves()
        if there:
            ipvs.delete_server(1, lab.address("s1"), nth)
        eq(state(), before)
        serves()
        if left:
            break
    gt(failed, 0, "the number of failures")


@case
def flag_2_chooses_the_same_when_the_list_is_walked():
    """Without memory for its array the module walks IPVS' list of servers, and says so."""
    service(flags=FLAG_2)
    ipvs.delete_server(1, lab.address("s1"))
    names = {lab.address(name): name for name in lab.names}
    servers = [(address, 0, 1000) for address in names]
    walked = 0
    for nth in itertools.count(1):
        said = walks()
        error, left = attempt(nth, lambda: ipvs.add_server(1, lab.address("s1"), 0, 1000))
        if not error:
            keys = [key(n) for n in range(100 * nth, 100 * nth + 100)]
            want = [names[order[0]] for order in rendezvous.orders(keys, servers)]
            eq(lab.send(keys), want, f"the servers with allocation {nth} failing")
            ipvs.delete_server(1, lab.address("s1"))
        walked += walks() > said
        if left:
            break
    gt(walked, 0, "the number of times the list was walked")


@case
def editing_a_server():
    service()
    never_fails(lambda: ipvs.edit_server(1, lab.address("s1"), 0, 7),
                lambda: ipvs.edit_server(1, lab.address("s1"), 0, 1000), may_have_none=True)


@case
def deleting_servers():
    """IPVS allocates nothing to delete a server, but the module replaces an array that is mostly empty."""
    service()

    def no_deleted_server_is_chosen():
        serves()
        listed = run("ipvsadm -S -n")
        gone = {name for name in LEAVING if lab.address(name) + ":" not in listed}
        got = set(lab.send([key(n) for n in range(20)]))
        assert not got & gone, (got, gone)

    # Servers that are added again are first in the list.
    delete_most()
    add_most()
    never_fails(delete_most, add_most, check=no_deleted_server_is_chosen)


@case
def changing_the_scheduler():
    load_both()
    run("modprobe ip_vs_rr")
    for old, new, least in (("rr", "lblc_rs", 5), ("lblc_rs", "rr", 0), ("lblc", "lblc_rs", 5),
                            ("lblc_rs", "lblc", 1)):
        service(old)
        check = (lambda: None) if "rr" in (old, new) else serves
        failed = fail_each(lambda: ipvs.edit(1, new), lambda: ipvs.edit(1, old), check=check,
                           may_have_none=new == "rr")
        ge(failed, least, f"the number of failed changes from {old} to {new}")
        ipvs.delete(1)


@case
def writing_the_sysctls():
    service()
    for name, old, new in ((LIMIT, DEFAULT_LIMIT, 777), (EXPIRATION, DAY, 888)):
        fd = os.open("/proc/sys/" + name, os.O_WRONLY)
        ge(fail_each(lambda: os.pwrite(fd, b"%d" % new, 0), lambda: sysctl(name, old)), 1)
        os.close(fd)


@case
def reading_the_files():
    service()
    lab.send([key(n) for n in range(300)])
    for path in (TABLE, STATS):
        got = []

        def look():
            got.clear()
            fd = os.open(path, os.O_RDONLY)
            try:
                while part := os.read(fd, 1 << 16):
                    got.append(part)
            finally:
                os.close(fd)

        def is_whole():
            if got:
                lines = b"".join(got).decode().splitlines()
                assert len(lines) == (301 if path == TABLE else 1), lines

        ge(fail_each(look, got.clear, check=is_whole), 5)


# Some parts of the kernel return another error than ENOMEM for a namespace. All of these have been seen.
ERRORS = (errno.ENOMEM, errno.EEXIST, errno.ENODEV, errno.EINVAL, errno.ENFILE, errno.EAFNOSUPPORT, errno.ENOBUFS)


@case
def making_a_namespace():
    service()
    complete = missing = 0

    def undo():
        nonlocal complete, missing
        eq([os.path.exists(path) for path in (TABLE, STATS)], [True, True], "which files exist")
        eq(read(TABLE), "", TABLE)
        # A sysctl that could not be registered is logged, and its default is used.
        there = [os.path.exists("/proc/sys/" + name) for name in (LIMIT, EXPIRATION)]
        complete, missing = complete + all(there), missing + (not all(there))
        home()

    def home():
        with open("/run/netns/director") as director:
            os.setns(director.fileno(), os.CLONE_NEWNET)

    total = allocations(lambda: os.unshare(os.CLONE_NEWNET))
    home()
    rng, failed, injected = random.Random(SEED), 0, 0
    nths = range(1, total + 2) if FULL else sorted(rng.sample(range(1, total - 60), 20)) + \
        list(range(total - 60, total + 2))
    before = state()
    for nth in with_progress(nths):
        error, left = attempt(nth, lambda: os.unshare(os.CLONE_NEWNET))
        injected += not left
        if error:
            assert error.errno in ERRORS, (nth, error)
            failed += 1
        else:
            undo()
        eq(state(), before, f"the state after allocation {nth} failed")
    assert failed and injected > failed and complete, (failed, injected, complete)
    serves()
    ksft.print_msg(f"{total} allocations, of which {injected} failed: {failed} times with an error, {complete} "
                   f"times without effect, {missing} times without a sysctl (SEED={SEED})")


def system_call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), "system call")


@case
def loading_and_unloading_the_module():
    unload_all()
    path = run("modinfo -n ip_vs_lblc_rs")
    assert path.endswith(".ko"), path
    fd = os.open(path, os.O_RDONLY)

    def load():
        system_call(FINIT_MODULE, fd, b"", 0)

    def unload():
        system_call(DELETE_MODULE, b"ip_vs_lblc_rs", os.O_NONBLOCK)

    # The last allocations are those of the module's init. Before it the kernel registers the trace events; when that
    # fails it warns (event_define_fields()), which would taint the kernel.
    ge(fail_each(load, unload, last=90, check=lambda: None, same=without_files, others=0), 20)
    load()
    never_fails(unload, load, last=60)
    os.close(fd)


@case
def a_connection_whose_entry_cannot_be_allocated():
    """The packet is served without an entry; the next one inserts it. (This task sends, so its allocations count.)"""
    service()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("10.0.1.1", 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, 1)
    without, rounds, nth = 0, 0, 1
    for number in itertools.count(1):
        before, had = numbers(STATS), conns()
        error, left = attempt(nth, lambda: sock.sendto(b"", (key(number), DISCARD)))
        after = numbers(STATS)
        if after["failures"] > before["failures"]:
            assert not error and conns() == had + 1 and after["inserts"] == before["inserts"], (nth, error)
            without += 1
            sock.sendto(b"", (key(number), DISCARD))
            eq(numbers(STATS)["inserts"], after["inserts"] + 1)
        # The number of allocations before the entry's varies by one, so `nth` may miss it: then begin again.
        nth, rounds = (1, rounds + 1) if left else (nth + 1, rounds)
        if left and (without or rounds == 5):
            break
    sock.close()
    ge(without, 1)
    serves()


@case
def no_entry_can_be_allocated_on_any_path():
    service()
    write("/sys/kernel/slab/ip_vs_lblc_rs_entry/failslab", "1")
    inject("failslab", cache_filter="Y", probability=100, times=-1)
    began = conns()
    try:
        with Load(SEED) as load:
            load.flows(3000)
        stats = numbers(STATS)
        assert stats["inserts"] == 0 == numbers(TABLE)["entries"], stats
        assert stats["failures"] == stats["unknown"] == calls(stats) >= 3000, stats
        adds_up(began)
    finally:
        inject("failslab", probability=0, cache_filter="N")
        write("/sys/kernel/slab/ip_vs_lblc_rs_entry/failslab", "0")
    serves()
    gt(numbers(STATS)["inserts"], 0, "the number of entries inserted afterwards")
    ksft.print_msg(f"{stats['failures']} entries could not be allocated, {load}")


@case
def the_table_cannot_grow():
    service()

    def workers(fail):
        for path in glob.glob("/proc/[0-9]*"):
            if read(path + "/comm").startswith("kworker/u"):
                write(path + "/make-it-fail", fail)

    inject("failslab", task_filter="Y", probability=100, times=-1)
    try:
        workers("1")
        keys = [key(n) for n in range(3000)]
        homes = lab.send(keys)
        wait_until(lambda: numbers(STATS)["failures"], "a larger table cannot be allocated")
    finally:
        workers("0")
        inject("failslab", probability=0, task_filter="N")
    table = numbers(TABLE)
    assert table["entries"] == 3000 and table["buckets"] == 1024, table
    lacks(homes, None)
    eq(lab.send(keys), homes)


@case
def the_log_has_nothing_worse():
    bad = [line for line in run("dmesg").splitlines()
           if re.search(r"\bWARNING:|\bBUG\b|KASAN|ODEBUG|refcount_t|suspicious RCU|possible .* lock", line)]
    assert not bad, "\n".join(bad)


os.path.ismount("/sys/kernel/debug") or run("mount -t debugfs debugfs /sys/kernel/debug")
for name in INJECTORS:
    inject(name, ignore_gfp_wait="N", verbose=0)
run("dmesg -n 4")
main(lab)
