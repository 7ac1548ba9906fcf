# SPDX-License-Identifier: GPL-2.0
"""Runs lblctop(8), for top.py and top_output.py."""

import json
import shutil
import subprocess

from harness import Skip

try:
    from terminal import Terminal
except ImportError:
    Terminal = None


def top(*options, **size):
    """lblctop on a terminal."""
    if not Terminal or not shutil.which("lblctop"):
        raise Skip("there is no lblctop, or no pyte")
    return Terminal(["lblctop", "--interval", "0.5", *options], **size)


def said(*options, prefix=()):
    """Runs lblctop; returns (stdout, stderr, exit status)."""
    if not shutil.which("lblctop"):
        raise Skip("there is no lblctop")
    done = subprocess.run([*prefix, "lblctop", *options], text=True, capture_output=True)
    return done.stdout, done.stderr, done.returncode


def destinations():
    """{address and port of a server: the number of its destinations}, of all services."""
    found = {}
    with open("/proc/thread-self/net/ip_vs_lblc_rs") as file:
        for line in file:
            if line.startswith("  "):
                server = line.split()[1]
                found[server] = found.get(server, 0) + 1
    return found


def judged(interval="0.1"):
    """{name: object} of each service, from --json."""
    out, err, status = said("--json", "--interval", interval)
    assert status == 0 and not err, (out, err)
    return {it["service"]: it for it in json.loads(out)["services"]}
