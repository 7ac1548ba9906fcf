# SPDX-License-Identifier: GPL-2.0
"""The order of servers for a key with flag-2, computed by the program in docs/directors.md."""

import functools
import subprocess


@functools.cache
def program():
    with open("/work/docs/directors.md") as file:
        return file.read().split("```python\n")[1].split("```")[0]


def orders(keys, servers, seed=0):
    """For each key, the addresses of the servers (address, port, weight above 0) in its order."""
    words = " ".join(",".join(map(str, server)) for server in servers)
    said = subprocess.run(["python3", "-c", program()], text=True, capture_output=True, check=True,
                          input="".join(f"{seed} {key} {words}\n" for key in keys))
    return [[word.split(",")[0] for word in line.split()[1:]] for line in said.stdout.splitlines()]
