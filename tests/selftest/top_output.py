#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What lblctop(8) prints: text, JSON, metrics, errors."""

import json
import re

from harness import case, eq, gt, has, lacks, load_both, main, ne, run, unload_all, wait_until
from lab import VIP, Lab, Traffic, inside, key
from lblctop import destinations, judged, said, top

lab = Lab()
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?\d+(?:\.\d+)?)')


@case
def once_is_one_screen_of_text():
    lab.service()
    for n in range(30):
        lab.ask(key(n))
    out, err, status = said("--once", "--interval", "0.1")
    lines = out.splitlines()
    eq((status, err), (0, ""), "status and stderr")
    lacks(out, "\x1b")
    assert len(lines) < 24 and max(map(len, lines)) <= 80, out
    assert "FWM 1: " in out and "30 of 262k entries" in out, out
    for server, number in destinations().items():
        assert re.search(rf"^ {re.escape(server)} .* {number} █", out, re.M), out


@case
def json_is_what_the_files_say():
    lab.service()
    lab.service(mark=2, ipv6=True)
    for n in range(30):
        lab.ask(key(n))
        lab.ask(key(n, ipv6=True), port=81)
    lab.ipvs(lab.server("-d", "s1"))
    services = judged()
    eq(set(services), {"FWM 1", "FWM6 2"})
    found = {it["server"]: it["destinations"] for it in services["FWM 1"]["servers"]}
    found |= {it["server"]: it["destinations"] for it in services["FWM6 2"]["servers"]}
    assert {server: n for server, n in found.items() if n} == destinations(), found
    removed = [it["server"] for it in services["FWM 1"]["servers"] if it["removed"]]
    assert removed == ["10.0.11.2:0"], removed
    eq((services["FWM 1"]["counters"]["unknown"], services["FWM 1"]["calls"]), (30, 30))
    eq(services["FWM6 2"]["table"]["entries"], 30)
    eq(services["FWM6 2"]["scheduler"], "lblc_rs")


@case
def the_schedulers_flags_are_shown():
    for flags in ([], ["flag-1"], ["flag-2"], ["flag-1", "flag-2"]):
        lab.clear()
        lab.service(options=f"-b {','.join(flags)}" if flags else "")
        eq(judged()["FWM 1"]["flags"], flags)
        has(said("--once", "--interval", "0.1")[0], ", ".join(["expiration 86400 s", *flags]) + "\n")


@case
def a_verdict_is_of_its_interval():
    lab.service()
    with Traffic() as traffic:
        traffic.flows()
        lab.ipvs(*(lab.server("-e", name, 0) for name in lab.names))
        wait_until(lambda: judged("0.5")["FWM 1"]["verdict"]["level"] == "bad", "refusals are bad")
        refused = judged()["FWM 1"]["counters"]["none"]
        gt(refused, 0)
        lab.ipvs(*(lab.server("-e", name, 1000) for name in lab.names))
        before = traffic.served
        wait_until(lambda: traffic.served > before + 60, "each destination is known")
        found = judged("2")["FWM 1"]
        assert found["counters"]["none"] >= refused and found["interval"]["counters"]["none"] == 0, found
        assert found["interval"]["calls"] < found["calls"] and found["interval"]["seconds"] >= 2, found
        assert found["verdict"]["level"] == "good", found["verdict"]
        assert found["verdict"]["advice"] == "" and "connections in 2" in found["verdict"]["answer"], found
    out = said("--prometheus", "--interval", "0.1")[0]
    assert 'lblc_verdict{service="FWM 1",level="unknown"} 1\n' in out, out
    assert 'lblc_verdict{service="FWM 1",level="bad"} 0\n' in out, out


@case
def a_service_of_c_is_named():
    load_both()
    lab.service("lblc")
    out, err, status = said("--once", "--interval", "0.1")
    assert (out, status) == ("", 1) and "(FWM 1 has lblc of ip_vs_lblc)" in err, (out, err)
    lab.service(mark=2)
    lab.service("rr", mark=3)
    line = " Not shown: FWM 1 has lblc of ip_vs_lblc, FWM 3 has rr\n"
    has(said("--once", "--interval", "0.1")[0], line)
    with top() as terminal:
        terminal.until("1 service", line.strip())
    out = said("--prometheus", "--interval", "0.1")[0]
    assert 'lblc_other_services{scheduler="lblc"} 1\n' in out, out
    lab.clear()
    unload_all()
    run("modprobe ip_vs_lblc_rs dropin=1")
    lab.service("lblc")
    lab.service(mark=2)
    eq(set(judged()), {"FWM 1", "FWM 2"})
    lacks(said("--once", "--interval", "0.1")[0], "Not shown")
    lab.clear()
    unload_all()


