# SPDX-License-Identifier: GPL-2.0
"""Runs lblcctl(8), and makes other versions of the module for it."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from harness import Skip, eq, run
from ynl import in_proc

# The number of destinations in big(): the default limit of a table; fewer where the CPU may be emulated.
BIG = 262144 if "deb" not in os.uname().release else 20000

# The file and the version of the installed module, and the version of another one.
FILE = run("modinfo -n ip_vs_lblc_rs")
VERSION = run("modinfo -F version ip_vs_lblc_rs")
NEWER = VERSION[:-1] + "9"
# The folder in which lblcctl keeps its file while it reloads the module.
FOLDER = "/run/lblcctl"


def ctl(*arguments, input=None, **more):
    """Runs lblcctl; returns the finished process."""
    if not shutil.which("lblcctl"):
        raise Skip("there is no lblcctl")
    if isinstance(input, str):
        input = input.encode()
    done = subprocess.run(["lblcctl", *arguments], input=input, capture_output=True, **more)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def said(*arguments, status=0, **more):
    """The output of lblcctl. Asserts that it has this exit status, and if that is 0, prints no error."""
    done = ctl(*arguments, **more)
    eq((done.returncode, done.stderr if status == 0 else ""), (status, ""), f"the end of {arguments}: {done.stderr}")
    return done.stdout


def refused(status, *arguments, **more):
    """The error of lblcctl, which must have this exit status."""
    done = ctl(*arguments, **more)
    eq(done.returncode, status, f"the status of {arguments}: {done.stdout}{done.stderr}")
    return done.stderr


def big():
    """{destination: server} for BIG destinations."""
    return {f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}": f"10.0.{11 + n % 4}.2:0" for n in range(BIG)}


def version():
    """The version of the loaded module."""
    with open("/sys/module/ip_vs_lblc_rs/version") as file:
        return file.read().strip()


def another(path, change):
    """Makes another module from the installed one: `change` returns its bytes, the same number."""
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
    """A module that cannot be loaded, as it refers to a symbol that does not exist."""
    # The linker may store the name as the end of a longer one.
    assert b"register_ip_vs_scheduler\0" in module, "it registers a scheduler"
    return newer(module).replace(b"register_ip_vs_scheduler\0", b"register_no_vs_scheduler\0")


def nameless(module):
    """It loads, and services can be bound to it, but it has no netlink family with our name."""
    family = b"\0" * 8 + b"ip_vs_lblc_rs\0\0\0" + (1).to_bytes(4, "little")  # struct genl_family
    eq(module.count(family), 1, "the number of families")
    return newer(module).replace(family, family.replace(b"ip_vs", b"ip_us"))


@contextlib.contextmanager
def installed(change):
    """Installs another module in the place of ours, while its context is entered."""
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
