# SPDX-License-Identifier: GPL-2.0
"""The cells of the bench, and their targets (docs/bench.md)."""

from collections import namedtuple

KEYS = (1, 16, 256, 1000, 4096, 16384, 24576, 262144, 1048576)
SERVERS = (1, 2, 4, 16, 64, 1024)
C_HOLDS = 24576     # the most entries of C's table
SEED = 4242


OPS = {
    "hit": "a known key, and its server is kept",
    "hit-x": "the same, and each server has an upper threshold (ipvsadm -x), which is not reached",
    "hit-flag1": "the same with ipvsadm -b flag-1, without thresholds",
    "saturated": "the same, but each server has weight 1 and two active connections: all of them are looked at",
    "relief": "as saturated, but another server has no connection, so the key moves there",
    "quiesced": "a known key moves, as its server has weight 0",
    "removed": "a known key moves, as its server was removed",
    "expired": "a known key was idle for longer than lblc_expiration (ours only)",
    "miss": "a new key is inserted",
    "evict": "a new key, and the table is full: ours evicts, C at 24576 entries does not learn the key",
    "agree": "a new key with flag-2 (ours only)",
    "adversarial": "a known key, and C has all keys in one chain",
}
MOVES = ("relief", "quiesced", "removed", "expired")
# Operations with locks or counts that CPUs share. Their time is measured in the kernel `smp`: in `um`, C's instructions
# for these have no lock prefix, unlike ours.
ATOMIC = ("miss", "evict", "agree", *MOVES, "udp")


class Cell(namedtuple("Cell", "op n d af temp")):
    """An operation, the numbers of keys and servers, the address family, and the kind: hot, calls in succession with
    hot caches; lone, as hot, but each call begins when the result of the last one is known; cold and cold-lone, the
    same with cold caches. OPS describes the operations of one call."""

    def __str__(self):
        return "-".join(filter(None, (self.op, self.temp, f"v{self.af}", f"n{self.n}", f"d{self.d}")))

    @property
    def c_too(self):
        """Whether C has the operation."""
        return self.op in ("stretch-collect", "stretch-teardown")

    @property
    def c_can(self):
        """Whether C does this, and its table can have that many entries; a miss needs room for another one."""
        if OPS.get(self.op, "").endswith("(ours only)"):
            return False
        if self.op == "evict":
            return self.n == C_HOLDS
        return self.n < C_HOLDS if self.op == "miss" else self.n <= C_HOLDS


def core(unit):
    """The cells that measure calls of schedule(). Instruction counts do not depend on caches."""
    cells = [Cell("hit", n, 4, af, "hot") for af in (4, 6) for n in KEYS]
    cells += [Cell("hit", 256, d, 4, "hot") for d in SERVERS if d != 4]
    cells += [Cell(op, 256, 4, af, "hot") for op in ("hit-x", "hit-flag1") for af in (4, 6)]
    cells += [Cell("saturated", 256, d, 4, "hot") for d in SERVERS]
    cells += [Cell("saturated", 256, 4, 6, "hot")]
    cells += [Cell("relief", 256, d, 4, "hot") for d in SERVERS[1:]]
    cells += [Cell(op, 256, d, 4, "hot") for op in ("quiesced", "removed", "expired") for d in (2, 4, 64)]
    cells += [Cell("miss", n, d, 4, "hot") for d in SERVERS[1:] for n in (1, 16, 256, 1000, 16384, 262144)]
    cells += [Cell("miss", n, 4, 4, "hot") for n in (4096, 1048576)] + [Cell("miss", 16384, 1, 4, "hot")]
    cells += [Cell("miss", n, 4, 6, "hot") for n in (1, 1000, 16384)]
    cells += [Cell("evict", n, 4, 4, "hot") for n in (1000, C_HOLDS, 262144)]
    cells += [Cell("agree", 16384, d, 4, "hot") for d in SERVERS]
    cells += [Cell("agree", 16384, 64, 6, "hot")]
    cells += [Cell("adversarial", C_HOLDS, 4, af, "hot") for af in (4, 6)]
    if unit == "ns":
        cells += [Cell("hit", n, 4, af, "lone") for af in (4, 6) for n in KEYS]
        cells += [Cell("hit", n, 4, 4, "cold") for n in KEYS if n >= 1000]
        cells += [Cell("hit", 16384, 4, 6, "cold")]
        cells += [Cell("hit", n, 4, 4, "cold-lone") for n in (1000, 16384, C_HOLDS)]
        cells += [Cell("hit", 16384, 4, 6, "cold-lone")]
        cells += [Cell("miss", n, 4, 4, "cold") for n in (256, 1000, 16384)]
    return cells


