#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""`lblcctl reload`: another version of the module takes the place of the one that is loaded, under traffic; and each of
its steps fails."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile

from harness import case, eq, has, lacks, loaded, main, run, unload_all, wait_until
from lab import VIP, Lab, Traffic, inside, key, sysctl
from lblcctl import FILE, FOLDER, NEWER, VERSION, broken, installed, nameless, newer, refused, said, version
from ynl import in_proc

lab = Lab()
SYSCTLS = {"net/ipv4/vs/lblc_expiration": "7777", "net/ipv4/vs/lblc_rs_max_entries": "5000",
           "net/ipv4/vs/lblc_rs_seed": "42"}


def state():
    """The state that must stay: services with all of their settings, servers, destinations, sysctls."""
    known = {service: {one: (it[0], it[2]) for one, it in found.items()} for service, found in in_proc().items()}
    return run("ipvsadm -S -n"), known, {name: sysctl(name) for name in SYSCTLS}


def prepare(number=15):
    """Makes services of different kinds, destinations, and sysctls. Returns connections that are held."""
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    for name, value in SYSCTLS.items():
        sysctl(name, value)
    lab.service(options="-b flag-1,flag-2")
    lab.service(mark=2, ipv6=True)
    lab.service(service=f"-t {VIP}:80", port=80, how="-m", options="-p 60")
    lab.service("rr", mark=3)
    for n in range(number):
        lab.ask(key(n))
        lab.ask(key(n + 1, ipv6=True), port=81)
    lab.ipvs(lab.server("-d", "s4", service="-f 2 -6", ipv6=True))
    return [lab.hold(key(n))[0] for n in range(10)] + [lab.hold(key(1, ipv6=True), port=81)[0]]


def stands(before, held):
    """Asserts that nothing was lost: each destination keeps its server, each connection goes on."""
    now = state()
    for part in range(3):
        eq(now[part], before[part], ("services", "destinations", "sysctls")[part])
    for one in held:
        one.sock.settimeout(5)
        one.sock.sendall(b"still there")
    assert not os.path.exists(FOLDER + "/reload"), "the reload has ended"


def tidy():
    """Removes the services and unloads the module, and with it its sysctls."""
    lab.clear()
    run("rmmod ip_vs_lblc_rs")


@case
def a_new_version_takes_over_under_traffic():
    held = prepare(50)  # all that Traffic asks for
    with installed(newer), Traffic() as traffic:
        traffic.flows()
        before = state()
        out = said("reload")
        print("# " + out.replace("\n", "\n# "))
        has(out, f"{VERSION} is loaded, {NEWER} is installed\n")
        eq(version(), NEWER)
        stands(before, held)
        traffic.flows()
        stands(before, held)
    for one in held:  # the server closes what the client has closed
        one.sock.shutdown(socket.SHUT_WR)
        eq(one.sock.recv(16), b"")
    for one, (server, _) in before[1]["FWM 1"].items():
        eq(lab.address(lab.ask(one)) + ":0", server, one)
    tidy()


@case
def the_same_version_is_not_loaded_again():
    held = prepare()
    before = state()
    has(refused(2, "reload"), f"{VERSION} is loaded and installed: there is nothing to do")
    stands(before, held)
    said("reload", "--force")
    stands(before, held)
    tidy()
    has(refused(2, "reload"), "the module is not loaded")
    has(refused(2, "reload", "--resume"), "there is no reload that has not ended")
    has(refused(1, "reload", "--resume", "--force"), "cannot be used with")


@case
def a_drop_in_stays_one():
    unload_all()
    run("modprobe ip_vs_lblc_rs dropin=1")
    lab.service("lblc")
    lab.ask(key(1))
    before = run("ipvsadm -S -n"), in_proc()["FWM 1"].keys()
    has(before[0], "-s lblc\n")
    with installed(newer):
        said("reload")
        eq((version(), (run("ipvsadm -S -n"), in_proc()["FWM 1"].keys())), (NEWER, before))
        with open("/sys/module/ip_vs_lblc_rs/parameters/dropin") as file:
            eq(file.read(), "Y\n")
    tidy()


