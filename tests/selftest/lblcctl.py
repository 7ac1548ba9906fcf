# SPDX-License-Identifier: GPL-2.0
"""Runs lblcctl(8), and makes other versions of the module for it."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from harness import Skip, eq, run
from ynl import in_proc

# As many destinations as a table has by default at most; fewer where the CPU may be emulated.
BIG = 262144 if "deb" not in os.uname().release else 20000

# The module that is installed, and the version of another one.
FILE = run("modinfo -n ip_vs_lblc_rs")
VERSION = run("modinfo -F version ip_vs_lblc_rs")
NEWER = VERSION[:-1] + "9"
# What lblcctl keeps while it reloads the module.
FOLDER = "/run/lblcctl"


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


def version():
    """That of the module that is loaded."""
    with open("/sys/module/ip_vs_lblc_rs/version") as file:
        return file.read().strip()


def another(path, change):
    """Makes a module of the one that is installed, by changing some bytes to as many others."""
    with open(FILE, "rb") as file:
        old = file.read()
    new = change(old)
    eq(len(new), len(old))
    assert new != old, "nothing was changed"
    with open(path, "wb") as file:
        file.write(new)


def newer(module):
    return module.replace(b"\0version=" + VERSION.encode(), b"\0version=" + NEWER.encode())


def broken(module):
    """It cannot be loaded: there is no such symbol."""
    # The linker may let the name be the end of another one.
    assert b"register_ip_vs_scheduler\0" in module, "it registers a scheduler"
    return newer(module).replace(b"register_ip_vs_scheduler\0", b"register_no_vs_scheduler\0")


@contextlib.contextmanager
def installed(change):
    """Installs another module in the place of ours."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy2(FILE, folder + "/old.ko")
        try:
            another(FILE, change)
            yield folder + "/old.ko"
        finally:
            shutil.copy2(folder + "/old.ko", FILE)
            shutil.rmtree(FOLDER, ignore_errors=True)


def servers():
    """{service: {destination: server}}"""
    return {service: {one: it[0] for one, it in found.items()} for service, found in in_proc().items()}
