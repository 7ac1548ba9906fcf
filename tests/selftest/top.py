#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""lblctop(8), on a real terminal and for machines."""

import json
import re
import shutil
import signal
import subprocess
from xml.etree import ElementTree

from harness import Skip, loaded, main, run, wait_until
from lab import VIP, VIP6, Lab, Traffic, key, sysctl

try:
    from terminal import Terminal, picture
except ImportError:
    Terminal = None

lab = Lab()
EXPIRATION = "net/ipv4/vs/lblc_expiration"
LIMIT = "net/ipv4/vs/lblc_rs_max_entries"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?\d+)')


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


def it_says_that_locality_works():
    lab.service()
    with Traffic(), top() as terminal:
        text = terminal.until("FWM 1: Locality works: ", "50 of 262k entries", "connections/s")
        for server, number in destinations().items():
            row = next(line for line in text.splitlines() if line.startswith(f" {server} "))
            assert row.split()[:2] == [server, "1000"] and re.search(rf" {number} +█", row), row
        assert re.search(r"^>FWM 1 +[\d.]+ +(9\d\.\d|100) % +0 +0 +50 +0.0 %", text, re.M), text
        assert re.search(r"^ hits +[\d.]+ +\d+ +(9\d\.\d|100) % █+", text, re.M), text


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
            terminal.until("of the connections are REFUSED", "weight 0: ipvsadm -e")
    finally:
        sysctl(EXPIRATION, 86400)
        sysctl(LIMIT, 1 << 18)


def it_shows_spills_and_overloaded_servers():
    lab.service(weights={"s1": 1})
    for n in range(20):
        lab.ask(key(n))
    lab.hold(key(0), 2)
    lab.ipvs(lab.server("-a", "s2", 1000))
    with top() as terminal:
        terminal.until("10.0.11.2:0 1 2 ", " overloaded ")
        for n in range(20):
            assert lab.ask(key(n)) == "s2"
        terminal.until("No new connections now.", " overloaded 0 20 ")
        terminal.until("Locality fails: ", "overloaded: its server is over its weight", "now 1 to 1000")


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
        assert terminal.wait() == 0


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
        terminal.until(f">TCP [{VIP6}]:80", f" TCP [{VIP6}]:80: ", "One destination", "[fd00:1::2]:80")
        terminal.press("k")
        terminal.until(">FWM 1", " FWM 1: ")
        terminal.press("o")
        terminal.until("most misses first")
        terminal.press("?\x1b[5~\x1b[6~xyz")
        terminal.until(">FWM 1")


def whoever_ends_it_the_terminal_is_restored():
    lab.service()
    for end in ("q", "\x1b", "\x03", signal.SIGTERM, signal.SIGHUP):
        with top() as terminal:
            terminal.until("q quit")
            assert not terminal.is_as_before()
            if isinstance(end, str):
                terminal.press(end)
            else:
                terminal.process.send_signal(end)
            assert terminal.wait() == 0, end
            assert terminal.is_as_before(), end


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
        assert terminal.wait() == 0


def once_is_one_screen_of_text():
    lab.service()
    for n in range(30):
        lab.ask(key(n))
    out, err, status = said("--once", "--interval", "0.1")
    lines = out.splitlines()
    assert status == 0 and not err and "\x1b" not in out
    assert len(lines) < 24 and max(map(len, lines)) <= 80, out
    assert "FWM 1: " in out and "30 of 262k entries" in out, out
    for server, number in destinations().items():
        assert re.search(rf"^ {re.escape(server)} .* {number} █", out, re.M), out


def json_is_what_the_files_say():
    lab.service()
    lab.service(mark=2, ipv6=True)
    for n in range(30):
        lab.ask(key(n))
        lab.ask(key(n, ipv6=True), port=81)
    lab.ipvs(lab.server("-d", "s1"))
    out, err, status = said("--json")
    assert status == 0 and not err
    services = {it["service"]: it for it in json.loads(out)["services"]}
    assert set(services) == {"FWM 1", "FWM6 2"}
    found = {it["server"]: it["destinations"] for it in services["FWM 1"]["servers"]}
    found |= {it["server"]: it["destinations"] for it in services["FWM6 2"]["servers"]}
    assert {server: n for server, n in found.items() if n} == destinations(), found
    removed = [it["server"] for it in services["FWM 1"]["servers"] if it["removed"]]
    assert removed == ["10.0.11.2:0"], removed
    assert services["FWM 1"]["counters"]["unknown"] == 30 == services["FWM 1"]["calls"]
    assert services["FWM6 2"]["table"]["entries"] == 30 and services["FWM6 2"]["scheduler"] == "lblc_rs"


