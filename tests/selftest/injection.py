# SPDX-License-Identifier: GPL-2.0
"""Failed allocations of this thread's system calls, for faults.py.

A task writes the number of the allocation that is to fail into its /proc/thread-self/fail-nth, and reads from it how
many are left until then. So each operation consists of system calls of this thread.
"""

import errno
import itertools
import operator
import os
import random

from counted import EXPIRATION, LIMIT, STATS, TABLE
from harness import eq, ksft, run
from lab import Lab, key, sysctl
from sockopt import ONE_PACKET, Ipvs
from verdict import write

lab = Lab()
ipvs = Ipvs()
FULL = bool(os.environ.get("FULL"))
SEED = int(os.environ.get("SEED") or random.randrange(1 << 32))
FAIL = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
INJECTORS = ("failslab", "fail_page_alloc")
NEVER = 1 << 30


def inject(injector, **settings):
    for name, value in settings.items():
        write(f"/sys/kernel/debug/{injector}/{name.replace('_', '-')}", str(value))


def attempt(nth, operation):
    """Runs the operation with its nth allocation failing; returns its error, and how many allocations were left."""
    os.pwrite(FAIL, b"%d" % nth, 0)
    error = None
    try:
        operation()
    except OSError as failed:
        error = failed
    left = int(os.pread(FAIL, 16, 0))
    os.pwrite(FAIL, b"0", 0)
    return error, left


def allocations(operation):
    """Runs the operation without a fault; returns the number of its allocations."""
    error, left = attempt(NEVER, operation)
    assert not error and left, error
    return NEVER - left


def state():
    """What an operation that fails must not change: services, references on modules, settings."""
    with open("/proc/modules") as file:
        users = [line.split()[:3:2] for line in file if line.startswith("ip_vs")]
    settings = [os.path.exists("/proc/sys/" + name) and sysctl(name) for name in (LIMIT, EXPIRATION)]
    files = [os.path.exists(path) for path in (TABLE, STATS)]
    return run("ipvsadm -S -n"), users, settings, files


def serves():
    """If there is a service, asserts that it serves, and that its keys keep their servers."""
    if "-f 1" in run("ipvsadm -S -n"):
        keys = [key(n) for n in range(6)]
        homes = lab.send(keys)
        assert None not in homes and lab.send(keys) == homes, homes


def fail_each(operation, undo, errors=(errno.ENOMEM,), last=None, check=serves, same=operator.eq,
              may_have_none=False, others=30):
    """Does and undoes `operation` as described above, with each allocation failing in turn; with `last`, and without
    FULL=1, with each of the `last` ones, and with `others` chosen at random. At least one must have failed, unless
    `may_have_none`. Returns the number of attempts that returned an error."""
    before = state()
    total, after = allocations(operation), state()
    undo()
    eq(state(), before)
    nths = itertools.count(1)
    if last and last < total and not (FULL and others):
        chosen = sorted(random.Random(SEED).sample(range(1, total - last), min(others, total - last - 1)))
        nths = itertools.chain(chosen, itertools.count(total - last))
    failed = survived = injected = 0
    for nth in nths:
        error, left = attempt(nth, operation)
        injected += not left
        if error:
            assert not left and error.errno in errors, (nth, left, error)
            failed += 1
        else:
            assert same(state(), after), (nth, state(), after)
            check()
            undo()
            survived += 1
        assert state() == before, (nth, error, state(), before)
        check()
        if left:
            break
    assert left and not error, "no attempt succeeded without a fault"
    assert injected or may_have_none, "no allocation failed"
    ksft.print_msg(f"{total} allocations: {failed} attempts failed, {survived - 1} succeeded despite the fault"
                   f" (SEED={SEED})")
    return failed


def never_fails(operation, undo, **more):
    eq(fail_each(operation, undo, errors=(), **more), 0)


def service(scheduler="lblc_rs", flags=0):
    """Adds a service for firewall mark 1 with all servers; it schedules each packet."""
    run(f"modprobe ip_vs_{scheduler}")
    ipvs.add(1, scheduler, ONE_PACKET | flags)
    for name in lab.names:
        ipvs.add_server(1, lab.address(name), 0, 1000)
