#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Loading and unloading, and the sysctl that C's ip_vs_lblc has as well. (For both modules together see company.py.)"""

import os
import socket
import subprocess

from harness import case, eq, lacks, loaded, logged, main, ne, refuses, run, unload_all, wait_until
from lab import Lab, Traffic, inside, key, sysctl

lab = Lab()
EXPIRATION = "net/ipv4/vs/lblc_expiration"
DAY = "86400"


def refused(command):
    """Runs a command that must fail; returns what it printed."""
    done = run(command, check=False)
    assert done.returncode, f"{command} succeeded"
    return done.stderr + done.stdout


def exists():
    return os.path.exists("/proc/sys/" + EXPIRATION)


@case
def autoload_by_name():
    unload_all()
    lab.service()
    eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"}, "the loaded modules")


@case
def modinfo_says_what_it_is():
    info = {line.split(":", 1)[0]: line.split(":", 1)[1].strip()
            for line in run("modinfo ip_vs_lblc_rs").splitlines()}
    eq((info["license"], info["depends"]), ("GPL", "ip_vs"), "license and dependency")
    assert info["author"] and info["description"], info
    with open("/work/VERSION") as file:
        eq(info["version"], file.read().splitlines()[1], "the version")


@case
def unloading_is_refused_while_in_use():
    run("modprobe ip_vs_lblc_rs")
    lab.service()
    ne(lab.ask(key(1)), None)
    said = refused("rmmod ip_vs_lblc_rs")
    assert "in use" in said, said
    ne(lab.ask(key(1)), None)
    lab.clear()
    run("rmmod ip_vs_lblc_rs")
    lacks(loaded(), "ip_vs_lblc_rs")


@case
def the_module_unloads_and_leaves_nothing():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    assert exists(), f"there is no {EXPIRATION}"
    run("rmmod ip_vs_lblc_rs")
    assert not exists(), f"{EXPIRATION} is still there"
    run("modprobe ip_vs_lblc_rs")
    eq(sysctl(EXPIRATION), DAY, EXPIRATION)


@case
def twenty_rounds_of_loading_under_traffic():
    unload_all()
    with Traffic() as traffic:
        for _ in range(20):
            lab.service()
            traffic.flows()
            run("ipvsadm -C")
            run("rmmod ip_vs_lblc_rs")


@case
def the_sysctl_is_in_seconds_and_takes_what_c_takes():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    for value in ("0", "1", "3600", str(DAY)):
        sysctl(EXPIRATION, value)
        eq(sysctl(EXPIRATION), value, EXPIRATION)


@case
def bad_values_change_nothing():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    sysctl(EXPIRATION, 77)
    refuses(sysctl, EXPIRATION, ("-1", "-86400", "x", "99999999999", ""))


@case
def c_takes_a_negative_value():
    unload_all()
    run("modprobe ip_vs_lblc")
    sysctl(EXPIRATION, "-1")
    eq(sysctl(EXPIRATION), "-1", EXPIRATION)


