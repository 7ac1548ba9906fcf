#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A sysctl table that the kernel refuses (docs/upstream-sysctl.md): without the patch the kernel empties the directory,
with it the directory stays as it was. Each case prints which of the two happened, and fails on anything else."""

import os
from types import SimpleNamespace

from harness import Skip, case, ksft, main, run

MODULE = "lblc_sysctl_refused"
DIRECTORY = f"/proc/sys/{MODULE}"


def all_sysctls():
    """The paths of all sysctls that this process can see."""
    return {f"{folder}/{name}" for folder, _, names in os.walk("/proc/sys") for name in names}


def content():
    """The names in the module's directory, with their values."""
    names = os.listdir(DIRECTORY)
    return {name: run(f"cat {DIRECTORY}/{name}") for name in names}


def counted():
    """The messages of the module: the number of entries before the refusal and after it."""
    lines = [line for line in run("dmesg").splitlines() if f"{MODULE}: " in line]
    return [line.split(f"{MODULE}: ")[1] for line in lines[-2:]]


def refuse(links):
    if run(f"modinfo {MODULE}", check=False).returncode:
        raise Skip(f"there is no {MODULE}: kselftest does not build it")
    before = all_sysctls()
    run(f"modprobe {MODULE} links={links}")
    try:
        left, others, said = content(), all_sysctls(), counted()
    finally:
        run(f"rmmod {MODULE}")
    assert left in ({}, {"one": "1", "two": "1"}), left
    assert said == ["2 entries before", f"{len(left)} entries after"], (said, left)
    others = {path for path in others if not path.startswith(DIRECTORY + "/")}
    assert others == before, others ^ before
    assert all_sysctls() == before, all_sysctls() ^ before
    assert not os.path.exists(DIRECTORY), "the directory is still there after rmmod"
    ksft.print_msg(f"links={links}: this kernel {'keeps' if left else 'empties'} the directory")


@case
def a_refused_sysctl_table_empties_its_directory_or_changes_nothing():
    refuse(links=0)


@case
def a_refused_table_of_a_namespace_empties_the_links_or_changes_nothing():
    refuse(links=1)


# Without a lab: the sysctls of the initial network namespace are visible in that only.
main(SimpleNamespace(clear=lambda: None))