# Measurements of more than one call (whole.py), without `temp`. The delay of bottom halves is counted in
# instructions: in um it is a millisecond when idle, and many milliseconds while a large array is allocated or freed.
WHOLE = {
    "time": [Cell("bytes", n, 4, 4, "") for n in (14746, 16384, 262144, 1 << 20)] + [
        Cell("udp", 16384, 16, 4, ""), Cell("flood", C_HOLDS, 4, 4, "")],
    "icount": [Cell(f"stretch-{what}", 1 << 20, 4, 4, "")
               for what in ("nothing", "collect", "resize", "teardown", "evict")],
    # These need two CPUs, so QEMU. RACES has their numbers of calls.
    "cpus": [Cell("race-new", 16384, 4, 4, "")] + [
        Cell(f"race-{what}", n, 4, 4, "") for what in ("one", "own", "flood", "grown") for n in (256, 4096)],
}
UDP_PAIRS = 10
REGULARS = 1000
RACE_RUNS = 15
RACES = {   # the number of calls on each CPU
    "race-new": 2048,       # three times that fits into the table without a resize
    "race-one": 100000,
    "race-own": 100000,
    "race-flood": 50000,    # C's table has room for what the other CPU inserts meanwhile
    "race-grown": 50000,    # as race-flood, but the table has more entries, so many that it need not grow
}
GROWN = 15000

# The cells of the gate: small ones, and one for each path through schedule().
QUICK = [Cell("hit", n, 4, 4, "hot") for n in (1, 256, 1000, 16384, 1 << 20)] + [
    Cell("hit", n, 4, 6, "hot") for n in (256, 16384)] + [
    Cell(op, 256, 4, af, "hot") for op in ("hit-x", "hit-flag1") for af in (4, 6)] + [
    Cell("saturated", 256, d, 4, "hot") for d in (1, 2, 4, 16, 64)] + [
    Cell(op, 256, 4, 4, "hot") for op in (*MOVES, "evict")] + [
    Cell("miss", 1000, d, 4, "hot") for d in (4, 64)] + [
    Cell("miss", 16384, 4, 4, "hot"), Cell("miss", 16384, 64, 4, "hot"),
    Cell("agree", 16384, 64, 4, "hot")]
# Of ours: the most that the cost of the first may be, relative to that of the second.
FLAT = (Cell("hit", 1 << 20, 4, 4, "hot"), Cell("hit", 1000, 4, 4, "hot"), 1.1)
# What a server more costs a choice: the difference of these cells. The most that it may be, relative to C's.
A_SERVER = (Cell("miss", 1000, 64, 4, "hot"), Cell("miss", 1000, 4, 4, "hot"), 1.0)
# The most that a hit may cost with cold caches, relative to two dependent cache lines, by the number of keys.
LINES = {16384: 1.3}
# A choice with flag-2, and C's choice without; the most that it may be, relative to C's.
AGREEING = (Cell("agree", 16384, 64, 4, "hot"), Cell("miss", 16384, 64, 4, "hot"), 2)


def target(cell, unit):
    """The least ratio of C's cost to ours, or None. The targets for time come from fewer cache misses, which instruction
    counts do not show: those must not be higher than C's."""
    if unit == "instructions":
        if cell.op in ("hit-x", "hit-flag1"):
            return round(1 / 1.1, 2)
        if cell.op == "miss":   # with few keys, a batch of new ones lets the table grow
            return 0.94 if cell.n >= 256 else round(1 / 1.2, 2)
        return {"adversarial": 1000, "evict": None}.get(cell.op, 1.0)
    if cell.op == "hit" and cell.d == 4 and cell.temp == "hot":
        if cell.n <= 256:
            return 0.95
        return {1000: 1.5, 16384: 5, 24576: 8}.get(cell.n)
    if cell.op == "hit" and cell.temp.startswith("cold"):
        return 2.5 if cell.n == 16384 else None
    if cell.op == "miss" and (cell.n, cell.d) == (16384, 4):
        return 1.5
    if cell.op == "saturated":
        return {64: 2.5, 1024: 6}.get(cell.d)
    return {"adversarial": 1000, "udp": 1}.get(cell.op)


def limit(cell):
    """The target for a result of whole.py: "at least" or "at most", and a number; or None."""
    if cell.op.startswith("stretch-"):
        return ("at most", 1000) if cell.op != "stretch-nothing" else None
    return {"bytes": ("at most", 100), "flood": ("at least", 95), "race-new": ("at least", 1.6),
            "race-one": ("at least", 1.8), "race-own": ("at least", 1.8),
            "race-flood": ("at least", 0.9), "race-grown": ("at least", 0.9)}.get(cell.op)
