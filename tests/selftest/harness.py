# SPDX-License-Identifier: GPL-2.0
"""Shared by all files of cases: commands, waiting, comparisons, and a KTAP line for each case."""

import errno
import os
import re
import subprocess
import sys
import time
import traceback

import verdict

sys.path.append(os.environ.get("KSFT_DIR", os.path.dirname(__file__) + "/..") + "/kselftest")
import ksft  # noqa: E402, from the kernel's tools/testing/selftests


# The factor of all time limits, for kernels with debugging options; set by the caller as in kselftest.
SLOW = 5 if os.environ.get("KSFT_MACHINE_SLOW") else 1


def run(command, check=True, **more):
    """Runs a command; returns its output, or raises with its error message. Without `check`, returns the result."""
    done = subprocess.run(command, shell=isinstance(command, str), text=True, capture_output=True,
                          **more)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip() if check else done


def wait_until(condition, what, seconds=60):
    """Waits until the condition returns a true value; returns that. The limit is for hangs: a minute is enough also
    where other programs keep all CPUs busy."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise RuntimeError(f"gave up waiting: {what}")
        time.sleep(0.002)


def with_progress(items):
    """Yields the items; every 30 seconds prints how many are done."""
    told = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() > told + 30:
            told = time.monotonic()
            ksft.print_msg(f"{done} of {len(items)} so far")
        yield item


def eq(got, want, what="the value"):
    """Asserts that they are equal; shows both if not, or of two dictionaries what differs."""
    if got == want:
        return
    if isinstance(got, dict) and isinstance(want, dict):
        raise AssertionError(what + " differs:\n" + "\n".join(verdict.differences(want, got)))
    raise AssertionError(f"{what} is {got!r}, not {want!r}")


def ne(got, unwanted, what="the value"):
    assert got != unwanted, f"{what} is {got!r}"


def gt(got, bound, what="the value"):
    assert got > bound, f"{what} is {got!r}, not more than {bound!r}"


def ge(got, bound, what="the value"):
    assert got >= bound, f"{what} is {got!r}, less than {bound!r}"


def le(got, bound, what="the value"):
    assert got <= bound, f"{what} is {got!r}, more than {bound!r}"


def has(got, part, what="the value"):
    assert part in got, f"{what} is {got!r}, without {part!r}"


def lacks(got, part, what="the value"):
    assert part not in got, f"{what} is {got!r}, with {part!r}"


class Skip(Exception):
    """Raised by a case that this kernel or machine cannot run."""


def loaded():
    """The names of the loaded modules."""
    with open("/proc/modules") as file:
        return {line.split()[0] for line in file}


def logged(message):
    """The number of times the message is in the kernel's log."""
    return run("dmesg").count(message)


def unload_all():
    """Unloads C's module and ours, if they are loaded."""
    for module in ("ip_vs_lblc_rs", "ip_vs_lblc"):
        if module in loaded():
            run(f"rmmod {module}")


def load_both():
    """Loads C's module and ours. C's must be first: it is refused once ours is loaded."""
    if not {"ip_vs_lblc", "ip_vs_lblc_rs"} <= loaded():
        unload_all()
        run("modprobe ip_vs_lblc")
        run("modprobe ip_vs_lblc_rs")
        run("sysctl -qw net.ipv4.vs.lblc_rs_keep=0")  # a table is lost with its service, as C's


def refuses(sysctl, path, values):
    """Asserts that the sysctl `path`, which `sysctl` reads and writes, refuses each of the values and stays as it is."""
    before = sysctl(path)
    for value in values:
        try:
            sysctl(path, f"{value}\n")
        except OSError as error:
            eq(error.errno, errno.EINVAL, f"the error for {value!r}")
        else:
            raise AssertionError(f"{value!r} was accepted")
        eq(sysctl(path), before, f"{path} after {value!r}")


def commands(title):
    """The lines of an example in the manual page."""
    with open("/work/man/ip_vs_lblc_rs.4") as file:
        example = file.read().split(f"\n.Ss {title}\n")[1]
    lines = example.split(".Bd -literal -offset indent\n")[1].split(".Ed\n")[0]
    return lines.replace("\\e", "\\").splitlines()


def the_kernel_is_unharmed():
    """The last case of every file: the module loads and unloads, and has left the kernel, and everything outside of
    the module, as they were."""
    run("modprobe ip_vs_lblc_rs")
    unload_all()
    wrong = verdict.complaints()
    assert not wrong, "\n".join(wrong)


cases = []


def case(function):
    """Decorator: makes a function without arguments a case of its file. Cases run in the order of their definition."""
    cases.append(function)
    return function


def undecorated():
    """The functions of the file without arguments that nothing calls: cases without their decorator."""
    with open(sys.argv[0]) as file:
        source = file.read()
    names = {function.__name__ for function in cases}
    return [name for name in re.findall(r"^def (\w+)\(\)", source, re.MULTILINE)
            if name not in names and len(re.findall(rf"\b{name}\b", source)) == 1]


def main(lab):
    """Runs the cases of the file and prints KTAP; the exit status is kselftest's.
    CASE=name (a regular expression) chooses."""
    if names := undecorated():
        ksft.print_msg(f"neither @case nor called: {', '.join(names)}")
        sys.exit(ksft.KSFT_FAIL)
    wanted = os.environ.get("CASE")
    chosen = [one for one in cases if not wanted or re.fullmatch(wanted, one.__name__)]
    if not chosen:
        ksft.print_msg(f"no case matches {wanted} here; some need FULL=1")
        sys.exit(ksft.KSFT_FAIL)
    chosen.append(the_kernel_is_unharmed)
    sys.stdout.reconfigure(line_buffering=True)
    verdict.begin()
    ksft.print_header()
    ksft.set_plan(len(chosen))
    for one in chosen:
        start = time.monotonic()
        try:
            lab.clear()
            one()
        except Skip as why:
            ksft.print_msg(why)
            ksft.test_result_skip(one.__name__)
        except Exception as error:  # any exception fails the case
            frames = [frame for frame in traceback.extract_tb(error.__traceback__)
                      if frame.filename == sys.argv[0]]
            line = frames[-1].line if frames else ""
            for text in f"{type(error).__name__}: {error}\nat: {line}".splitlines():
                ksft.print_msg(text)
            ksft.test_result_fail(one.__name__)
        else:
            ksft.test_result_pass(one.__name__)
        ksft.print_msg(f"{time.monotonic() - start:.1f} s")
    if ksft.ksft_cnt["skip"] == len(chosen) - 1 > 0:
        sys.exit(ksft.KSFT_SKIP)
    ksft.finished()