@contextlib.contextmanager
def programs(**scripts):
    """An environment in which these programs are replaced by scripts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, script in scripts.items():
            with open(f"{folder}/{name}", "w") as file:
                file.write(f"#!/bin/sh\n{script}\n")
            os.chmod(f"{folder}/{name}", 0o755)
        yield os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@case
def what_fails_before_the_module_is_unloaded_changes_nothing():
    held = prepare()
    with installed(newer):
        before = state()

        def fails(why, *options, **more):
            has(refused(2, "reload", *options, **more), why)
            eq(version(), VERSION)
            stands(before, held)

        shutil.rmtree(FOLDER, ignore_errors=True)
        with open(FOLDER, "w"):  # the folder cannot be made
            fails("/run/lblcctl/reload: ")
        os.unlink(FOLDER)
        fails("cannot have the scheduler nonesuch: ", "--scheduler", "nonesuch")
        with programs(rmmod="echo rmmod: it is in use >&2; exit 1") as env:
            fails("rmmod: it is in use; " + VERSION, env=env)
        with programs(modinfo="case $2 in vermagic) echo 6.1-other SMP;; *) echo 1;; esac") as env:
            fails("is for 6.1-other SMP, not for", env=env)
        with programs(modinfo="exit 1") as env:
            fails("modinfo -F version ip_vs_lblc_rs: failed", env=env)
        said("reload")
        eq(version(), NEWER)
        stands(before, held)
    tidy()


@case
def services_of_another_namespace_are_named_before_anything_changes():
    """One that has a name, one that only a process has, one that only a file descriptor has, and all at once."""
    held = prepare()
    before = state()

    def fails(number, *why):
        said = refused(2, "reload", "--force")
        has(said, f"the module has {number} more users than the services here: ")
        for one in why:
            has(said, one)
        has(said, "; nothing was changed")
        eq(len(said.splitlines()), 1, "the lines")
        stands(before, held)
        lacks(os.listdir("/run"), "lblcctl")
        return said

    named = "services of the network namespace client: 1"
    with inside("client"):
        run("ipvsadm -A -f 1 -s lblc_rs")
    lacks(fails(1, named), ",")
    mine = "services of the network namespace that of process"
    # Its name would colour the terminal.
    process = subprocess.Popen(["unshare", "--net", "sh", "-c", "ipvsadm -A -f 1 -s lblc_rs && ipvsadm -A -f 2 -s lblc_rs "
                                "&& ipvsadm -A -f 3 -s rr && printf '\\033[31mred' >/proc/$$/comm && echo && read line"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        fails(3, named, f"{mine} {process.pid} (\\u{{1b}}[31mred): 2")
        with inside("client"):
            run("ipvsadm -C")
        with open(f"/proc/{process.pid}/ns/net"):
            lacks(fails(2, mine), "client")
            process.kill()
            process.wait()
            fails(2, "a network namespace without a name and without a process")
    finally:
        process.kill()
        process.wait()
    # Services of other schedulers, and tables that are parked, do not prevent a reload.
    with inside("client"):
        run("ipvsadm -A -f 3 -s rr")
        run("sysctl -qw net.ipv4.vs.lblc_rs_keep=60")
        run("ipvsadm -A -f 1 -s lblc_rs")
        run("ipvsadm -D -f 1")
    wait_until(lambda: users() == 3, "the namespace without a process ends")
    said("reload", "--force")
    stands(before, held)
    with inside("client"):
        run("ipvsadm -C")
    tidy()


def users():
    with open("/sys/module/ip_vs_lblc_rs/refcnt") as file:
        return int(file.read())


@case
def an_upgrade_of_the_package_says_what_to_do():
    """The script that the packages run before and after another version is installed."""
    held = prepare()
    upgrade, default = "/work/debian/upgrade ", "/etc/default/ip_vs_lblc_rs"
    eq(run(upgrade + "installed"), "")
    run(upgrade + "keep")
    eq(os.listdir(FOLDER), ["ip_vs_lblc_rs.ko"])
    before = state()
    shutil.copy("/work/debian/default/ip_vs_lblc_rs", default)
    try:
        with installed(newer):
            say = f"ip_vs_lblc_rs: version {NEWER} is installed, {VERSION} is loaded: `lblcctl reload` takes the new one"
            eq(run(upgrade + "installed"), say + " into use")
            eq(version(), VERSION)
            run(upgrade + "keep")  # the file of a version that is not loaded is not kept
            run(f"cmp {FOLDER}/ip_vs_lblc_rs.ko {FILE} && exit 1 || exit 0")
            run(f"sed -i s/^RELOAD=.*/RELOAD=yes/ {default}")
            eq(run(upgrade + "installed"), f"ip_vs_lblc_rs: version {NEWER} is loaded now, in the place of {VERSION}")
            eq((version(), os.listdir(FOLDER)), (NEWER, []))
            stands(before, held)
    finally:
        os.unlink(default)
    tidy()


@case
def a_version_that_cannot_be_loaded_gives_way_to_the_old_one():
    held = prepare()
    before = state()
    with installed(broken) as old:
        has(refused(2, "reload", "--old", old), f"; {VERSION} is loaded, with all destinations of the services")
        eq(version(), VERSION)
        stands(before, held)
        # As the package keeps it.
        os.makedirs(FOLDER, exist_ok=True)
        shutil.copy(old, FOLDER + "/ip_vs_lblc_rs.ko")
        has(refused(2, "reload"), f"; {VERSION} is loaded, with all destinations of the services")
        stands(before, held)
    tidy()


@case
def without_an_old_version_a_reload_is_ended_later():
    held = prepare(50)
    before = state()
    with installed(broken) as old, Traffic() as traffic:
        why = refused(2, "reload")
        has(why, "the services have the scheduler wlc now, and /run/lblcctl/reload has their destinations")
        assert "ip_vs_lblc_rs" not in loaded(), "it is unloaded"
        has(run("ipvsadm -S -n"), "-A -f 1 -s wlc")
        traffic.flows()
        has(refused(2, "reload", "--resume"), "modprobe ip_vs_lblc_rs")
        shutil.copy2(old, FILE)
        run("modprobe ip_vs_lblc_rs")
        has(refused(2, "reload", "--force"), "a reload has not ended")
        run("rmmod ip_vs_lblc_rs")
        said("reload", "--resume")
        stands(before, held)
    tidy()


@case
def destinations_that_the_new_version_does_not_take_are_with_the_old_one():
    """It is loaded and services are bound to it, but nothing can be restored."""
    held = prepare()
    before = state()
    with installed(nameless) as old:
        why = refused(2, "reload", "--old", old)
        has(why, "the module that is loaded has no netlink interface")
        has(why, f"; {VERSION} is loaded, with all destinations of the services")
        eq(version(), VERSION)
        stands(before, held)
        # Without the old version, they are in the file until there is another one.
        why = refused(2, "reload")
        has(why, "the module that is loaded has no netlink interface")
        has(why, "/run/lblcctl/reload has the destinations of the services: lblcctl reload --resume tries again")
        eq((version(), run("ipvsadm -S -n")), (NEWER, before[0]))
        has(refused(2, "reload", "--resume"), "lblcctl reload --resume tries again")
        eq((version(), run("ipvsadm -S -n")), (NEWER, before[0]))
        shutil.copy2(old, FILE)
        said("reload", "--resume")
        eq(version(), VERSION)
        stands(before, held)
    tidy()


@case
def destinations_that_have_no_room_are_counted():
    """The kernel takes entries for 4096 servers that are not in the service."""
    held = prepare()
    gone = [f"10.9.{n >> 8}.{n & 255}" for n in range(5000)]
    lab.ipvs(*(f"-a -f 1 -r {one} -g -w 1" for one in gone))
    lines = ["FWM 1 entries 0 buckets 1024 max 5000 expiration 7777 bytes 0"]
    lines += [f"  198.19.{n >> 8}.{n & 255} {one}:0 10" for n, one in enumerate(gone)]
    sysctl("net/ipv4/vs/lblc_rs_max_entries", 6000)
    said("restore", input="\n".join(lines) + "\n")
    lab.ipvs(*(f"-d -f 1 -r {one}" for one in gone))
    before = state()
    eq(len(before[1]["FWM 1"]), 15 + len(gone), "the destinations before")
    has(refused(2, "reload", "--force"), "no room for 904 destinations of FWM 1; /run/lblcctl/reload has the "
        "destinations of the services: lblcctl reload --resume tries again")
    now = state()
    eq((now[0], now[2]), (before[0], before[2]), "services and sysctls")
    eq(len(now[1]["FWM 1"]), 15 + len(gone) - 904, "the destinations")
    eq(now[1]["FWM 1"].items() <= before[1]["FWM 1"].items(), True, "whether those are as before")
    for service in before[1].keys() - {"FWM 1"}:
        eq(now[1][service], before[1][service], service)
    has(refused(2, "reload", "--force"), "--resume completes it, or remove the file")
    os.unlink(FOLDER + "/reload")
    said("reload", "--force")
    stands(now, held)
    tidy()


@case
def services_that_cannot_come_back_are_told():
    held = prepare()
    before = state()
    hook = sysctl("kernel/modprobe")
    with installed(newer), programs(modprobe="exit 0") as env:
        sysctl("kernel/modprobe", "/bin/false")
        try:
            why = refused(2, "reload", env=env)
        finally:
            sysctl("kernel/modprobe", hook)
        has(why, "cannot have lblc_rs: ")
        has(why, "lblcctl reload --resume tries again")
        said("reload", "--resume")
        eq(version(), NEWER)
        stands(before, held)
    tidy()


main(lab)
