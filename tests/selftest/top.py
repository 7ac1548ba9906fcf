#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""lblctop(8), on a pseudo-terminal and with its machine-readable output."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from xml.etree import ElementTree

from harness import Skip, case, eq, gt, has, lacks, load_both, main, ne, run, unload_all, wait_until
from lab import VIP, VIP6, Lab, Traffic, inside, key, sysctl

try:
    from terminal import Terminal, picture
except ImportError:
    Terminal = None

lab = Lab()
EXPIRATION = "net/ipv4/vs/lblc_expiration"
LIMIT = "net/ipv4/vs/lblc_rs_max_entries"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?\d+(?:\.\d+)?)')


def top(*options, **size):
    """lblctop on a terminal."""
    if not Terminal or not shutil.which("lblctop"):
        raise Skip("there is no lblctop, or no pyte")
    return Terminal(["lblctop", "--interval", "0.5", *options], **size)


def said(*options, prefix=()):
    """What lblctop prints: (stdout, stderr, exit status)."""
    if not shutil.which("lblctop"):
        raise Skip("there is no lblctop")
    done = subprocess.run([*prefix, "lblctop", *options], text=True, capture_output=True)
    return done.stdout, done.stderr, done.returncode


def destinations():
    """{address and port of a server: how many destinations it has}, of all services."""
    found = {}
    with open("/proc/thread-self/net/ip_vs_lblc_rs") as file:
        for line in file:
            if line.startswith("  "):
                server = line.split()[1]
                found[server] = found.get(server, 0) + 1
    return found


@case
def it_says_that_locality_works():
    lab.service()
    with Traffic(), top() as terminal:
        text = terminal.until("FWM 1: Locality works: ", "50 of 262k entries", "connections/s")
        for server, number in destinations().items():
            row = next(line for line in text.splitlines() if line.startswith(f" {server} "))
            assert row.split()[:2] == [server, "1000"] and re.search(rf" {number} +█", row), row
        assert re.search(r"^>FWM 1 +[\d.]+ +(9\d\.\d|100) % +0 +0 +50 +0.0 %", text, re.M), text
        assert re.search(r"^ hits +[\d.]+ +\d+ +(9\d\.\d|100) % █+", text, re.M), text


@case
def it_says_why_locality_fails():
    lab.service()
    sysctl(EXPIRATION, 0)
    try:
        with Traffic(), top() as terminal:
            terminal.until("Locality fails: ", "expired: idle longer", "raise net.ipv4.vs.lblc_expiration",
                           "1 in trouble")
            sysctl(EXPIRATION, 86400)
            terminal.until("Locality works: ")
            sysctl(LIMIT, 10)
            terminal.until("unknown: new destination, or forgotten", "table is full", "(now 10)",
                           "10 of 10 entries")
            lab.ipvs(*(lab.server("-e", name, 0) for name in lab.names))
            terminal.until("were REFUSED", "Raise one: ipvsadm -e")
            lab.ipvs(*(lab.server("-e", name, 1000) for name in lab.names))
            terminal.until("Locality ")
    finally:
        sysctl(EXPIRATION, 86400)
        sysctl(LIMIT, 1 << 18)


@case
def it_shows_spills_and_overloaded_servers():
    lab.service(weights={"s1": 1})
    for n in range(20):
        lab.ask(key(n))
    lab.hold(key(0), 2)
    lab.ipvs(lab.server("-a", "s2", 1000))
    with top() as terminal:
        terminal.until("10.0.11.2:0 1 2 ", " overloaded ")
        for n in range(20):
            eq(lab.ask(key(n)), "s2")
        text = terminal.until("No new connections in ", "Before that there were 42.", "overloaded 0 20 ")
        assert re.search(r"^ overloaded +0 +20 +- +its server is over its weight$", text, re.M), text


