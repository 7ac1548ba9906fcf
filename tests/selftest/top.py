#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""lblctop(8) on a pseudo-terminal."""

import os
import re
import signal
from xml.etree import ElementTree

from harness import Skip, case, eq, lacks, main, ne, run, wait_until
from lab import VIP, VIP6, Lab, Traffic, key, sysctl
from lblctop import Terminal, destinations, top

if Terminal:
    from terminal import picture

lab = Lab()
EXPIRATION = "net/ipv4/vs/lblc_expiration"
LIMIT = "net/ipv4/vs/lblc_rs_max_entries"


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
def however_it_ends_the_terminal_is_restored():
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
def destinations_tell_where_they_were():
    lab.service()
    lab.ipvs(*(lab.server("-e", name, 0) for name in ("s2", "s3", "s4")))
    for n in range(30):
        eq(lab.ask(key(n)), "s1")
    with top() as terminal:
        terminal.until("SERVER WEIGHT")
        terminal.press("d")
        terminal.until("DESTINATION SERVER >IDLE s MOVED", "of 30", " 10.0.11.2:0 ")
        lab.ipvs(lab.server("-e", "s2", 1000), lab.server("-e", "s1", 0))
        eq(lab.ask(key(7)), "s2")
        terminal.until("198.18.0.7 10.0.12.2:0 ", " from 10.0.11.2:0 ")
        terminal.press("d")
        terminal.until("SERVER WEIGHT")


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
def a_server_that_comes_back_gets_new_destinations_only():
    lab.service()
    lab.ipvs(lab.server("-e", "s1", 0))
    for n in range(50):  # all that Traffic asks for
        lab.ask(key(n))
    lab.ipvs(lab.server("-e", "s1", 1000))
    with Traffic(), top() as terminal:
        terminal.until("Locality works: 100 %", "10.0.11.2:0 has no destination, and will get new ones only")


@case
def a_service_is_found_by_a_part_of_its_name():
    number = 5000 if os.environ.get("FULL") else 300
    found = sum(str(n).startswith("12") for n in range(1, number + 1))
    lab.ipvs(*(f"-A -f {n} -s lblc_rs" for n in range(1, number + 1)))
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    lab.ask(VIP)
    with top() as terminal:
        terminal.until(f"{number + 1} services", f">TCP {VIP}:80", seconds=120)
        terminal.press("/fWm 12")
        text = terminal.until("/fWm 12_", ">FWM 12", f"{found} services", seconds=60)
        assert all("FWM 12" in line for line in text.splitlines() if "FWM" in line), text
        terminal.press("8\r")
        terminal.until(">FWM 128", "1 service", 'with "fWm 128" only', "q quit", seconds=60)
        terminal.press("/xyz")
        terminal.until("No service has this text in its name.", seconds=60)
        terminal.press("\x1b")
        terminal.until(f"{number + 1} services", f">TCP {VIP}:80", "q quit", seconds=60)


@case
def destinations_of_a_server_are_found():
    lab.service()
    for n in range(40):
        lab.hold(key(n))
    counts = destinations()
    with top(rows=60) as terminal:
        terminal.press("d")
        terminal.until("DESTINATION SERVER >IDLE s MOVED", " 198.18.0.39 ")
        terminal.press("/10.0.12.2\r")
        text = terminal.until('with "10.0.12.2" only')
        rows = [line for line in text.splitlines() if line.startswith(" 198.18.")]
        eq(len(rows), counts["10.0.12.2:0"], "destinations of s2")
        eq({line.split()[1] for line in rows}, {"10.0.12.2:0"})
        terminal.press("/")
        terminal.until("/10.0.12.2_")
        terminal.press("\x1b")
        terminal.until("q quit", ">IDLE s MOVED")
        terminal.press("s")
        terminal.until("DESTINATION SERVER IDLE s >MOVED")
        lab.ipvs(lab.server("-e", "s2", 0))
        moved = rows[0].split()[0]
        ne(lab.ask(moved), "s2")
        text = terminal.until(f"{moved} ", " from 10.0.12.2:0 (weight 0) ")
        first = next(line for line in text.splitlines() if line.startswith(" 198.18."))
        eq(first.split()[0], moved, "the first destination")
        terminal.press("s")
        terminal.until("DESTINATION >SERVER IDLE s MOVED")


COLORED = re.compile(rb"\x1b\[[0-9;]*?(?:3[0-7]|4[0-7]|[34]8;[25]|9[0-7])[0-9;]*m")


@case
def colors_and_symbols_only_where_the_terminal_has_them():
    lab.service()
    for n in range(30):
        lab.ask(key(n))
    for env, colored in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "vt100"}, False), ({"LANG": "C"}, True)):
        with top(env=env) as terminal:
            terminal.until("FWM 1: ", "30 of 262k entries", "10.0.14.2:0 1000", "No new connections", "q quit")
            eq(bool(COLORED.search(terminal.said)), colored, f"colours with {env}")
            eq(terminal.said.isascii(), "LANG" in env, f"ASCII only with {env}")
    with top(env={"TERM": "dumb"}) as terminal:
        eq(terminal.wait(), 1)
        eq(terminal.said, b"lblctop: this terminal (TERM=dumb) has no cursor to move: try --once\r\n")
    with top("--once", env={"TERM": "dumb"}) as terminal:
        eq(terminal.wait(), 0)
        lacks(terminal.said, b"\x1b")


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
