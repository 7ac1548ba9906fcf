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