@case
def it_takes_any_size_of_terminal():
    lab.service()
    lab.ask(key(1))
    with top() as terminal:
        terminal.until("q quit", "FWM 1")
        for columns, rows in ((40, 12), (200, 60), (12, 3), (3, 1), (132, 24), (80, 24)):
            terminal.resize(columns, rows)
            terminal.until(*(["lblctop"] if columns > 10 else ["q"] if rows == 1 else []))
            if columns >= 80:
                text = terminal.until("1 of 262k entries", "DECISION", "SERVER", "q quit")
                assert text.splitlines()[-1].startswith(" q quit"), text
        terminal.press("q")
        eq(terminal.wait(), 0)


@case
def keys_choose_a_service():
    lab.service()
    lab.service(mark=2)
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    lab.service(service=f"-t [{VIP6}]:80", ipv6=True, port=80, how="-m")
    for n in range(3):
        lab.ask(key(n))
    lab.ask(VIP6)
    with top("--service", "FWM 2") as terminal:
        terminal.until(">FWM 2", "FWM 2: Nothing has been scheduled yet.", "10.0.11.2:0")
        terminal.press("\x1b[H")
        terminal.until(">FWM 1", " FWM 1: ")
        terminal.press("\x1b[B")
        terminal.until(f">TCP [{VIP6}]:80", f" TCP [{VIP6}]:80: No new connections in", "[fd00:1::2]:80")
        terminal.press("k")
        terminal.until(">FWM 1", " FWM 1: ")
        terminal.press("o")
        terminal.until("most misses first")
        for order in (">ACTIVE", ">DESTS", ">WEIGHT"):
            terminal.press("s")
            terminal.until(order)
        for key_of_help in ("h", "?"):
            terminal.press(key_of_help)
            terminal.until("choose a service", "any key leaves it")
            terminal.press("j")
            terminal.until(">FWM 1")
        terminal.press("\x1b[5~\x1b[6~xyz")
        terminal.until(">FWM 1")


@case
def whoever_ends_it_the_terminal_is_restored():
    lab.service()
    for end in ("q", "\x1b", "\x03", signal.SIGTERM, signal.SIGHUP):
        with top() as terminal:
            terminal.until("q quit")
            assert not terminal.is_as_before(), "the terminal was not changed"
            if isinstance(end, str):
                terminal.press(end)
            else:
                terminal.process.send_signal(end)
            eq(terminal.wait(), 0, f"the status after {end!r}")
            assert terminal.is_as_before(), end


@case
def it_outlives_services_and_the_module():
    lab.service()
    lab.ask(key(1))
    with top() as terminal:
        terminal.until("FWM 1: ", "1 of 262k entries")
        run("ipvsadm -C")
        terminal.until("No service uses the scheduler.")
        wait_until(lambda: not run("rmmod ip_vs_lblc_rs", check=False).returncode, "the module goes")
        terminal.until("the module is not loaded")
        lab.service(mark=2)
        terminal.until(">FWM 2")
        lab.clear()
        lab.service(mark=2)
        terminal.until("FWM 2: Nothing has been scheduled yet.")
        terminal.press("q")
        eq(terminal.wait(), 0)


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


def judged(interval="0.1"):
    """What --json says of each service."""
    out, err, status = said("--json", "--interval", interval)
    assert status == 0 and not err, (out, err)
    return {it["service"]: it for it in json.loads(out)["services"]}


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
def destinations_tell_where_they_were():
    lab.service()
    lab.ipvs(*(lab.server("-e", name, 0) for name in ("s2", "s3", "s4")))
    for n in range(30):
        eq(lab.ask(key(n)), "s1")
    with top() as terminal:
        terminal.until("SERVER WEIGHT")
        terminal.press("d")
        terminal.until("DESTINATION SERVER IDLE s MOVED", "of 30", " 10.0.11.2:0 ")
        lab.ipvs(lab.server("-e", "s2", 1000), lab.server("-e", "s1", 0))
        eq(lab.ask(key(7)), "s2")
        terminal.until("198.18.0.7 10.0.12.2:0 ", " from 10.0.11.2:0 ")
        terminal.press("d")
        terminal.until("SERVER WEIGHT")