@case
def services_of_one_mark_have_their_own_servers():
    load_both()
    lab.service(weights={"s1": 100})
    # An IPv6 service that tunnels to an IPv4 server, and one of each family without any.
    lab.ipvs("-A -f 1 -6 -s lblc_rs", lab.server("-a", "s2", 200, "-f 1 -6", how="-i"))
    lab.ipvs("-A -f 2 -6 -s lblc_rs", "-A -f 2 -s lblc_rs", lab.server("-a", "s3", 300, "-f 2"))
    # One of C's beside ours.
    lab.ipvs("-A -f 3 -s lblc", lab.server("-a", "s4", 400, "-f 3"), "-A -f 3 -6 -s lblc_rs")
    has(run("ipvsadm -S -n"), "-A -f 3 -s lblc\n")
    found = {name: [(it["server"], it["weight"]) for it in service["servers"]]
             for name, service in judged().items()}
    assert found == {"FWM 1": [("10.0.11.2:0", 100)], "FWM6 1": [("10.0.12.2:0", 200)],
                     "FWM 2": [("10.0.13.2:0", 300)], "FWM6 2": [], "FWM6 3": []}, found
    levels = {name: it["verdict"]["answer"] for name, it in judged().items()}
    assert levels["FWM6 2"] == "The service has no server: new connections are refused.", levels


@case
def many_services_are_read_at_once():
    """More than 200: their servers are from /proc/net/ip_vs, but for names that two services have, and for services
    that a server at its threshold has cost a connection."""
    marks = range(10, 250)
    lab.ipvs(*(line for mark in marks for line in (
        f"-A -f {mark} -s lblc_rs", lab.server("-a", "s1", mark, f"-f {mark}"),
        lab.server("-a", "s2", 0, f"-f {mark}", more="-x 3"))))
    lab.ipvs("-A -f 20 -6 -s lblc_rs", lab.server("-a", "s3", 5, "-f 20 -6", ipv6=True))
    lab.service(service=f"-t {VIP}:80", port=80, how="-m", weights={"s4": 7})
    lab.service(weights={"s1": 1000, "s2": 1000})
    lab.ipvs(lab.server("-e", "s2", 1000, more="-x 2 -y 1"))
    on_s2 = [one for one in map(key, range(20)) if lab.ask(one) == "s2"]
    lab.hold(on_s2[0], 2)
    eq(lab.ask(on_s2[0]), "s1", "a server at its threshold")
    found = judged()
    eq(len(found), 243)
    states = {it["server"]: it["state"] for it in found["FWM 1"]["servers"]}
    eq(states, {"10.0.11.2:0": "", "10.0.12.2:0": "full"})
    eq(sum(it["destinations"] for it in found["FWM 1"]["servers"]), 20)
    weights = {name: {it["server"]: it["weight"] for it in service["servers"]} for name, service in found.items()}
    for mark in marks:
        eq(weights[f"FWM {mark}"], {"10.0.11.2:0": mark, "10.0.12.2:0": 0}, f"of mark {mark}")
    eq(weights["FWM6 20"], {"[fd00:3::2]:0": 5})
    eq(weights[f"TCP {VIP}:80"], {"10.0.14.2:80": 7})


@case
def a_dead_server_is_named():
    weights = {"s1": 0, "s2": 1000, "s3": 0, "s4": 0}
    lab.service(weights=weights)
    with inside("s2"):
        run("nft add table inet dead")
        run("nft 'add chain inet dead drops { type filter hook input priority 0; policy drop; }'")
    try:
        for n in range(8):
            eq(lab.connect(key(n), timeout=0.1).server, None)
        lab.ipvs(*(lab.server("-e", name, 1000) for name in weights))
        for n in range(60):
            ne(lab.ask(key(100 + n)), "s2")
        found = judged()["FWM 1"]
        assert found["verdict"]["level"] == "bad", found["verdict"]
        assert found["verdict"]["answer"] == "10.0.12.2:0 completes no connection.", found["verdict"]
        states = {it["server"]: it["state"] for it in found["servers"]}
        eq(states, {"10.0.11.2:0": "", "10.0.12.2:0": "stuck", "10.0.13.2:0": "", "10.0.14.2:0": ""})
        with top() as terminal:
            terminal.until("10.0.12.2:0 completes no connection.", "Is it alive?", " stuck ")
    finally:
        with inside("s2"):
            run("nft delete table inet dead")


