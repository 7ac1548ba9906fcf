#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""lblcctl(8): what it shows, changes, saves and restores, and what it refuses."""

import json
import os
import re
import resource
import subprocess
import tempfile
import time

from harness import case, eq, ge, gt, has, main, run, unload_all
from lab import VIP, VIP6, Lab, Traffic, key, sysctl
from lblcctl import BIG, big, refused, said, servers
from ynl import FILE, FILE_STATS, in_proc

lab = Lab()
LIMIT = "net/ipv4/vs/lblc_rs_max_entries"


def text(path=FILE):
    with open(path) as file:
        return file.read()


def all_kinds():
    """Services of each kind with destinations, one server of which was removed."""
    lab.service()
    lab.service(service=f"-t {VIP}:80", port=80, how="-m")
    lab.service(service=f"-u [{VIP6}]:81", ipv6=True, port=80, how="-m")
    lab.service(mark=2, ipv6=True)
    for n in range(60):
        lab.ask(key(n))
    for n in range(1, 20):
        lab.ask(key(n, ipv6=True), port=81)
    lab.ask(VIP)
    lab.ipvs(lab.server("-d", "s1"))


@case
def what_is_saved_is_what_proc_says():
    all_kinds()

    before, saved, after = (it.splitlines() for it in (text(), said("save"), text()))
    eq((len(saved), len(after)), (len(before), len(before)), "lines")
    for first, line, last in zip(before, saved, after):
        first, words, last = first.split(" "), line.split(" "), last.split(" ")
        if line.startswith("  "):  # idle times grow while it is read
            assert int(first[4]) <= int(words[4]) <= int(last[4]), line
            first[4] = words[4]
        eq(words, first, line)
    has("\n".join(saved), " removed\n")
    shown = json.loads(said("show", "entries", "--json"))
    eq({(it["service"], it["destination"]): (it["server"], it["removed"]) for it in shown},
       {(service, one): (server, gone) for service, found in in_proc().items()
        for one, (server, _, gone) in found.items()})
    for it in shown:
        ge(it["idle_seconds"], 0.0)
    lines = said("save", "-s", "fwm1").splitlines()
    eq((len(lines), lines[0].split()[:4]), (61, ["FWM", "1", "entries", "60"]))


@case
def services_are_shown_with_their_counters():
    all_kinds()
    shown, stats = said("show").splitlines(), text(FILE_STATS).splitlines()
    eq([line for line in shown if not line.startswith(" ")],
       [line for line in text().splitlines() if not line.startswith(" ")], "the services' lines")
    eq([re.sub(r" deletes \d+$", "", line.strip()) for line in shown if line.startswith(" ")],
       [line.split(maxsplit=2)[2] for line in stats], "their counters")
    found = {it["service"]: it for it in json.loads(said("show", "--json"))}
    eq(list(found), ["FWM 1", f"TCP {VIP}:80", f"UDP [{VIP6}]:81", "FWM6 2"])
    eq((found["FWM 1"]["entries"], found["FWM 1"]["counters"]["unknown"]), (60, 60))
    eq(found["FWM6 2"]["expiration_seconds"], 86400)


@case
def a_filter_chooses_destinations():
    all_kinds()
    known = servers()
    of_s2 = {one for one, server in known["FWM 1"].items() if server == "10.0.12.2:0"}
    gt(len(of_s2), 0)

    def chosen(*options):
        return {it["destination"] for it in json.loads(said("show", "-j", *options))}

    eq(chosen("--server", "10.0.12.2", "-s", "FWM 1"), of_s2)
    eq(chosen("--server", "10.0.12.2:0"), of_s2)
    eq(chosen("--server", "10.0.12.2:1"), set())
    eq(chosen("--server", "fd00:2::2"), {one for one, it in known["FWM6 2"].items() if it == "[fd00:2::2]:0"})
    eq(chosen("--prefix", "198.18.0.0/29"), {key(n) for n in range(8)})
    eq(chosen("--prefix", "fd00:d::/64"), set(known["FWM6 2"]))
    eq(chosen("--removed"), {one for found in in_proc().values() for one, it in found.items() if it[2]})
    eq(chosen("--idle", "86400"), set())
    eq(said("del", "--server", "10.0.12.2"), f"{len(of_s2)} deleted\n")
    eq(set(servers()["FWM 1"]), set(known["FWM 1"]) - of_s2)