@case
def services_of_one_mark_have_their_own_servers():
    lab.service(weights={"s1": 100})
    # An IPv6 service that tunnels to an IPv4 server, and one of each family without any.
    lab.ipvs("-A -f 1 -6 -s lblc_rs", lab.server("-a", "s2", 200, "-f 1 -6", how="-i"))
    lab.ipvs("-A -f 2 -6 -s lblc_rs", "-A -f 2 -s lblc_rs", lab.server("-a", "s3", 300, "-f 2"))
    # One of C's beside ours.
    lab.ipvs("-A -f 3 -s lblc", lab.server("-a", "s4", 400, "-f 3"), "-A -f 3 -6 -s lblc_rs")
    found = {name: [(it["server"], it["weight"]) for it in service["servers"]]
             for name, service in judged().items()}
    assert found == {"FWM 1": [("10.0.11.2:0", 100)], "FWM6 1": [("10.0.12.2:0", 200)],
                     "FWM 2": [("10.0.13.2:0", 300)], "FWM6 2": [], "FWM6 3": []}, found
    levels = {name: it["verdict"]["answer"] for name, it in judged().items()}
    assert levels["FWM6 2"] == "The service has no server: new connections are refused.", levels


@case
def a_size_of_0_is_no_size():
    lab.service()
    lab.ask(key(1))
    if not Terminal:
        raise Skip("there is no pyte")
    for options, more in (("--once --interval 0.1", ["DECISION"]), ("--interval 0.1", ["q quit"])):
        with Terminal(["sh", "-c", f"stty rows 0 columns 0; exec lblctop {options}"]) as terminal:
            terminal.until("FWM 1", "OF CAP", "SERVER", "10.0.14.2:0 1000", *more)
            terminal.press("q")
            eq(terminal.wait(), 0)


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
def a_server_that_comes_back_gets_new_destinations_only():
    lab.service()
    lab.ipvs(lab.server("-e", "s1", 0))
    for n in range(50):  # all that Traffic asks for
        lab.ask(key(n))
    lab.ipvs(lab.server("-e", "s1", 1000))
    with Traffic(), top() as terminal:
        terminal.until("Locality works: 100 %", "10.0.11.2:0 has no destination, and will get new ones only")


@case
def metrics_do_not_outlive_the_module():
    """The manual's command, as it stands there."""
    with open("/work/man/lblctop.8") as file:
        page = file.read().split("For Prometheus, once a minute", 1)[1]
    command = page.split(".Bd -literal -offset indent\n", 1)[1].split(".Ed\n", 1)[0]
    lab.service()
    with tempfile.TemporaryDirectory() as folder:
        run(command, cwd=folder)
        eq(os.listdir(folder), ["lblc.prom"])
        with open(folder + "/lblc.prom") as file:
            has(file.read(), "lblc_services 1\n")
        run("ipvsadm -C")
        wait_until(lambda: not run("rmmod ip_vs_lblc_rs", check=False).returncode, "the module goes")
        done = run(command, cwd=folder, check=False)
        assert "the module is not loaded" in done.stderr, done
        eq(os.listdir(folder), [])


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
def what_is_wrong_is_said_in_one_line():
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
def a_reader_that_goes_away_is_no_trouble():
    lab.service()
    eq(said("--help")[0][:10], "Shows what")
    eq(said("--version")[0][:8], "lblctop ")
    done = run("lblctop --json | true; echo ${PIPESTATUS[0]}", executable="/bin/bash", check=False)
    assert done.stdout == "0\n" and not done.stderr, done


@case
def a_picture_has_what_the_screen_shows():
    lab.service()
    lab.ask(key(1))
    with top() as terminal:
        terminal.until("FWM 1: ", "q quit")
        rows = {}
        for text in ElementTree.fromstring(picture(terminal.screen)).iter("{http://www.w3.org/2000/svg}text"):
            rows.setdefault(int(text.get("y")), []).append(text.text.strip())
        shown = [line.split() for line in terminal.screen.display if line.strip()]
        assert [" ".join(rows[y]).split() for y in sorted(rows)] == shown, rows


main(lab)
