#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Random messages over both control interfaces, and random bytes in the sysctls, while traffic flows.

A message that is refused must change nothing, one that is accepted at most one thing; /proc must list exactly the
services of lblc_rs, every call must be counted, and the service must go on serving. The same messages must get the same
answers with C's scheduler. SEED=n repeats a run, DECISIONS=n sets the number of messages.
"""

import errno
import os
import random
import socket
import time
from collections import Counter

import ipvs_netlink as netlink_abi
from harness import case, eq, load_both, main, ne, run, unload_all
from ipvs_garbage import OURS, Garbage, renamed
from ipvs_netlink import COMMANDS, DEST, SERVICE, Netlink, address, attribute, split
from ipvs_sockopt import Sockopt
from lab import VIP, Lab, inside, key, sysctl

STATS = "/proc/thread-self/net/ip_vs_lblc_rs_stats"
ENTRIES = "/proc/thread-self/net/ip_vs_lblc_rs"
VS = "net/ipv4/vs/"
MASTER, BACKUP = 1, 2
MARK = {"af": socket.AF_INET, "fwmark": 1}
MISSES = ("unknown", "expired", "unavailable", "weight0", "overloaded", "threshold", "none")
# The errors that a refusal may return.
CLEAR = {errno.errorcode[code] for code in (
    errno.EINVAL, errno.ERANGE, errno.EEXIST, errno.ENOENT, errno.ESRCH, errno.EAFNOSUPPORT,
    errno.EOPNOTSUPP, errno.ENODEV, errno.EFAULT, errno.ENOPROTOOPT,
    # Of the sockets of the sync daemons:
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EACCES)}

lab = Lab()
netlink, sockopt = Netlink(), Sockopt()


def numbers(fields, *names):
    return {list(fields).index(name) + 1 for name in names}


IDENTITY = numbers(SERVICE, "af", "protocol", "addr", "port", "fwmark")
SERVICE_VARIES = numbers(SERVICE, "stats", "stats64")
DEST_VARIES = numbers(DEST, "active", "inactive", "persistent", "stats", "stats64")


def ask(command, payload=b"", dump=True):
    """Sends a request; returns the attributes of the answers, not decoded."""
    return [reply[20:] for reply in netlink.exchange(COMMANDS.index(command) + 1, payload, dump)]


def stable(data, varies):
    """One object without attributes that change by themselves, and with C's name in the place of lblc_rs."""
    nested = next(split(data))[1]
    return tuple((number, payload.replace(b"lblc_rs\0", b"lblc\0"))
                 for number, payload in split(nested) if number not in varies)


def state():
    """{what: value} of everything that messages can change. A service is {identity: (service, servers)}."""
    found = {"timeouts": ask("GET_CONFIG", dump=False)[0], "daemons": tuple(ask("GET_DAEMON"))}
    for data in ask("GET_SERVICE"):
        service = stable(data, SERVICE_VARIES)
        identity = tuple(pair for pair in service if pair[0] in IDENTITY)
        which = attribute(1, b"".join(attribute(*pair) for pair in identity))
        assert identity not in found, f"{name(identity)} is listed twice"
        found[identity] = (service, tuple(stable(one, DEST_VARIES) for one in ask("GET_DEST", which)))
    return found


def name(identity):
    """The name of a service, as in the module's files."""
    value = netlink_abi.decode(SERVICE, b"".join(attribute(*pair) for pair in identity))
    if "fwmark" in value:
        return f"FWM{'6' * (value['af'] == socket.AF_INET6)} {value['fwmark']}"
    protocol = {6: "TCP", 17: "UDP"}.get(value["protocol"], "SCTP")
    if value["af"] == socket.AF_INET6:
        return f"{protocol} [{socket.inet_ntop(socket.AF_INET6, value['addr'])}]:{value['port']}"
    return f"{protocol} {socket.inet_ntoa(value['addr'][:4])}:{value['port']}"


def counters():
    """Yields the lines of STATS as (service, {counter: value})."""
    with open(STATS) as file:
        for line in file:
            service, values = line.split(" hits ")
            word = ["hits", *values.split()]
            yield service, dict(zip(word[::2], map(int, word[1::2])))


def listed(found):
    """The sorted names of the services in a state that use lblc_rs."""
    ours = (*numbers(SERVICE, "scheduler"), b"lblc\0")
    return sorted(name(identity) for identity, value in found.items()
                  if isinstance(identity, tuple) and ours in value[0])