@case
def one_destination_is_set_shown_and_forgotten():
    lab.service()
    lab.ask(key(1))
    has(refused(2, "get", key(7)), f"nothing is known of {key(7)}")
    for turn, name in enumerate(("s2", "s3", "s4", "s2")):
        eq(said("set", key(7), lab.address(name)), "0 created, 1 changed, 0 kept\n" if turn else
           "1 created, 0 changed, 0 kept\n")
        eq(lab.ask(key(7)), name)
        eq(said("get", key(7)), f"FWM 1\n  {key(7)} {lab.address(name)}:0 0\n")
    eq(json.loads(said("set", key(7), "10.0.13.2:0", "--keep-newer", "--idle", "60", "--json")),
       {"created": 0, "changed": 0, "kept": 1, "failed": 0})
    eq(said("set", key(8), "10.0.13.2", "--idle", "60"), "1 created, 0 changed, 0 kept\n")
    assert 60 <= json.loads(said("get", key(8), "-j"))[0]["idle_seconds"] < 90
    eq(said("del", key(7)), "1 deleted\n")
    has(refused(2, "del", key(7), key(1)), "nothing was known of 1 of 2")
    eq(set(servers()["FWM 1"]), {key(8)})
    eq(said("flush"), "1 deleted\n")
    eq(servers(), {"FWM 1": {}})
    # Several services: one has to be named.
    lab.service(mark=2)
    has(refused(1, "set", key(7), "10.0.13.2"), "2 services use the scheduler: name one with --service")
    has(refused(1, "del", key(7)), "name one with --service")
    said("set", key(7), "10.0.13.2", "-s", "fwm2")
    eq(servers(), {"FWM 1": {}, "FWM 2": {key(7): "10.0.13.2:0"}})
    eq(said("get", key(7)), f"FWM 2\n  {key(7)} 10.0.13.2:0 0\n")
    said("set", "-s", "FWM 1", key(7), "10.0.14.2")
    eq(said("flush", "-s", "FWM 2"), "1 deleted\n")
    eq(said("flush"), "1 deleted\n")


@case
def many_are_set_from_stdin():
    lab.service()
    lines = "".join(f"{key(n)} 10.0.{11 + n % 4}.2:0 {n}\n" for n in range(3000))
    eq(said("set", "--batch", "-", input="# all of them\n\n" + lines), "3000 created, 0 changed, 0 kept\n")
    eq(servers()["FWM 1"], {key(n): f"10.0.{11 + n % 4}.2:0" for n in range(3000)})
    lab.service(mark=2)
    eq(said("set", "--batch", "-", input="FWM 2\n" + lines), "3000 created, 0 changed, 0 kept\n")
    eq(said("set", "--batch", "-", "-s", "FWM 2", input=lines), "0 created, 3000 changed, 0 kept\n")
    has(refused(1, "set", "--batch", "-", input=lines), "line 1: no line above names the service")


@case
def destinations_are_moved_to_another_server():
    lab.service()
    lab.service(mark=2)
    for n in range(60):
        lab.ask(key(n))
        lab.ask(key(n), port=81)
    known = servers()
    lab.ipvs(lab.server("-e", "s1", 0))
    of_s1 = {one for one, server in known["FWM 1"].items() if server == "10.0.11.2:0"}
    low = {one for one in of_s1 if int(one.split(".")[3]) < 32}
    gt(len(of_s1), len(low))
    gt(len(low), 0)
    move = ("move", "--from", "10.0.11.2", "--to", "10.0.12.2", "-s", "FWM 1")
    eq(said(*move, "--prefix", "198.18.0.0/27"), f"{len(low)} moved\n")
    eq({one for one, server in servers()["FWM 1"].items() if server == "10.0.11.2:0"}, of_s1 - low)
    eq(json.loads(said(*move, "--json")), {"moved": len(of_s1 - low)})
    eq(servers(), {"FWM 1": {one: "10.0.12.2:0" if one in of_s1 else it for one, it in known["FWM 1"].items()},
                   "FWM 2": known["FWM 2"]})
    for one in of_s1:
        eq(lab.ask(one), "s2")
    eq(said(*move), "0 moved\n")
    # A server that the service does not have is refused, unless --force is given.
    before = servers()
    has(refused(2, "move", "--from", "10.0.12.2", "--to", "10.0.12.3:0"), "FWM 1 has no server 10.0.12.3:0")
    has(refused(2, "set", "-s", "fwm1", key(1), "10.0.12.3"), "FWM 1 has no server 10.0.12.3")
    eq(servers(), before)
    number = sum(it == "10.0.12.2:0" for it in before["FWM 1"].values())
    eq(said("move", "--from", "10.0.12.2", "--to", "10.0.12.3:0", "-s", "FWM 1", "--force"), f"{number} moved\n")
    has(text(), " 10.0.12.3:0 0 removed\n")
    for one, server in before["FWM 1"].items():
        if server == "10.0.12.2:0":
            assert lab.ask(one) in ("s2", "s3", "s4"), one


