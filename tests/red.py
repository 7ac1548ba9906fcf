#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""red.py WHAT: a file of cases of which WHAT is run, a case that must fail; for tests/red.sh. WHAT is one of the cases
here, or a fault of the module lblc_red."""

import atexit
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "selftest"))
from harness import Skip, case, main, run  # noqa: E402


class Nothing:
    """A lab for cases that need none."""

    def clear(self):
        pass


@case
def nothing():
    pass


@case
def failing_case():
    assert 1 == 2, "on purpose"


@case
def skipped_case():
    raise Skip("on purpose")


@case
def end_before_the_plan():
    os._exit(0)


@case
def status_that_nobody_explains():
    atexit.register(os._exit, 3)


@case
def setting_that_stays():
    with open("/proc/sys/net/ipv4/vs/drop_entry", "w") as file:
        file.write("1")


@case
def what_the_module_does():
    if sys.argv[1] == "wait_forever":
        with open("/proc/sys/kernel/hung_task_timeout_secs", "w") as file:
            file.write("2")
    run(["modprobe", "lblc_red", f"what={sys.argv[1]}"])
    run("rmmod lblc_red")


os.environ["CASE"] = sys.argv[1] if sys.argv[1] in globals() else "what_the_module_does"
main(Nothing())
