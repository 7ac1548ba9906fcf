# SPDX-License-Identifier: GPL-2.0
"""Runs lblcctl(8), for ctl.py and reload.py."""

import shutil
import subprocess

from harness import Skip, eq

# As many destinations as a table has by default at most.
BIG = 262144


def ctl(*arguments, input=None, **more):
    """The finished process."""
    if not shutil.which("lblcctl"):
        raise Skip("there is no lblcctl")
    if isinstance(input, str):
        input = input.encode()
    done = subprocess.run(["lblcctl", *arguments], input=input, capture_output=True, **more)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def said(*arguments, status=0, **more):
    """What it prints. It has this exit status, and no complaint unless that is not 0."""
    done = ctl(*arguments, **more)
    eq((done.returncode, done.stderr if status == 0 else ""), (status, ""), f"the end of {arguments}: {done.stderr}")
    return done.stdout


def refused(status, *arguments, **more):
    """Its complaint."""
    done = ctl(*arguments, **more)
    eq(done.returncode, status, f"the status of {arguments}: {done.stdout}{done.stderr}")
    return done.stderr


def big():
    """{destination: server}, as many as fit."""
    return {f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}": f"10.0.{11 + n % 4}.2:0" for n in range(BIG)}