@case
def bad_input_changes_nothing():
    lab.service()
    lab.service(mark=2, ipv6=True)
    for n in range(20):
        lab.ask(key(n))
    before, good = servers(), f"FWM 1\n  {key(500)} 10.0.12.2:0 1\n"
    for status, why, more in (
            (1, "line 4: the server is missing", f"\n  {key(7)}\n"),
            (1, 'line 3: "10.0.12.2" is no server', f"  {key(7)} 10.0.12.2\n"),
            (1, "line 3: it has no end: the input was cut off", f"  {key(7)} 10.0.12.2:0"),
            (1, 'line 3: "FWM 0" names no service', "FWM 0\n"),
            (1, "line 3: fd00::1 is not of the family of FWM 1", "fd00::1 10.0.12.2:0 1\n"),
            (1, 'line 3: "garbage" is neither', "garbage\n"),
            (1, 'line 3: "-1" is no number of seconds', f"  {key(7)} 10.0.12.2:0 -1\n"),
            (2, "line 3: no service FWM 9 here uses the scheduler", f"FWM 9\n  {key(7)} 10.0.12.2:0 1\n")):
        answer = refused(status, "restore", input=good + more)
        has(answer, why)
        has(answer, "nothing was changed")
        eq(servers(), before)
    has(refused(1, "restore", input=b"FWM 1\n\xff\xfe\n"), "line 2: it is not text; nothing was changed")
    has(refused(2, "restore", "/work/no-such-file"), "/work/no-such-file: No such file")
    eq(said("restore", "--existing", input=good + f"FWM 9\n  {key(7)} 10.0.12.2:0 1\n"),
       "1 created, 0 changed, 0 kept\n")
    sysctl(LIMIT, 30)
    try:
        many = "FWM 1\n" + "".join(f"  {key(n)} 10.0.12.2:0 1\n" for n in range(31))
        has(refused(2, "restore", input=many),
            "line 1: 31 destinations are more than 30, which is net.ipv4.vs.lblc_rs_max_entries; nothing")
        eq(servers()["FWM 1"], before["FWM 1"] | {key(500): "10.0.12.2:0"})
    finally:
        sysctl(LIMIT, 1 << 18)


@case
def what_the_kernel_refuses_has_its_words():
    lab.service()
    eq(refused(2, "set", "fd00::1", "10.0.12.2"),
       "lblcctl: the kernel refused it: key is not of the service's family (Invalid argument (os error 22))\n")
    has(refused(1, "del", "fd00::1"), "fd00::1 is not of the family of FWM 1")
    has(refused(2, "show", "--prefix", "198.18.0.1/8"), "prefix has bits behind prefix-len")
    has(refused(2, "flush", "-s", "fwm 7"), "no such service is bound to this scheduler")
    has(refused(2, "show", "-s", "fwm 7"), "no service FWM 7 here uses the scheduler")
    for wrong in ("", "shove", "set", f"set {key(1)}", "get name", "del", f"del {key(1)} --removed", "show --idle x",
                  "show -s FWM", f"set {key(1)} 10.0.12.2 --batch -"):
        answer = refused(1, *wrong.split())
        assert answer.count("\n") == 1 or not wrong, answer
    eq(said("--version"), f"lblcctl {text('/work/VERSION').split()[-1]}\n")
    if os.path.exists("/usr/bin/setpriv"):
        nobody = ["setpriv", "--reuid", "1000", "--clear-groups", "--inh-caps=-all", "lblcctl", "flush"]
        done = subprocess.run(nobody, text=True, capture_output=True)
        eq((done.returncode, done.stdout), (2, ""))
        has(done.stderr, "CAP_NET_ADMIN")
    unload = run("ipvsadm -C") or unload_all()
    eq(unload, None)
    has(refused(2, "show"), "the module is not loaded: modprobe ip_vs_lblc_rs")
    run("modprobe ip_vs_lblc_rs")
    eq(said("show"), "")
    eq(said("show", "--json"), "[]\n")
    eq(json.loads(said("save", "--json")), [])


