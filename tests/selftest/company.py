#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Our module and C's ip_vs_lblc in every order: ours first, C's first, ours in drop-in mode; loaded, refused, unloaded.
docs/company.md has the table.

Each step compares all of net.ipv4.vs (names, modes, values) in three network namespaces: the initial one ("machine's"),
the lab's director ("root's"), and one of an unprivileged user ("user's"), in which C's module has no file.
"""

import os
import subprocess
import time

from counted import DEFAULT_LIMIT, EXPIRATION, LIMIT, STATS, numbers
from harness import case, eq, loaded, logged, main, run, unload_all, wait_until
from lab import PORTS, Lab, Traffic, key, sysctl
from verdict import HERE, MACHINE, namespace, sysctls

lab = Lab()
C, OURS = "ip_vs_lblc", "ip_vs_lblc_rs"
DAY = "86400"
FILE = "0o100644"
REFUSED = "IPVS: ip_vs_lblc is refused while ip_vs_lblc_rs is loaded"
SHARED = "IPVS: net.ipv4.vs.lblc_expiration is ip_vs_lblc's; its value is used"


def user_namespace():
    """The path of a network namespace of uid 1000, which a process keeps alive."""
    command = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups",
               "unshare", "--user", "--map-root-user", "--net", "sleep", "infinity"]
    keeper = subprocess.Popen(command)
    path, here = f"/proc/{keeper.pid}/ns/net", os.readlink(HERE)
    wait_until(lambda: os.readlink(path) != here, "uid 1000 has a namespace")
    return path


MACHINES, ROOTS, USERS = "machine's", "root's", "user's"
PATHS = {MACHINES: MACHINE, ROOTS: HERE, USERS: user_namespace()}
OWN = {"lblc_rs_max_entries": (FILE, str(DEFAULT_LIMIT)), "lblc_rs_seed": ("0o100600", "0"),
       "lblc_rs_keep": (FILE, "60")}


def tree():
    """net.ipv4.vs in all three namespaces: {(namespace, file): (mode, value)}."""
    return {(where, name): told for where, path in PATHS.items() for name, told in sysctls(path).items()}


def begin():
    """Unloads both modules; returns the tree without them."""
    unload_all()
    base = tree()
    for where in PATHS:
        assert sum(one == where for one, _ in base) > 20, f"net.ipv4.vs of {where} namespace is not complete: {base}"
    return base


def plus(base, expiration, own=tuple(PATHS)):
    """The tree `base` with lblc_expiration as in {namespace: value}, and with our own files in the namespaces `own`."""
    return base | {(where, "lblc_expiration"): (FILE, value) for where, value in expiration.items()} | \
        {(where, name): (mode, value) for where in own for name, (mode, value) in OWN.items()}


def put(**values):
    """Writes lblc_expiration in the namespaces given as machine=, root= and user=."""
    for where, value in values.items():
        with namespace(PATHS[where + "'s"]):
            sysctl(EXPIRATION, value)


def fails(command, words=""):
    """Asserts that the command fails, with `words` in its output."""
    done = run(command, check=False)
    assert done.returncode, f"{command} succeeded"
    assert words in done.stdout + done.stderr, f"{command} prints {done.stdout + done.stderr!r}, not {words!r}"


def serve(*schedulers):
    """Asserts that a service with each of these schedulers serves, and that its keys keep their servers."""
    for scheduler in schedulers:
        lab.clear()
        lab.service(scheduler)
        first = [lab.ask(key(n)) for n in range(4)]
        assert None not in first, f"with {scheduler}, servers answer {first}"
        eq([lab.ask(key(n)) for n in range(4)], first, f"the servers that {scheduler} chooses")
    lab.clear()
    keep = "lblc_rs_keep"   # clear() has set it to 0
    for one in ("client", "director"):
        run(f"ip netns exec {one} sysctl -eqw net.ipv4.vs.{keep}={OWN[keep][1]}")


def ask_after_some_jiffies(times):
    """Connects `times` times to a destination that has been idle for some jiffies."""
    for _ in range(times):
        time.sleep(0.1)
        assert lab.ask(key(1)), "no server answers"


def c_is_refused():
    """Asserts that C's module is refused, however it is requested, and that nothing changes."""
    before = tree()
    fails(f"modprobe {C}", "Device or resource busy")
    eq(tree(), before, "after modprobe")
    for where, path in PATHS.items():
        inside = f"nsenter --net={path}" + (f" --user={path.removesuffix('net')}user" if where == USERS else "")
        fails(f"{inside} ipvsadm -A -f 7 -s lblc")
        eq(tree(), before, f"after -s lblc in {where} namespace")
    eq(loaded() & {C, OURS}, {OURS}, "the loaded modules")
    assert logged(REFUSED), f"the log lacks {REFUSED!r}"


