# SPDX-License-Identifier: GPL-2.0
"""The counters of the module and of IPVS for firewall mark 1, from their files."""

from harness import wait_until

# Not /proc/net: it is the main thread's, which is in the client's namespace at times.
TABLE = "/proc/thread-self/net/ip_vs_lblc_rs"
STATS = TABLE + "_stats"
LIMIT, DEFAULT_LIMIT = "net/ipv4/vs/lblc_rs_max_entries", 1 << 18
EXPIRATION, DAY = "net/ipv4/vs/lblc_expiration", 86400
MISSES = ("unknown", "expired", "unavailable", "weight0", "overloaded", "threshold", "none")


def numbers(path):
    """{name: number} from the service's line of a file."""
    with open(path) as file:
        for line in file:
            word = line.split()
            if word[:2] == ["FWM", "1"]:
                return dict(zip(word[2::2], map(int, word[3::2])))
    raise RuntimeError(f"{path} has no line for FWM 1")


def calls(stats):
    """The number of calls of schedule()."""
    return stats["hits"] + sum(stats[reason] for reason in MISSES)


def conns():
    """The connections that IPVS has scheduled in this namespace. (The per-CPU file is always up to date.)"""
    with open("/proc/thread-self/net/ip_vs_stats_percpu") as file:
        cpus = file.read().partition("~")[0].splitlines()[2:]  # the lines of CPUs, between titles and sums
    return sum(int(line.split()[1], 16) for line in cpus if line.strip())


def adds_up(began):
    """Asserts that each connection scheduled since conns() was `began` was counted once, and that each entry inserted
    is in the table or was counted as removed."""
    def differences():
        stats = numbers(STATS)
        left = stats["inserts"] - stats["evictions"] - stats["expiries"] - numbers(TABLE)["entries"]
        return calls(stats) - stats["none"] - (conns() - began), left
    try:
        wait_until(lambda: differences() == (0, 0), "the counters add up")
    except RuntimeError:
        raise AssertionError(f"off by {differences()}: {numbers(STATS)}") from None