def prometheus_can_read_it():
    lab.service()
    lab.service(ipv6=True)
    for n in range(30):
        lab.ask(key(n))
        lab.ask(key(n, ipv6=True))
    out, err, status = said("--prometheus")
    assert status == 0 and not err and out.endswith("\n")
    families, values = {}, {}
    for line in out.splitlines():
        if line.startswith("# "):
            _, what, name, text = line.split(" ", 3)
            assert what not in families.setdefault(name, {}), line
            families[name][what] = text
            last = name
        else:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            assert name == last, f"{line}: not in its family"
            series = name, frozenset((labels or "").split(","))
            assert series not in values, line
            values[series] = int(value)
    assert all(set(it) == {"HELP", "TYPE"} for it in families.values()), families
    assert all((it["TYPE"] == "counter") == name.endswith("_total") for name, it in families.items())
    for service in ("FWM 1", "FWM6 1"):
        result = frozenset({f'service="{service}"', 'result="unknown"'})
        assert values["lblc_decisions_total", result] == 30, values
        assert values["lblc_entries", frozenset({f'service="{service}"'})] == 30
    there = {server: n for server, n in destinations().items()}
    for (name, labels), value in values.items():
        if name == "lblc_server_destinations":
            server = next(it for it in labels if it.startswith("server"))[8:-1]
            assert there.get(server, 0) == value, (server, value, there)


def what_is_wrong_is_said_in_one_line():
    def refuses(pattern, status, *options, **more):
        out, err, code = said(*options, **more)
        assert code == status and not out and err.count("\n") == 1, (out, err, code)
        assert re.match("lblctop: " + pattern, err), err

    assert "ip_vs_lblc_rs" in loaded() or run("modprobe ip_vs_lblc_rs") == ""
    modes = ([], ["--once"], ["--json"], ["--prometheus"])
    refuses("there are no services .*ipvsadm -A", 1, "--once")
    refuses("there are no services", 1)
    assert said("--json") == ('{\n  "services": []\n}\n', "", 0)
    assert "lblc_services 0\n" in said("--prometheus")[0]
    lab.service("rr")
    refuses(r"no service here uses the scheduler \(FWM 1 has rr\)", 1, "--once")
    lab.service(mark=2)
    for mode in modes:
        refuses("only root may read", 1, *mode, prefix=["setpriv", "--reuid", "1000", "--clear-groups"])
    refuses("this is not a terminal", 1)
    refuses('no service here is called "FWM 3"', 1, "--once", "--service", "FWM 3")
    refuses("unexpected argument '--twice' found .*--help", 2, "--twice")
    refuses("invalid value '0' for '--interval <SECONDS>'", 2, "--interval", "0")
    refuses("the argument '--once' cannot be used with '--json'", 2, "--once", "--json")
    lab.clear()
    run("rmmod ip_vs_lblc_rs")
    for mode in modes:
        refuses("the module is not loaded.*modprobe ip_vs_lblc_rs", 1, *mode)


def a_reader_that_goes_away_is_no_trouble():
    lab.service()
    assert said("--help")[0].startswith("Shows what") and said("--version")[0].startswith("lblctop ")
    done = run("lblctop --json | true; echo ${PIPESTATUS[0]}", executable="/bin/bash", check=False)
    assert done.stdout == "0\n" and not done.stderr, done


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


main([it_says_that_locality_works, it_says_why_locality_fails, it_shows_spills_and_overloaded_servers,
      it_takes_any_size_of_terminal, keys_choose_a_service, whoever_ends_it_the_terminal_is_restored,
      it_outlives_services_and_the_module, once_is_one_screen_of_text, json_is_what_the_files_say,
      prometheus_can_read_it, what_is_wrong_is_said_in_one_line, a_reader_that_goes_away_is_no_trouble,
      a_picture_has_what_the_screen_shows], lab)