# Alone ------------------------------------------------------------------------------------------

@case
def ours_alone():
    base = begin()
    run(f"modprobe {OURS}")
    eq(tree(), plus(base, dict.fromkeys(PATHS, DAY)), "with ours loaded")
    put(machine=1, root=2, user=3)
    eq(tree(), plus(base, {MACHINES: "1", ROOTS: "2", USERS: "3"}), "with values written")
    run(f"rmmod {OURS}")
    eq(tree(), base, "with ours unloaded")
    run(f"modprobe {OURS}")
    eq(tree(), plus(base, dict.fromkeys(PATHS, DAY)), "with ours loaded again")
    run(f"rmmod {OURS}")
    eq(tree(), base, "with ours unloaded again")


@case
def c_alone_has_no_file_in_a_users_namespace():
    base = begin()
    run(f"modprobe {C}")
    eq(tree(), plus(base, {MACHINES: DAY, ROOTS: DAY}, own=()), "with C's loaded")
    run(f"rmmod {C}")
    eq(tree(), base, "with C's unloaded")


# C's first --------------------------------------------------------------------------------------

def c_first():
    """Loads both modules, C's first; returns the tree without them, and with both."""
    base = begin()
    run(f"modprobe {C}")
    put(machine=111, root=222)
    before = logged(SHARED)
    run(f"modprobe {OURS}")
    eq(logged(SHARED) - before, 1, "the number of lines in the log")
    both = plus(base, {MACHINES: "111", ROOTS: "222", USERS: DAY})
    eq(tree(), both, "with both loaded")
    return base, both


@case
def c_first_then_ours_ours_goes_first():
    base, both = c_first()
    put(user=333)
    eq(tree(), both | {(USERS, "lblc_expiration"): (FILE, "333")}, "with a value of the user's")
    run(f"rmmod {OURS}")
    eq(tree(), plus(base, {MACHINES: "111", ROOTS: "222"}, own=()), "with C's alone")
    run(f"rmmod {C}")
    eq(tree(), base, "with neither")


@case
def c_first_then_ours_c_goes_first():
    base, both = c_first()
    run(f"rmmod {C}")
    eq(tree(), both, "with ours alone")
    put(machine=1, root=2, user=3)
    eq(tree(), plus(base, {MACHINES: "1", ROOTS: "2", USERS: "3"}), "with values written")
    c_is_refused()
    run(f"rmmod {OURS}")
    eq(tree(), base, "with neither")
    run(f"modprobe {C}")
    eq(tree(), plus(base, {MACHINES: DAY, ROOTS: DAY}, own=()), "with C's alone")


@case
def both_schedule_and_ours_goes_by_cs_value():
    c_first()
    serve("lblc", "lblc_rs")
    sysctl(EXPIRATION, 0)
    lab.service()
    ask_after_some_jiffies(3)
    eq(numbers(STATS)["hits"], 0, "hits with C's file at 0")
    fails(f"rmmod {OURS}", "in use")
    run(f"rmmod {C}")
    eq(sysctl(EXPIRATION), "0", "the value that ours takes over")
    ask_after_some_jiffies(1)
    eq(numbers(STATS)["hits"], 0, "hits with our file at 0")
    sysctl(EXPIRATION, DAY)
    ask_after_some_jiffies(2)
    eq(numbers(STATS)["hits"], 2, "hits with our file at a day")


@case
def c_is_unloaded_and_refused_under_traffic_of_ours():
    base, both = c_first()
    lab.service()
    with Traffic() as traffic:
        traffic.flows()
        run(f"rmmod {C}")
        traffic.flows()
        eq(tree(), both, "with ours alone")
        c_is_refused()
        traffic.flows()
    lab.clear()
    run(f"rmmod {OURS}")
    eq(tree(), base, "with neither")


# Ours first -------------------------------------------------------------------------------------

@case
def ours_first_then_c_is_refused():
    base = begin()
    run(f"modprobe {OURS}")
    put(machine=11, root=22, user=33)
    with namespace(PATHS[USERS]):
        sysctl(LIMIT, 44)
    c_is_refused()
    serve("lblc_rs")
    run(f"rmmod {OURS}")
    eq(tree(), base, "with neither")
    run(f"modprobe {C}")
    eq(tree(), plus(base, {MACHINES: DAY, ROOTS: DAY}, own=()), "with C's alone")
    serve("lblc")


