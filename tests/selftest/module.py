#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Loading and unloading, alone and beside C's ip_vs_lblc, and the sysctl that both have."""

import os
import socket
import subprocess

from harness import loaded, main, run, unload_all, wait_until
from lab import Lab, Traffic, inside, key, sysctl

lab = Lab()
EXPIRATION = "net/ipv4/vs/lblc_expiration"
DAY = "86400"


def refused(command):
    """The complaint of a command that must fail."""
    done = run(command, check=False)
    assert done.returncode, f"{command} succeeded"
    return done.stderr + done.stdout


def exists():
    return os.path.exists("/proc/sys/" + EXPIRATION)


def logged(message):
    """How often it is in the kernel's log."""
    return run("dmesg").count(message)


def autoload_by_name():
    unload_all()
    lab.service()
    assert "ip_vs_lblc_rs" in loaded() and "ip_vs_lblc" not in loaded()


def modinfo_says_what_it_is():
    info = {line.split(":", 1)[0]: line.split(":", 1)[1].strip()
            for line in run("modinfo ip_vs_lblc_rs").splitlines()}
    assert info["license"] == "GPL" and info["depends"] == "ip_vs", info
    assert info["author"] and info["description"], info
    with open("/work/VERSION") as file:
        assert info["version"] == file.read().splitlines()[1], info


def unloading_is_refused_while_in_use():
    run("modprobe ip_vs_lblc_rs")
    lab.service()
    assert lab.ask(key(1))
    assert "in use" in refused("rmmod ip_vs_lblc_rs")
    assert lab.ask(key(1))
    lab.clear()
    run("rmmod ip_vs_lblc_rs")
    assert "ip_vs_lblc_rs" not in loaded()


def the_module_goes_and_leaves_nothing():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    assert exists()
    run("rmmod ip_vs_lblc_rs")
    assert not exists()
    run("modprobe ip_vs_lblc_rs")
    assert exists() and sysctl(EXPIRATION) == DAY


def twenty_rounds_of_loading_under_traffic():
    unload_all()
    with Traffic() as traffic:
        for _ in range(20):
            lab.service()
            traffic.flows()
            run("ipvsadm -C")
            run("rmmod ip_vs_lblc_rs")


def the_sysctl_is_in_seconds_and_takes_what_c_takes():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    for value in ("0", "1", "3600", str(DAY)):
        sysctl(EXPIRATION, value)
        assert sysctl(EXPIRATION) == value


def bad_values_change_nothing(module="ip_vs_lblc_rs", bad=("-1", "-86400", "x", "99999999999", "")):
    unload_all()
    run(f"modprobe {module}")
    sysctl(EXPIRATION, 77)
    for value in bad:
        try:
            sysctl(EXPIRATION, value + "\n")
        except OSError as error:
            assert error.errno == 22, (value, error)
        else:
            assert value == "", f"{value} was taken"
        assert sysctl(EXPIRATION) == "77"


def c_takes_a_negative_value():
    unload_all()
    run("modprobe ip_vs_lblc")
    sysctl(EXPIRATION, "-1")
    assert sysctl(EXPIRATION) == "-1"


def c_first_then_ours_share_the_value():
    unload_all()
    run("modprobe ip_vs_lblc")
    sysctl(EXPIRATION, 111)
    note = "IPVS: net.ipv4.vs.lblc_expiration is ip_vs_lblc's; its value is used"
    before = logged(note)
    run("modprobe ip_vs_lblc_rs")
    assert logged(note) == before + 1
    assert sysctl(EXPIRATION) == "111"
    lab.service("lblc", mark=2)
    lab.service("lblc_rs", mark=1)
    assert lab.ask(key(1)) and lab.ask(key(1), port=81)
    lab.clear()
    run("rmmod ip_vs_lblc")
    assert sysctl(EXPIRATION) == "111", "ours takes the file over, with the value"
    sysctl(EXPIRATION, 222)
    run("rmmod ip_vs_lblc_rs")
    assert not exists()
    run("sysctl -a --pattern vs")


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


def c_first_with_0_keeps_it():
    unload_all()
    run("modprobe ip_vs_lblc")
    sysctl(EXPIRATION, 0)
    run("modprobe ip_vs_lblc_rs")
    assert sysctl(EXPIRATION) == "0"


def c_first_ours_second_ours_goes_first():
    unload_all()
    run("modprobe ip_vs_lblc")
    sysctl(EXPIRATION, 333)
    run("modprobe ip_vs_lblc_rs")
    run("rmmod ip_vs_lblc_rs")
    assert sysctl(EXPIRATION) == "333"
    run("rmmod ip_vs_lblc")
    assert not exists()


def ours_first_then_c_keeps_the_value():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    sysctl(EXPIRATION, 444)
    run("modprobe ip_vs_lblc")
    assert sysctl(EXPIRATION) == "444"
    for service, module in (("lblc", "ip_vs_lblc"), ("lblc_rs", "ip_vs_lblc_rs")):
        lab.service(service)
        assert lab.ask(key(1))
        lab.clear()
    run("rmmod ip_vs_lblc_rs")
    assert sysctl(EXPIRATION) == "444"
    run("rmmod ip_vs_lblc")
    assert not exists()