@case
def prometheus_can_read_it():
    lab.service()
    lab.service(ipv6=True)
    for n in range(30):
        lab.ask(key(n))
        lab.ask(key(n, ipv6=True))
    out, err, status = said("--prometheus")
    eq((status, err, out[-1:]), (0, "", "\n"), "status, stderr and last character")
    families, values = {}, {}
    for line in out.splitlines():
        if line.startswith("# "):
            _, what, name, text = line.split(" ", 3)
            assert what not in families.setdefault(name, {}), line
            families[name][what] = text
            last = name
        else:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            eq(name, last, f"the family of {line!r}")
            series = name, frozenset((labels or "").split(","))
            assert series not in values, line
            values[series] = float(value)
    assert all(set(it) == {"HELP", "TYPE"} for it in families.values()), families
    eq({name for name, it in families.items() if it["TYPE"] == "counter"},
       {name for name in families if name.endswith("_total")}, "the counters")
    for service in ("FWM 1", "FWM6 1"):
        result = frozenset({f'service="{service}"', 'result="unknown"'})
        assert values["lblc_decisions_total", result] == 30, values
        eq(values["lblc_entries", frozenset({f'service="{service}"'})], 30)
    there = {server: n for server, n in destinations().items()}
    for (name, labels), value in values.items():
        if name == "lblc_server_destinations":
            server = next(it for it in labels if it.startswith("server"))[8:-1]
            assert there.get(server, 0) == value, (server, value, there)


@case
def an_error_is_one_line():
    def refuses(pattern, status, *options, **more):
        out, err, code = said(*options, **more)
        assert code == status and not out and err.count("\n") == 1, (out, err, code)
        assert re.match("lblctop: " + pattern, err), err

    run("modprobe ip_vs_lblc_rs")
    modes = ([], ["--once"], ["--json"], ["--prometheus"])
    refuses("there are no services .*ipvsadm -A", 1, "--once")
    refuses("there are no services", 1)
    out, err, code = said("--json")
    eq((json.loads(out)["services"], json.loads(out)["other_services"], err, code), ([], [], "", 0))
    has(said("--prometheus")[0], "lblc_services 0\n")
    lab.service("rr")
    refuses(r"no service here uses the scheduler \(FWM 1 has rr\)", 1, "--once")
    lab.service(mark=2)
    for mode in modes:
        refuses("only root may read", 1, *mode, prefix=["setpriv", "--reuid", "1000", "--clear-groups"])
    refuses("this is not a terminal", 1)
    refuses('no service here is called "FWM 3": there is FWM 2', 1, "--once", "--service", "FWM 3")
    has(said("--once", "--service", "fwm2", "--interval", "0.1")[0], "FWM 2: ")
    refuses("unexpected argument '--twice' found .*--help", 2, "--twice")
    refuses("invalid value '0' for '--interval <SECONDS>'", 2, "--interval", "0")
    refuses("the argument '--once' cannot be used with '--json'", 2, "--once", "--json")
    lab.clear()
    run("rmmod ip_vs_lblc_rs")
    for mode in modes:
        refuses("the module is not loaded.*namespace: modprobe ip_vs_lblc_rs", 1, *mode)
    lab.service("lblc")
    for mode in modes:
        refuses(r"the module is not loaded.*namespace \(FWM 1 has lblc of ip_vs_lblc\): modprobe", 1, *mode)


@case
def a_closed_pipe_is_no_error():
    lab.service()
    eq(said("--help")[0][:10], "Shows what")
    eq(said("--version")[0][:8], "lblctop ")
    done = run("lblctop --json | true; echo ${PIPESTATUS[0]}", executable="/bin/bash", check=False)
    assert done.stdout == "0\n" and not done.stderr, done


main(lab)
