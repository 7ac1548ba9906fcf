#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""smoke.py [WORD]...: the scheduler can be loaded, schedules a request, and can be unloaded, in any kernel.

    director ──┬── s1             a process of the director connects to the VIP, with NAT: forwarding would need
    VIP, ME    └── s2             sysctls, which not every kernel has
     10.0.10+N.1  10.0.10+N.2
       fd00:N::1  fd00:N::2

WORDs describe the kernel: in-tree, builtin, no-ipv6 (IPVS without IPv6), no-modules, no-sysctl."""

import contextlib
import http.client
import http.server
import os
import socket
import socketserver
import subprocess
import sys
import threading
import traceback

KERNEL = set(sys.argv[1:])
VIP, VIP6 = "10.9.9.9", "fd00:9::9"
ME, ME6 = "10.9.9.1", "fd00:9::1"
OUT_OF_TREE, UNSIGNED = 1 << 12, 1 << 13


def run(command, check=True):
    done = subprocess.run(command, shell=True, text=True, capture_output=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout if check else done


def read(path):
    with open(path) as file:
        return file.read()


@contextlib.contextmanager
def inside(name):
    with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{name}") as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(here.fileno(), os.CLONE_NEWNET)


class Server(socketserver.ThreadingTCPServer):
    """Not HTTPServer, which looks up a name for its address."""
    address_family = socket.AF_INET6  # serves IPv4 as well


def lay_out():
    for n, name in enumerate(("s1", "s2"), 1):
        for command in (f"ip netns add {name}", f"ip link add {name} type veth peer name eth0 netns {name}",
                        f"ip addr add 10.0.{10 + n}.1/24 dev {name}",
                        f"ip addr add fd00:{n}::1/64 dev {name} nodad", f"ip link set {name} up"):
            run(command)
        with inside(name):
            for command in ("ip link set lo up", f"ip addr add 10.0.{10 + n}.2/24 dev eth0",
                            f"ip addr add fd00:{n}::2/64 dev eth0 nodad", "ip link set eth0 up",
                            f"ip route add default via 10.0.{10 + n}.1",
                            f"ip -6 route add default via fd00:{n}::1"):
                run(command)

            class Handler(http.server.BaseHTTPRequestHandler):
                word = name.encode()

                def do_GET(self):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(self.word)))
                    self.end_headers()
                    self.wfile.write(self.word)

                def log_message(self, *_):
                    pass
            threading.Thread(target=Server(("::", 80), Handler).serve_forever, daemon=True).start()
    run("ip link set lo up")
    for address in (ME, VIP):
        run(f"ip addr add {address}/32 dev lo")
    for address in (ME6, VIP6):
        run(f"ip addr add {address}/128 dev lo nodad")


def ask(vip):
    me = ME6 if ":" in vip else ME
    connection = http.client.HTTPConnection(vip, 80, timeout=20, source_address=(me, 0))
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def modules():
    if "no-modules" in KERNEL:
        assert not os.path.exists("/proc/modules"), "this kernel can load modules"
        return set()
    return {line.split()[0] for line in read("/proc/modules").splitlines()}


def ipvsadm_finds_it():
    """The module is loaded by its scheduler's name."""
    assert "ip_vs_lblc_rs" not in modules(), modules()
    run(f"ipvsadm -A -t {VIP}:80 -s lblc_rs")
    assert "lblc_rs" in run("ipvsadm -Ln"), run("ipvsadm -Ln")
    assert ("ip_vs_lblc_rs" in modules()) == ("builtin" not in KERNEL), modules()


def it_schedules_requests_and_keeps_the_server():
    for n in (1, 2):
        run(f"ipvsadm -a -t {VIP}:80 -r 10.0.{10 + n}.2:80 -m -w 10")
    servers = [ask(VIP) for _ in range(4)]
    assert len(set(servers)) == 1 and servers[0] in ("s1", "s2"), servers


def it_schedules_ipv6_where_ipvs_does():
    added = run(f"ipvsadm -A -t [{VIP6}]:80 -s lblc_rs", check=False)
    if "no-ipv6" in KERNEL:
        assert added.returncode, "this kernel's IPVS has IPv6"
        return
    for n in (1, 2):
        run(f"ipvsadm -a -t [{VIP6}]:80 -r [fd00:{n}::2]:80 -m -w 10")
    servers = [ask(VIP6) for _ in range(4)]
    assert len(set(servers)) == 1 and servers[0] in ("s1", "s2"), servers


def it_shows_what_it_knows():
    assert f"  {VIP} 10.0.1" in read("/proc/net/ip_vs_lblc_rs"), read("/proc/net/ip_vs_lblc_rs")
    assert "hits" in read("/proc/net/ip_vs_lblc_rs_stats"), read("/proc/net/ip_vs_lblc_rs_stats")


def its_sysctls_are_where_sysctls_are():
    there = [os.path.exists(f"/proc/sys/net/ipv4/vs/{name}") for name in
             ("lblc_expiration", "lblc_rs_max_entries")]
    assert there == ["no-sysctl" not in KERNEL] * 2, there


def it_unloads_when_it_is_not_in_use():
    if "builtin" not in KERNEL:
        assert run("rmmod ip_vs_lblc_rs", check=False).returncode, "it was unloaded while a service used it"
    run("ipvsadm -C")
    if "builtin" not in KERNEL:
        run("rmmod ip_vs_lblc_rs")
        assert "ip_vs_lblc_rs" not in modules(), modules()


def the_kernel_is_unharmed():
    expected = 0 if KERNEL & {"in-tree", "builtin"} else OUT_OF_TREE
    if expected and os.path.exists("/sys/module/module/parameters/sig_enforce"):
        expected |= UNSIGNED
    # Without sysctls, `tainted` cannot be read.
    if os.path.exists("/proc/sys/kernel/tainted"):
        tainted = int(read("/proc/sys/kernel/tainted"))
        assert tainted == expected, f"tainted is {tainted}, not {expected}"
    bad = [line for line in run("dmesg --level=emerg,alert,crit,err").splitlines() if "ip_vs" in line.lower()]
    assert not bad, bad


CASES = [ipvsadm_finds_it, it_schedules_requests_and_keeps_the_server, it_schedules_ipv6_where_ipvs_does,
         it_shows_what_it_knows, its_sysctls_are_where_sysctls_are, it_unloads_when_it_is_not_in_use,
         the_kernel_is_unharmed]

lay_out()
print(f"TAP version 13\n1..{len(CASES)}", flush=True)
failed = 0
for number, case in enumerate(CASES, 1):
    try:
        case()
        print(f"ok {number} {case.__name__}", flush=True)
    except Exception:
        failed += 1
        for line in traceback.format_exc().splitlines():
            print(f"# {line}")
        print(f"not ok {number} {case.__name__}", flush=True)
sys.exit(bool(failed))