def deliver(message):
    """Sends a message; returns the names of the errors in the answer (0 for success)."""
    kind, what, data, *more = message
    if kind == "netlink":
        return [code and errno.errorcode[code] for code in netlink.converse(data)[0]]
    try:
        if kind == "get":
            size, = more
            # The length may be wrong; the buffer has room for the data.
            sockopt.get_raw(what, data, size, room=max(len(data), min(size, 1 << 20), 1))
        else:
            sockopt.sock.setsockopt(socket.IPPROTO_IP, what, data, *more)
    except OSError as error:
        return [errno.errorcode[error.errno]]
    return [0]


def wild(number):
    """Sends packets to the addresses of all services that there may be."""
    with inside("client"):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        streams = [socket.socket() for _ in range(4)]
    for n in range(8):
        for address_of in (key(1000 + (number * 8 + n) % 500), VIP):
            datagrams.sendto(b"wild", (address_of, 80 + n % 2))
    for n, stream in enumerate(streams):
        stream.setblocking(False)
        stream.connect_ex((VIP if n % 2 else key(1000 + n), 80))
        stream.close()
    datagrams.close()


def mend(scheduler):
    """Makes mark 1 a good service again, in whatever state the messages have left it."""
    whole = MARK | {"scheduler": scheduler, "flags": (4, 2 ** 32 - 1), "timeout": 0, "netmask": 2 ** 32 - 1}
    exists = any(reply["service"].get("fwmark") == 1 and reply["service"]["af"] == socket.AF_INET
                 for reply in netlink.call("GET_SERVICE", dump=True))
    netlink.call("SET_SERVICE" if exists else "NEW_SERVICE", service=whole)
    good = {(address(lab.address(server)), 0) for server in lab.names}
    for found in [reply["dest"] for reply in netlink.call("GET_DEST", dump=True, service=MARK)]:
        if (found["addr"], found["port"]) in good and found["af"] == socket.AF_INET:
            good.remove((found["addr"], 0))
        else:
            netlink.call("DEL_DEST", service=MARK,
                         dest={field: found[field] for field in ("addr", "port", "af")})
    for server in lab.names:
        which = (address(lab.address(server)), 0)
        netlink.call("NEW_DEST" if which in good else "SET_DEST", service=MARK,
                     dest={"addr": which[0], "port": 0, "method": 3, "weight": 1000, "upper": 0, "lower": 0})


def serves(scheduler):
    """Mark 1 serves, and each call is counted."""
    def calls():
        return sum(values["hits"] + sum(values[miss] for miss in MISSES)
                   for service, values in counters() if service == "FWM 1")
    before = calls() if scheduler == OURS else 0
    got = lab.send([key(n) for n in range(20)])
    assert None not in got, got
    if scheduler == OURS:
        eq(calls(), before + 20, "the number of calls")
        with open(ENTRIES) as file:
            shown = [line.split(" entries")[0] for line in file if not line.startswith("  ")]
        eq(sorted(shown), listed(state()), ENTRIES)


def deliver_all(scheduler, seed, count):
    """Delivers `count` messages; returns (description, errors, hash of the state) of each."""
    garbage, answers = Garbage(seed, netlink.family), []
    seen, taken, start = Counter(), Counter(), time.monotonic()
    now = state()
    for number in range(count):
        message = renamed(garbage.message(), scheduler)
        codes = deliver(message)
        then, now = now, state()
        changed = [what for what in then.keys() | now.keys() if then.get(what) != now.get(what)]
        where = f"message {number}, {str(message)[:200]}: {codes}"
        seen.update(code or "taken" for code in codes or ["no answer"])
        assert CLEAR.issuperset(filter(None, codes)), where
        if codes and all(codes):
            assert not changed, f"{where} was refused, but changed {str(changed)[:200]}"
        elif changed:
            taken[str(message[1]).split()[0]] += 1
            assert len(changed) == 1 or len(now) == 2, f"{where} changed {str(changed)[:200]}"
        if changed and scheduler == OURS:
            eq(sorted(service for service, _ in counters()), listed(now), f"{where}; the list of services")
        answers.append((where, codes, hash(frozenset(now.items()))))
        if number % 100 == 99:
            wild(number)
            mend(scheduler)
            serves(scheduler)
            now = state()
    print(f"# {scheduler}: {count} messages in {time.monotonic() - start:.1f} s, "
          f"{sum(taken.values())} of which changed something: {dict(seen.most_common())}")
    print(f"# changed by: {dict(taken.most_common())}")
    for each in (MASTER, BACKUP):
        try:
            netlink.call("DEL_DAEMON", daemon={"state": each})
        except OSError:
            pass
    return answers


def seed():
    chosen = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"# SEED={chosen}")
    return chosen


