# SPDX-License-Identifier: GPL-2.0
"""The kernel's own netlink client, tools/net/ynl, with our specification: as a program, cli.py, and as
a library."""

import errno
import json
import os
import socket
import sys
import time

from harness import eq, run, wait_until
from lab import Lab, key

YNL = os.environ.get("YNL_DIR", "/lblc/linux/tools/net/ynl/pyynl")
sys.path.append(YNL)
from lib import NlError, YnlFamily  # noqa: E402, from the kernel's tree
from lib.ynl import GenlProtocol, YnlException  # noqa: E402

SPECIFICATION = "/work/bindings/netlink/ip_vs_lblc_rs.yaml"
FILE = "/proc/thread-self/net/ip_vs_lblc_rs"
FILE_STATS = FILE + "_stats"
INET, INET6 = 2, 10
SO_RCVBUFFORCE = 33
MARK = {"af": INET, "fwmark": 1}
MARK2 = {"af": INET, "fwmark": 2}


def client(**more):
    """The kernel's library, in the namespace of this thread. Waits for the family, which is registered a moment after
    the module was loaded."""
    def attempt():
        GenlProtocol.genl_family_name_to_id = {}  # the family's number changes when the module is loaded again
        try:
            return YnlFamily(SPECIFICATION, schema="", **more)
        except YnlException:
            return None
    return wait_until(attempt, "the family is registered")


def cli(*arguments, **attributes):
    """The output of the kernel's program."""
    client()
    more = ["--json", json.dumps(attributes)] if attributes else []
    said = run([sys.executable, f"{YNL}/cli.py", "--spec", SPECIFICATION,
                "--schema", f"{YNL}/../../../../Documentation/netlink/genetlink-legacy.yaml",
                "--output-json", *arguments, *more])
    return json.loads(said)


def refused(operation, attributes, code, words, dump=False):
    """Asserts that the request is refused with this error, and these words in the extended acknowledgement."""
    family = client()
    try:
        answer = family.dump(operation, attributes) if dump else family.do(operation, attributes)
    except NlError as error:
        said = str(error.nl_msg.extack or {})
        assert (errno.errorcode[error.error], words in said) == (errno.errorcode[code], True), \
            f"{operation} {attributes}: {error}, not {errno.errorcode[code]} {words}"
    else:
        raise AssertionError(f"{operation} {attributes}: {answer}, not {errno.errorcode[code]}")


def entries(family=None, **wanted):
    """{service: {key: entry}} of a dump; asserts that it has no entry twice."""
    found = {}
    for message in (family or client()).dump("entry-get", wanted):
        if not message:
            continue
        here = found.setdefault(name(message["service"]), {})
        for entry in message["entry"]:
            assert entry["key"] not in here, f"{entry['key']} is there twice"
            here[entry["key"]] = entry
    return found


def name(service):
    """The name of a service in /proc, from its attributes."""
    six = "6" * (service["af"] == INET6)
    if "fwmark" in service:
        return f"FWM{six} {service['fwmark']}"
    address = f"[{service['addr']}]" if six else service["addr"]
    protocol = {6: "TCP", 17: "UDP", 132: "SCTP"}[service["protocol"]]
    return f"{protocol} {address}:{service['port']}"


def in_proc():
    """{service: {key: (server, seconds, removed)}}"""
    found, here = {}, None
    with open(FILE) as file:
        for line in file:
            if line.startswith("  "):
                destination, server, idle, *removed = line.split()
                here[destination] = (server, int(idle), bool(removed))
            else:
                here = found.setdefault(line.split(" entries")[0], {})
    return found


def as_in_proc(found):
    """A result of entries() in the form of in_proc()."""
    def server(entry):
        address = entry["server-addr"]
        return f"[{address}]:{entry['server-port']}" if ":" in address else \
            f"{address}:{entry['server-port']}"
    return {service: {destination: (server(entry), entry["idle"] // 1000, "removed" in entry)
                      for destination, entry in shown.items()} for service, shown in found.items()}


def entry(number, server, idle=None, port=0, ipv6=False):
    """An entry for entry-set."""
    found = {"key": key(number, ipv6), "server-addr": Lab.address(server, ipv6).strip("[]"),
             "server-port": port}
    return found if idle is None else found | {"idle": idle}


def set_all(service, them, mode="replace"):
    return client().do("entry-set", {"service": service, "entry": them, "mode": mode})


def answer(created=0, changed=0, kept=0, failed=0):
    return {"created": created, "changed": changed, "kept": kept, "failed": failed}


class Listener:
    """A member of the multicast group, and the changes that it has received. The receive buffer has room for a flood,
    as on a busy machine some time passes until it is read."""

    def __init__(self, room=64 << 20):
        self.family = client()
        self.family.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, room)
        self.family.ntf_subscribe("changes")
        self.heard, self.passed_over = [], 0

    def listen(self):
        """Reads the messages that have arrived."""
        self.family.check_ntf()
        while not self.family.async_msg_queue.empty():
            told = self.family.async_msg_queue.get_nowait()
            eq(told["name"], "change")
            message = told["msg"]
            self.passed_over += message.get("passed-over", 0)
            service = name(message["service"]) if "service" in message else None
            self.heard += [(service, change) for change in message.get("change", [])]
        return self.heard

    def wait(self, number):
        """Waits for this number of changes; returns and removes them."""
        wait_until(lambda: len(self.listen()) + self.passed_over >= number, f"{number} changes are sent")
        time.sleep(0.3)
        self.listen()
        eq((len(self.heard), self.passed_over), (number, 0), "the number of changes")
        heard, self.heard = self.heard, []
        return heard

    def until(self, destination):
        """Waits for a change of this destination."""
        wait_until(lambda: any(it["entry"]["key"] == destination for _, it in self.listen()),
                   f"the change of {destination} is sent")

    def one(self):
        """The next change, alone: its service, kind, reason, key, server and the server before it."""
        (service, change), = self.wait(1)
        old = change.get("old-server-addr")
        eq("old-server-port" in change, old is not None)
        it = change["entry"]
        return service, change["kind"], change.get("reason"), it["key"], it["server-addr"], old

    def close(self):
        self.family.sock.close()
