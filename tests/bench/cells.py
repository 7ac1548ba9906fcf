# SPDX-License-Identifier: GPL-2.0
"""The cells of the bench, and what is demanded of them (docs/bench.md)."""

from collections import namedtuple

KEYS = (1, 16, 256, 1000, 4096, 16384, 24576, 262144, 1048576)
SERVERS = (1, 4, 16, 64, 1024)
C_HOLDS = 24576     # entries; more are not remembered
SEED = 4242


class Cell(namedtuple("Cell", "op n d af temp")):
    """What is done, with how many keys and servers, in which family, and how: with hot caches one call right
    after the other, as hot but each after the last one's answer (lone), or with cold caches."""

    def __str__(self):
        return "-".join(filter(None, (self.op, self.temp, f"v{self.af}", f"n{self.n}", f"d{self.d}")))

    @property
    def c_too(self):
        """Whether C does that at all."""
        return self.op in ("stretch-collect", "stretch-teardown")

    @property
    def c_can(self):
        """Whether C's table holds that many; a miss must find room as well. C has no flag-2."""
        return self.op != "agree" and (self.n < C_HOLDS if self.op == "miss" else self.n <= C_HOLDS)


def core(unit):
    """The cells that measure calls of schedule(); caches do not matter to a count of instructions."""
    cells = [Cell("hit", n, 4, af, "hot") for af in (4, 6) for n in KEYS]
    cells += [Cell("hit", 256, d, 4, "hot") for d in SERVERS if d != 4]
    cells += [Cell("saturated", 256, d, 4, "hot") for d in SERVERS]
    cells += [Cell("miss", n, 4, 4, "hot") for n in KEYS if n != C_HOLDS]
    cells += [Cell("miss", 16384, d, 4, "hot") for d in SERVERS if d != 4]
    cells += [Cell("miss", n, 4, 6, "hot") for n in (1000, 16384)]
    # The same with flag-2 (C does not know it).
    cells += [Cell("agree", 16384, d, 4, "hot") for d in SERVERS]
    cells += [Cell("agree", 16384, 64, 6, "hot")]
    cells += [Cell("adversarial", C_HOLDS, 4, af, "hot") for af in (4, 6)]
    if unit == "ns":
        cells += [Cell("hit", n, 4, af, "lone") for af in (4, 6) for n in KEYS]
        cells += [Cell("hit", n, 4, 4, "cold") for n in KEYS if n >= 1000]
        cells += [Cell("hit", 16384, 4, 6, "cold")]
    return cells


# What one call does not show (whole.py): such cells have no `temp`. How long bottom halves wait is counted in
# instructions: in um it is a millisecond when nothing is done, and many while a large array comes or goes.
WHOLE = {
    "time": [Cell("bytes", n, 4, 4, "") for n in (14746, 16384, 262144, 1 << 20)] + [
        Cell("udp", 16384, 16, 4, ""), Cell("flood", C_HOLDS, 4, 4, "")],
    "icount": [Cell(f"stretch-{what}", 1 << 20, 4, 4, "")
               for what in ("nothing", "collect", "resize", "teardown", "evict")],
    "cpus": [Cell("race", 16384, 4, 4, "")],    # on two CPUs, so in QEMU
}
UDP_PAIRS = 10
REGULARS = 1000
RACE_RUNS = 15
RACE_KEYS = 2048    # three times that fits beside those that are there, without another size of the table

# The gate takes these: small ones, and one for each way through schedule().
QUICK = [Cell("hit", n, 4, 4, "hot") for n in (1, 256, 1000, 16384, 1 << 20)] + [
    Cell("hit", 256, 4, 6, "hot"), Cell("hit", 16384, 4, 6, "hot"), Cell("saturated", 256, 64, 4, "hot"),
    Cell("miss", 16384, 4, 4, "hot")]
# Ours: the cost of the first by that of the second, and the most that it may be.
FLAT = (Cell("hit", 1 << 20, 4, 4, "hot"), Cell("hit", 1000, 4, 4, "hot"), 1.1)


def target(cell, unit):
    """The least that C's cost over ours must be, or None. What is demanded of time comes from memory that does
    not have to be waited for; a count of instructions does not know that: it shall not be higher than C's."""
    if unit == "instructions":
        if cell.op == "hit" and cell.d == 4:
            return 1.0
        if (cell.op, cell.d) == ("saturated", 64) or (cell.op, cell.n, cell.d) == ("miss", 16384, 4):
            return 1.0
        return 1000 if cell.op == "adversarial" else None
    if cell.op == "hit" and cell.d == 4 and cell.temp == "hot":
        if cell.n <= 256:
            return 0.95
        return {1000: 1.5, 16384: 5, 24576: 8}.get(cell.n)
    if cell.temp == "cold":
        return 2.5 if cell.n == 16384 else None
    if cell.op == "miss" and (cell.n, cell.d) == (16384, 4):
        return 1.5
    if cell.op == "saturated":
        return {64: 2.5, 1024: 6}.get(cell.d)
    return {"adversarial": 1000, "udp": 1}.get(cell.op)


def limit(cell):
    """For what whole.py measures of ours: "at least" or "at most", and how much; or None."""
    if cell.op.startswith("stretch-"):
        return ("at most", 1000) if cell.op != "stretch-nothing" else None
    return {"bytes": ("at most", 100), "flood": ("at least", 95), "race": ("at least", 1.6)}.get(cell.op)
