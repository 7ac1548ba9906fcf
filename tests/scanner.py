#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of scripts/scan-console on recorded consoles. KTAP; CASE (a regular expression) chooses.

tests/scanner/KIND-WHAT.console has a report of that kind, caused by lblc_red with what=WHAT;
tests/scanner/clean-*.console have none."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import re
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("scanner", str(TOP / "scripts/scan-console"))
scanner = importlib.util.module_from_spec(importlib.util.spec_from_loader("scanner", loader))
loader.exec_module(scanner)
RECORDED = sorted((TOP / "tests/scanner").glob("*.console"))


def scan(text):
    """The exit status and the output of scan-console on a console."""
    said = io.StringIO()
    with tempfile.NamedTemporaryFile("w", suffix=".console") as file:
        file.write(text)
        file.flush()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = scanner.main([file.name])
    return status, said.getvalue()


def kinds(said):
    """The kinds of complaints in the output of scan-console."""
    return re.findall(r"\.console:\d+: (.*)", said)


def sees(path):
    text = path.read_text()
    kind = path.name.split("-")[0].replace("_", " ")
    status, said = scan(text)
    assert status == 1 and kinds(said)[0] == kind, (status, kinds(said))
    # A guest can end at any moment: the first line of the report must be enough.
    first = next(index for index, line in enumerate(text.split("\n")) if scanner.complaint(line))
    assert text.split("\n")[first].strip() in said, said
    broken_off = "\n".join(text.split("\n")[:first + 1])
    assert scan(broken_off)[0] == 1, broken_off


def passes(path):
    status, said = scan(path.read_text())
    assert status == 0 and not said, said


def a_line_of_the_kernel_in_the_middle_of_ktap():
    for line in ("ok 3 a_ca[   12.345678] BUG: unable to handle page fault for address: 01",
                 "# 1.2 s[   12.345678][  T137] WARNING: suspicious RCU usage",
                 "not ok 4[    1.000000] INFO: task kworker:8 blocked for more than 10 seconds."):
        assert scan(line)[0] == 1, line


def words_of_a_case_are_no_complaints():
    for line in ("ok 3 a_BUG_in_the_table", "not ok 4 BUG: KASAN: Oops", "# WARNING: of a tool",
                 "# AssertionError: Call Trace: in a message", "ok 5 general_protection # SKIP Oops",
                 "[    1.500000] SELinux: DEBUG enabled", "kasan: KernelAddressSanitizer initialized",
                 "[    0.1] kmemleak: Kernel memory leak detector initialized (mem pool available: 4)",
                 "[    2.000000] kmemleak: 0 new suspected memory leaks"):
        assert scan(line)[0] == 0, line


def each_complaint_is_shown_with_its_surroundings():
    quiet = "[    1.000000] nothing\n"
    text = quiet * 50 + "[    2.000000] WARNING: one\n" + quiet * 100 + "[    3.000000] BUG: two\n" + quiet
    status, said = scan(text)
    assert status == 1 and kinds(said) == ["WARNING", "BUG"], said
    assert ":51: WARNING" in said and ":152: BUG" in said and said.count("nothing") == 3 + 12 + 3 + 1, said


def silence_is_no_approval():
    statuses = [scan(text)[0] for text in ("", "\n\n")]
    with contextlib.redirect_stderr(io.StringIO()):
        statuses.append(scanner.main(["/does/not/exist"]))
    assert statuses == [2, 2, 2], statuses


def main():
    cases = [(f"scanner_sees_{path.stem}", lambda path=path: sees(path))
             for path in RECORDED if not path.name.startswith("clean-")]
    cases += [(f"scanner_passes_{path.stem}", lambda path=path: passes(path))
              for path in RECORDED if path.name.startswith("clean-")]
    cases += [(f"scanner_{case.__name__}", case) for case in (
        a_line_of_the_kernel_in_the_middle_of_ktap, words_of_a_case_are_no_complaints,
        each_complaint_is_shown_with_its_surroundings, silence_is_no_approval)]
    cases = [case for case in cases if re.fullmatch(os.environ.get("CASE", ".*"), case[0])]
    print(f"TAP version 13\n1..{len(cases)}")
    for number, (name, case) in enumerate(cases, 1):
        try:
            case()
            print(f"ok {number} {name}")
        except Exception as error:  # any exception fails the case
            for line in f"{type(error).__name__}: {error}".splitlines():
                print(f"# {line}")
            print(f"not ok {number} {name}")


main()
