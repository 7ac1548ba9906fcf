#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""README.md's caches that redirect what comes for foreign addresses: a kernel with NAT."""

import selectors
import socket

from documents import blocks, follow
from harness import case, eq, main, run
from lab import Lab, inside, key

lab = Lab(servers=2)


@case
def the_readmes_redirection():
    run("nft delete table inet lab")
    for family in ("-4", "-6"):
        run(f"ip {family} rule del fwmark 1")
        run(f"ip {family} route del local default dev lo table 100")
    follow(blocks("README.md", "The director")[0])
    redirect = blocks("README.md", "Each cache")[1]
    for name in lab.names:
        with inside(name):
            run("ip route del local 198.18.0.0/15 dev lo table local")
            listener = socket.create_server(("", 3129))
        listener.setblocking(False)
        lab.servers.selector.register(listener, selectors.EVENT_READ, (lab.servers.accept, name))
    eq(lab.ask(key(1), timeout=1), None)  # the caches take no packets for foreign addresses yet
    for name in lab.names:
        with inside(name):
            follow(redirect)
    first = [lab.ask(key(n)) for n in range(20)]
    assert set(first) == set(lab.names), first
    eq([lab.ask(key(n)) for n in range(20)], first)


main(lab)