@case
def a_file_is_the_old_one_until_it_is_the_new_one():
    lab.service()
    with tempfile.TemporaryDirectory() as folder:
        run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder])
        try:
            saved = folder + "/saved"
            said("set", "--batch", "-", input=f"{key(1)} 10.0.12.2:0 1\n")
            said("save", saved)
            eq(oct(os.stat(saved).st_mode & 0o777), "0o600")
            before = text(saved)
            said("set", "--batch", "-", input="".join(f"{key(n)} 10.0.12.2:0 1\n" for n in range(5000)))
            has(refused(2, "save", saved), "No space left on device")
            eq((text(saved), os.listdir(folder)), (before, ["saved"]))
            said("flush")
            eq(said("restore", saved), "1 created, 0 changed, 0 kept\n")
            eq(servers()["FWM 1"], {key(1): "10.0.12.2:0"})
        finally:
            run(["umount", folder])


def timed(*arguments):
    """The output of lblcctl, the time that it took, and its CPU time."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = said(*arguments)
    end, after = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return printed, f"{end - start:.2f} s ({cpu:.2f} s of the CPU)"


@case
def a_full_table_is_restored_under_traffic():
    lab.service()
    want = big()
    with Traffic() as traffic, tempfile.TemporaryDirectory() as folder:
        traffic.flows()
        with open(folder + "/all", "w") as file:
            file.write("FWM 1\n" + "".join(f"  {one} {it} 7\n" for one, it in want.items()))
        done, took = timed("restore", folder + "/all", "--json")
        done = json.loads(done)
        eq((done["created"] + done["changed"], done["kept"], done["failed"]), (BIG, 0, 0))
        saving = timed("save", folder + "/saved")[1]
        print(f"# {BIG} entries: restored in {took}, saved in {saving}")
        traffic.flows()
        with open(folder + "/saved") as file:
            saved = dict(line.split()[:2] for line in file if line.startswith(" "))
        # Traffic asks for some of these destinations only, so no other server is chosen.
        wrong = {one: saved.get(one) for one, it in want.items() if saved.get(one) != it}
        eq((len(saved), wrong), (BIG, {}))


@case
def a_broken_pipe_is_no_error():
    lab.service()
    said("set", "--batch", "-", input="".join(f"{key(n)} 10.0.12.2:0 1\n" for n in range(20000)))
    done = run("set -o pipefail; lblcctl save | head -n 1", check=False, executable="/bin/bash")
    eq((done.returncode, done.stderr), (0, ""))
    has(done.stdout, "FWM 1 entries 20000 ")


@case
def the_manual_page_has_each_command_and_option():
    """It has no others: the page is compared with --help."""
    page = text("/work/man/lblcctl.8")
    commands = re.findall(r"^  (\w+) ", said("--help").split("Commands:\n")[1].split("Options:")[0], re.M)
    commands.remove("help")
    eq(sorted(re.findall(r"^\.Ss (\w+)$", page, re.M)), sorted(commands), "commands in the page")
    for command in commands:
        part = page.split(f"\n.Ss {command}\n")[1].split("\n.S")[0]
        shown = set(re.findall(r"--([a-z-]+)", said(command, "--help")))
        written = set(re.findall(r"Fl -([a-z-]+)", part))
        eq(written, shown - {"help", "service", "json", "version"}, f"options of {command}")


@case
def a_shell_completes_its_arguments():
    done = run(["bash", "-ec", """
        source <(lblcctl completion bash)
        COMP_WORDS=(lblcctl re) COMP_CWORD=1
        _lblcctl lblcctl re lblcctl
        echo ${COMPREPLY[@]}"""])
    has(done, "restore")
    for shell in ("zsh", "fish"):
        has(said("completion", shell), "restore")


main(lab)
