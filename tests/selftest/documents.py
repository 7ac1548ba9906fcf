# SPDX-License-Identifier: GPL-2.0
"""The blocks of commands in the documents, so that cases run them as they stand there."""

import re

from harness import run

TOP = "/work/"


def blocks(document, title):
    """The indented blocks below a heading of a document in Markdown, up to the next heading."""
    with open(TOP + document) as file:
        text = file.read()
    heading = re.search(rf"^#+ {re.escape(title)}\n", text, re.M)
    assert heading, f"{document} has no heading {title}"
    text = re.split(r"^#", text[heading.end():], maxsplit=1, flags=re.M)[0]
    found = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, re.M)
    found = [re.sub(r"^ {4}", "", block, flags=re.M).strip() for block in found]
    return [block for block in found if block]


def follow(block):
    """Runs a block in a shell, in the checkout; the first command that fails is an error."""
    return run(["bash", "-ec", block], cwd=TOP)


def without_marks():
    """Removes all marks from the director, and the routes for them."""
    for table in ("inet lab", "inet cache", "ip cache", "inet sessions"):
        run(f"nft delete table {table}", check=False)
    for family in ("-4", "-6"):
        for mark in (1, 2):
            while not run(f"ip {family} rule del fwmark {mark}", check=False).returncode:
                pass
        run(f"ip {family} route flush table 100", check=False)


def director(ipv6=False):
    """The director of README.md, with or without its IPv6 part."""
    without_marks()
    for block in blocks("README.md", "The director")[:1 + ipv6]:
        follow(block)