@case
def the_log_names_the_service_but_not_for_each_packet():
    packets, complaint = 300, "IPVS: lblc_rs: FWM 1 0x00000001 - no destination available"
    lab.service(weights={"s1": 0}, options="-o")
    before = logged(complaint)
    with inside("client"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        for n in range(packets):
            sock.sendto(b"", (key(n), 80))

    def refused_all():
        with open("/proc/thread-self/net/ip_vs_lblc_rs_stats") as file:
            return f" none {packets} " in file.read()

    wait_until(refused_all, "every packet was refused")
    said = logged(complaint) - before
    assert 0 < said < packets / 3, said


@case
def sysctl_is_per_netns():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    sysctl(EXPIRATION, 10)
    run("ip netns add other")
    try:
        with inside("other"):
            eq(sysctl(EXPIRATION), DAY, "the value of a new namespace")
            sysctl(EXPIRATION, 20)
        eq(sysctl(EXPIRATION), "10", "the director's value")
        with inside("other"):
            eq(sysctl(EXPIRATION), "20", "the other one's value")
    finally:
        run("ip netns del other")
    eq(sysctl(EXPIRATION), "10", "the director's value")


@case
def root_of_its_own_namespace_sees_and_sets_it():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    script = f"cat /proc/sys/{EXPIRATION}; echo 30 >/proc/sys/{EXPIRATION}; cat /proc/sys/{EXPIRATION}"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "--mount-proc", "--fork",
                           "--pid", "sh", "-c", script], text=True, capture_output=True)
    eq((done.stdout.split(), done.stderr), ([DAY, "30"], ""), "the values that its root reads")
    eq(sysctl(EXPIRATION), DAY, EXPIRATION)
    denied = subprocess.run(["setpriv", "--reuid", "1000", "--clear-groups", "sh", "-c",
                             f"echo 5 >/proc/sys/{EXPIRATION}"], capture_output=True)
    assert denied.returncode, "an ordinary user could write the director's sysctl"
    eq(sysctl(EXPIRATION), DAY, EXPIRATION)


@case
def drop_in_takes_the_name_of_cs_module():
    unload_all()
    with open("/work/scripts/samples/ip_vs_lblc_rs-dropin.conf") as sample:
        with open("/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf", "w") as file:
            file.write(sample.read())
    try:
        lab.service("lblc")
        eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"}, "the loaded modules")
        saved = run("ipvsadm -S -n")
        assert "-s lblc_rs" not in saved, saved
        server = lab.ask(key(1))
        assert server, "no server answers"
        eq({lab.ask(key(1)) for _ in range(5)}, {server}, "the servers of later connections")
        lab.clear()
        keepalived_uses_ours()
    finally:
        os.remove("/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf")
        lab.clear()
        unload_all()


def keepalived_uses_ours():
    servers = "".join(f"real_server {lab.address(name)} 80 {{ weight 100 }}\n" for name in lab.names)
    with open("/tmp/keepalived.conf", "w") as file:
        file.write("virtual_server fwmark 1 {\n lb_algo lblc\n lb_kind DR\n protocol TCP\n"
                   f"{servers}}}\n")
    daemon = subprocess.Popen(["keepalived", "--check", "--dont-fork", "--log-console", "--no-syslog",
                               "--use-file=/tmp/keepalived.conf", "--pid=/tmp/k.pid",
                               "--checkers_pid=/tmp/c.pid"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: len(lab.counters()) == 4, "keepalived sets the service up")
        saved = run("ipvsadm -S -n")
        assert "-s lblc" in saved, saved
        eq(loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"}, {"ip_vs_lblc_rs"}, "the loaded modules")
        first = [lab.ask(key(n)) for n in range(20)]
        eq(set(first), set(lab.names), "the servers of 20 keys")
        eq([lab.ask(key(n)) for n in range(20)], first, "the servers of later connections")
    finally:
        daemon.terminate()
        said = daemon.communicate()[0]
        assert "Invalid" not in said, said


@case
def netns_deleted_with_live_entries():
    unload_all()
    for _ in range(5):
        # A director in a namespace of its own, which is deleted with its services and entries.
        run("ip netns add other")
        with inside("other"):
            run("ip link set lo up")
            run("ip addr add 198.18.0.1/16 dev lo")
            run(["ipvsadm", "-R"], input="-A -u 198.18.0.1:80 -s lblc_rs\n"
                "-a -u 198.18.0.1:80 -r 127.0.0.1:9 -m\n")
            run("bash -c 'for n in 1 2 3; do echo x >/dev/udp/198.18.0.1/80; done'", check=False)
        run("ip netns del other")
    # The references on the module are dropped, so it can be unloaded.
    wait_until(lambda: run("rmmod ip_vs_lblc_rs", check=False).returncode == 0, "the module is not in use", 60)


main(lab)