@case
def loaded_at_once_both_are_there_or_c_is_refused():
    base, orders = begin(), {"both": 0, "ours alone": 0}
    for turn in range(10):
        modules = (C, OURS) if turn % 2 else (OURS, C)
        for process in [subprocess.Popen(["modprobe", module], stderr=subprocess.DEVNULL) for module in modules]:
            process.wait()
        assert OURS in loaded(), loaded()
        orders["both" if C in loaded() else "ours alone"] += 1
        eq(tree(), plus(base, dict.fromkeys(PATHS, DAY)), f"with {modules} loaded at once")
        unload_all()
        eq(tree(), base, f"with neither after {modules}")
    print(f"# {orders}")


@case
def namespaces_made_in_each_state_have_the_files_of_the_state():
    begin()
    made = []

    def make(c=False, ours=False):
        name = f"n{len(made)}"
        made.append(name)
        run(f"ip netns add {name}")
        for name in made:
            found = {file: told[1] for file, told in sysctls(f"/run/netns/{name}").items() if "lblc" in file}
            files = {"lblc_expiration": DAY} if c or ours else {}
            eq(found, files | ({name: value for name, (_, value) in OWN.items()} if ours else {}), f"files of {name}")

    try:
        run(f"modprobe {OURS}")
        make(ours=True)
        run(f"rmmod {OURS}")
        make()
        run(f"modprobe {C}")
        make(c=True)
        run(f"modprobe {OURS}")
        make(c=True, ours=True)
        run(f"rmmod {C}")
        make(ours=True)
        fails(f"modprobe {C}")
        make(ours=True)
        run(f"rmmod {OURS}")
        make()
    finally:
        for name in made:
            run(f"ip netns del {name}")


# In drop-in mode --------------------------------------------------------------------------------

@case
def drop_in_first_then_c_is_refused():
    base = begin()
    run(f"modprobe {OURS} dropin=1")
    both = plus(base, dict.fromkeys(PATHS, DAY))
    eq(tree(), both, "with the drop-in")
    serve("lblc", "lblc_rs")
    fails(f"modprobe {C}", "Device or resource busy")
    eq(tree(), both, "with C's refused")
    run(f"rmmod {OURS}")
    eq(tree(), base, "with neither")


@case
def drop_in_has_both_names_at_once():
    begin()
    run(f"modprobe {OURS} dropin=1")
    lab.service("lblc", mark=1)
    lab.service("lblc_rs", mark=2)
    for port in PORTS:
        assert lab.ask(key(1), port=port), f"no server answers on port {port}"
    for number, name in enumerate(("lblc_rs", "lblc", "lblc_rs"), 1):
        run(f"ipvsadm -E -f 1 -s {name}")
        assert f"-f 1 -s {name}\n" in run("ipvsadm -S -n") + "\n", f"edit {number}: {run('ipvsadm -S -n')}"
    lab.clear()


@case
def drop_in_after_c_is_refused_and_changes_nothing():
    base = begin()
    run(f"modprobe {C}")
    put(machine=111, root=222)
    alone = plus(base, {MACHINES: "111", ROOTS: "222"}, own=())
    eq(tree(), alone, "with C's alone")
    for _ in range(5):
        fails(f"modprobe {OURS} dropin=1")
        eq(loaded() & {C, OURS}, {C}, "the loaded modules")
        eq(tree(), alone, "with the drop-in refused")
    serve("lblc")
    run(f"modprobe {OURS}")
    eq(tree(), plus(base, {MACHINES: "111", ROOTS: "222", USERS: DAY}), "with both")
    serve("lblc", "lblc_rs")
    unload_all()
    eq(tree(), base, "with neither")


@case
def dropin_is_a_bool_as_the_kernel_parses_it():
    begin()
    for on in ("dropin", "dropin=1", "dropin=Y", "dropin=y", "dropin=true", "dropin=on"):
        run(f"modprobe {OURS} {on}")
        assert not run("ipvsadm -A -f 1 -s lblc", check=False).returncode, f"{on} does not register lblc"
        lab.clear()
        run(f"rmmod {OURS}")
    for off in ("dropin=0", "dropin=N", "dropin=n", "dropin=false", "dropin=off"):
        run(f"modprobe {OURS} {off}")
        fails("ipvsadm -A -f 1 -s lblc")
        run(f"rmmod {OURS}")
    before = tree()
    for bad in ("dropin=x", "dropin=2", "dropin="):
        fails(f"modprobe {OURS} {bad}")
        eq((loaded() & {C, OURS}, tree()), (set(), before), f"after {bad}")


main(lab)