@case
def random_messages_are_answered_as_with_c():
    load_both()
    chosen, count = seed(), int(os.environ.get("DECISIONS", 10_000))
    answers = []
    for scheduler in ("lblc", OURS):
        lab.clear()
        answers.append(deliver_all(scheduler, chosen, count))
    for (where, codes, after), (_, ours, after_ours) in zip(*answers):
        assert codes == ours, f"{where}, and with {OURS} {ours}"
        assert after == after_ours, f"{where}: another state with {OURS}"


@case
def many_services_and_servers():
    whole = {"af": socket.AF_INET, "scheduler": OURS, "flags": (4, 2 ** 32 - 1), "timeout": 0,
             "netmask": 2 ** 32 - 1}
    for mark in range(1, 2001):
        netlink.call("NEW_SERVICE", service=whole | {"fwmark": mark})
    mend(OURS)
    for port in range(1, 2001):
        netlink.call("NEW_DEST", service=MARK, dest={
            "addr": address("10.0.11.2"), "port": port, "method": 3, "weight": 0, "upper": 0, "lower": 0})
    eq([service for service, _ in counters()], [f"FWM {mark}" for mark in range(1, 2001)])
    eq(len(netlink.call("GET_DEST", dump=True, service=MARK)), 2000 + len(lab.names))
    serves(OURS)
    for port in range(1, 1001):
        netlink.call("DEL_DEST", service=MARK, dest={"addr": address("10.0.11.2"), "port": port})
    serves(OURS)
    netlink.call("FLUSH")
    eq([*counters()], [])


# Our sysctls ------------------------------------------------------------------------------------

def nonsense(rng):
    """Bytes to write to a sysctl that is a number, and their offsets."""
    number = str(rng.choice((0, 1, 5, 86400, 2 ** 24, 2 ** 24 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 64,
                                -1, -2 ** 31, rng.getrandbits(40)))).encode()
    data = rng.choice((
        number, number, number + b"\n", b" \t" + number + b" ", b"+" + number, number + b"\0", b"\0" + number,
        number[:1] + b"\0" + number[1:], number + b" " + number, hex(abs(int(number))).encode(),
        number + b"x", b"", b"\n", b" ", b"-", b"0" * 5000 + number, b" " * 5000 + number,
        number * rng.choice((100, 10_000)), number + b" " * rng.choice((4000, 200_000)),
        rng.randbytes(rng.choice((1, 4, 16, 5000))), number.translate(bytes([c ^ 0x80 for c in range(256)]))))
    if rng.random() < 0.2:
        return [(data[:1], 0), (data[1:], 1)]
    return [(data, rng.choice((0, 0, 0, 0, 1, 4096, 2 ** 40)))]


def written(path, parts, value):
    """Sets the sysctl to `value` and writes each part; returns the results, and the value afterwards."""
    sysctl(path, value)
    said = []
    file = os.open("/proc/sys/" + path, os.O_RDWR)
    for part, at in parts:
        try:
            said.append(os.pwrite(file, part, at))
        except OSError as error:
            said.append(errno.errorcode[error.errno])
    os.close(file)
    return said, int(sysctl(path))


@case
def sysctls_refuse_nonsense_as_c_does():
    """The sysctls of the module behave as others of the kernel that are numbers."""
    chosen, count = seed(), 1500
    expected = []
    unload_all()
    run("modprobe ip_vs_lblc")
    for path, value in ((VS + "lblc_expiration", 77), (VS + "am_droprate", 77)):
        rng, before = random.Random(chosen), sysctl(path)
        expected.append([written(path, nonsense(rng), value) for _ in range(count)])
        sysctl(path, before)  # C's may be negative now, which ours would take over
    run("rmmod ip_vs_lblc")
    run("modprobe ip_vs_lblc_rs")
    seen = Counter()
    for path, limits, theirs in ((VS + "lblc_expiration", (0, 2 ** 31), expected[0]),
                                 (VS + "lblc_rs_max_entries", (1, 2 ** 24), expected[1])):
        rng, before = random.Random(chosen), sysctl(path)
        for said, value in theirs:
            parts = nonsense(rng)
            if not limits[0] <= value <= limits[1]:
                # A write at an offset is ignored, as by the kernel's own.
                said = [told if told == 0 or isinstance(told, str) or at else "EINVAL"
                        for told, (_, at) in zip(said, parts)]
                value = 77
            got = written(path, parts, 77)
            seen.update(map(str, got[0]))
            assert got == (said, value), f"{path}: {[(part[:40], at) for part, at in parts]}: {got}, " \
                f"not {(said, value)}"
        sysctl(path, before)
    print(f"# {2 * count} writes: {seen['EINVAL']} refused")
    lab.service()
    ne(lab.ask(key(1)), None)


main(lab)