def ours_first_then_c_c_goes_first():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    run("modprobe ip_vs_lblc")
    sysctl(EXPIRATION, 555)
    for _ in range(3):
        run("rmmod ip_vs_lblc")
        assert sysctl(EXPIRATION) == "555"
        run("modprobe ip_vs_lblc")
        assert sysctl(EXPIRATION) == "555"
    unload_all()


def sysctl_is_per_netns():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    sysctl(EXPIRATION, 10)
    run("ip netns add other")
    try:
        with inside("other"):
            assert sysctl(EXPIRATION) == DAY
            sysctl(EXPIRATION, 20)
        assert sysctl(EXPIRATION) == "10"
        with inside("other"):
            assert sysctl(EXPIRATION) == "20"
    finally:
        run("ip netns del other")
    assert sysctl(EXPIRATION) == "10"


def netns_that_live_through_c_have_the_file():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    run("ip netns add before")
    run("modprobe ip_vs_lblc")
    run("ip netns add between")
    run("rmmod ip_vs_lblc")
    run("ip netns add after")
    for name in ("before", "between", "after"):
        with inside(name):
            assert sysctl(EXPIRATION) == DAY, name
        run(f"ip netns del {name}")


def root_of_its_own_namespace_sees_and_sets_it():
    unload_all()
    run("modprobe ip_vs_lblc_rs")
    script = f"cat /proc/sys/{EXPIRATION}; echo 30 >/proc/sys/{EXPIRATION}; cat /proc/sys/{EXPIRATION}"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "--mount-proc", "--fork",
                           "--pid", "sh", "-c", script], text=True, capture_output=True)
    assert done.stdout.split() == [DAY, "30"], (done.stdout, done.stderr)
    assert sysctl(EXPIRATION) == DAY
    denied = subprocess.run(["setpriv", "--reuid", "1000", "--clear-groups", "sh", "-c",
                             f"echo 5 >/proc/sys/{EXPIRATION}"], capture_output=True)
    assert denied.returncode and sysctl(EXPIRATION) == DAY


def drop_in_takes_the_name_of_cs_module():
    unload_all()
    with open("/work/scripts/samples/ip_vs_lblc_rs-dropin.conf") as sample:
        with open("/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf", "w") as file:
            file.write(sample.read())
    try:
        lab.service("lblc")
        assert loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"} == {"ip_vs_lblc_rs"}
        assert "-s lblc_rs" not in run("ipvsadm -S -n")
        server = lab.ask(key(1))
        assert server and {lab.ask(key(1)) for _ in range(5)} == {server}
        lab.clear()
        keepalived_uses_us()
    finally:
        os.remove("/etc/modprobe.d/ip_vs_lblc_rs-dropin.conf")
        lab.clear()
        unload_all()


def keepalived_uses_us():
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
        assert "-s lblc" in run("ipvsadm -S -n")
        assert loaded() & {"ip_vs_lblc", "ip_vs_lblc_rs"} == {"ip_vs_lblc_rs"}
        first = [lab.ask(key(n)) for n in range(20)]
        assert set(first) == set(lab.names)
        assert [lab.ask(key(n)) for n in range(20)] == first
    finally:
        daemon.terminate()
        said = daemon.communicate()[0]
        assert "Invalid" not in said, said


def drop_in_beside_cs_module_is_refused_and_leaves_nothing():
    unload_all()
    run("modprobe ip_vs_lblc")
    sysctl(EXPIRATION, 42)
    refused("modprobe ip_vs_lblc_rs dropin=1")
    assert "ip_vs_lblc_rs" not in loaded() and sysctl(EXPIRATION) == "42"
    run("modprobe ip_vs_lblc_rs")
    unload_all()
    assert not exists()


def netns_deleted_with_live_entries():
    unload_all()
    for _ in range(5):
        # A whole director in a namespace of its own, which dies with its services and entries.
        run("ip netns add doomed")
        with inside("doomed"):
            run("ip link set lo up")
            run("ip addr add 198.18.0.1/16 dev lo")
            run(["ipvsadm", "-R"], input="-A -u 198.18.0.1:80 -s lblc_rs\n"
                "-a -u 198.18.0.1:80 -r 127.0.0.1:9 -m\n")
            run("bash -c 'for n in 1 2 3; do echo x >/dev/udp/198.18.0.1/80; done'", check=False)
        run("ip netns del doomed")
    # Gone are the references on the module, so it can go.
    for _ in range(200):
        if run("rmmod ip_vs_lblc_rs", check=False).returncode == 0:
            break
        run("sleep 0.05")
    assert "ip_vs_lblc_rs" not in loaded()


main([autoload_by_name, modinfo_says_what_it_is, unloading_is_refused_while_in_use,
      the_module_goes_and_leaves_nothing, twenty_rounds_of_loading_under_traffic,
      the_sysctl_is_in_seconds_and_takes_what_c_takes, bad_values_change_nothing,
      c_takes_a_negative_value, c_first_then_ours_share_the_value,
      the_log_names_the_service_but_not_for_each_packet,
      c_first_with_0_keeps_it, c_first_ours_second_ours_goes_first, ours_first_then_c_keeps_the_value,
      ours_first_then_c_c_goes_first, sysctl_is_per_netns, netns_that_live_through_c_have_the_file,
      drop_in_takes_the_name_of_cs_module, drop_in_beside_cs_module_is_refused_and_leaves_nothing,
      root_of_its_own_namespace_sees_and_sets_it, netns_deleted_with_live_entries], lab)
