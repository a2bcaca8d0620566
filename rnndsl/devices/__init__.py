"""What the model of tiles.py knows of GPUs: a table per device, and of each entry where it comes from.

A table is a .toml file beside this one: what it is called, which architectures or GPUs it is for, which table it continues, and its entries,
`name = [value, "source"]`. A source begins with a word of SOURCES. What a table does not say is said by the one that it continues, in the end
by `general`, whose entries are assumed.
"""

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

SOURCES = ("measured", "machine code", "data sheet", "published", "driver", "assumed")
FOLDER = Path(__file__).parent
GENERAL = "general"
USUAL = "sm_90"  # where no device is named
Cost = tuple[float, float, float, float]  # of a step or round itself; of each operation, each special function, each value read or written in it


@dataclass(frozen=True)
class Device:
    """What the model knows of a device. name: as its driver says it; table: what the table is called; sources: where each entry comes from.

    Cycles and instructions are those of one warp that has a processor to itself.
    """

    name: str
    table: str
    # what there is
    processors: float
    clock: float  # Hz
    bandwidth: float  # bytes a second
    reach: float  # the part of it that kernels reach
    warp: float  # threads
    warps: float  # of a processor at once, at most
    programs: float  # the same
    registers: float  # of a processor
    thread_registers: float  # of a thread, at most
    shared: float  # bytes of shared memory of a processor
    issue: float  # instructions of warps that a processor issues a cycle
    special_rate: float  # special functions that a processor computes a cycle
    # latencies, in cycles
    special_latency: float
    memory_latency: float
    near_latency: float  # of shared and constant memory
    shuffle_latency: float
    barrier_latency: float
    # what our kernels take: a step of a sequential one; a round of a parallel one, in which a lane has some steps
    forward_cycles: Cost
    forward_instructions: Cost
    forward_registers: Cost
    backward_cycles: Cost
    backward_instructions: Cost
    backward_registers: Cost
    lane_cycles: Cost
    lane_instructions: Cost
    lane_registers: Cost
    lane_back_cycles: Cost
    lane_back_instructions: Cost
    lane_back_registers: Cost
    overlap: float  # the part of the shorter of computing and waiting for memory that comes on top of the longer
    level: float  # cycles of a level of a scan over the lanes of a warp, each value that it combines
    crossing: float  # cycles of a scan that crosses warps, on top
    chunk: float  # cycles of a chunk on top of its rounds and its last steps
    rounds: float  # of Newton's method in a chunk of 128 steps in 32 lanes or so, at common weights
    # recurrences whose channels meet
    launch: float  # seconds from one kernel to the next, started from Python
    graph_launch: float  # the same in a CUDA graph
    flops: float  # operations of float32 products a second
    step_latency: float  # cycles that a kernel of whole steps waits in each, beside what it computes
    near_rate: float  # bytes a cycle that a processor reads of what all of them share
    dense_rounds: float  # of Newton's method at common weights
    # how many times longer calls take than the model says, from measurements
    sequential_pace: float
    sequential_back_pace: float
    parallel_pace: float
    parallel_back_pace: float
    sources: Mapping[str, str]

    @property
    def assumed(self) -> tuple[str, ...]:
        """The entries that nothing vouches for."""
        return tuple(n for n in ENTRIES if self.sources[n].startswith("assumed"))

    @property
    def bytes_a_cycle(self) -> float:
        return self.bandwidth * self.reach / self.clock

    def __str__(self) -> str:
        """The table and where its entries come from, in a line."""
        parts = [f"{n} {kind}" for kind in SOURCES[:-1] if (n := sum(s.startswith(kind) for s in self.sources.values()))]
        few = len(self.assumed) < len(ENTRIES) // 2
        if self.assumed:
            parts.append(f"assumed: {', '.join(self.assumed)}" if few else f"{len(self.assumed)} of {len(ENTRIES)} assumed")
        return f"device table {self.table}: {', '.join(parts)}"


ENTRIES = tuple(f.name for f in fields(Device) if f.name not in ("name", "table", "sources"))
COSTS = tuple(n for n in ENTRIES if n.endswith(("_cycles", "_instructions")) or (n.endswith("_registers") and n != "thread_registers"))


@dataclass(frozen=True)
class Table:
    """A file: entries of its own, name -> (value, source)."""

    name: str
    title: str
    architectures: tuple[str, ...]
    gpus: tuple[str, ...]
    continues: str
    entries: Mapping[str, tuple[Any, str]]


def of_gpu(name: str, architecture: str, told: Mapping[str, float] | None = None) -> Device:
    """The device that a driver names: by the table for that name, else the one for its architecture, else the general one. told: entries that
    the driver tells; what was measured goes before them."""
    known = tables().values()
    by_name = [(gpu, t.name) for t in known for gpu in t.gpus if _words(gpu) <= _words(name)]
    by_architecture = [t.name for t in known if architecture in t.architectures]
    return _device(name, max(by_name, key=lambda found: len(found[0]))[1] if by_name else [*by_architecture, GENERAL][0], told or {})


def of_architecture(architecture: str) -> Device:
    """The device of an architecture whose table is usual for it; the general one where there is none."""
    found = next((t for t in tables().values() if architecture in t.architectures), tables()[GENERAL])
    return _device(found.title, found.name, {})


def _device(name: str, table: str, told: Mapping[str, float]) -> Device:
    entries: dict[str, tuple[Any, str]] = {}
    for part in reversed(list(_line(table))):
        entries |= part.entries
    entries |= {n: (v, "driver") for n, v in told.items() if not entries[n][1].startswith("measured")}
    values: dict[str, Any] = {n: tuple(v) if n in COSTS else float(v) for n, (v, _) in entries.items()}
    return Device(name, tables()[table].title, **values, sources={n: source for n, (_, source) in entries.items()})


def _line(table: str) -> Iterator[Table]:
    """A table and those that it continues."""
    while True:
        found = tables()[table]
        yield found
        if table == GENERAL:
            return
        table = found.continues


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


@functools.cache
def tables() -> dict[str, Table]:
    """All tables, by the names of their files."""
    return {path.stem: read(path) for path in sorted(FOLDER.glob("*.toml"))}


def read(path: Path) -> Table:
    """A table from its file. Raises ValueError for an entry that there is not, or that has no source."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    entries = {n: tuple(e) for n, e in data.get("entries", {}).items()}
    for name, entry in entries.items():
        if name not in ENTRIES:
            raise ValueError(f"{path.name}: there is no entry {name}")
        if len(entry) != 2 or not str(entry[1]).startswith(SOURCES):
            raise ValueError(f"{path.name}: {name} has no source; one begins with {', '.join(SOURCES)}")
    return Table(path.stem, data["title"], tuple(data.get("architectures", ())), tuple(data.get("gpus", ())), data.get("continues", GENERAL), entries)
