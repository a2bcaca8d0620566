"""Machine code of NVIDIA GPUs, read and walked through: the cycles that a loop takes a warp which has a processor to itself.

Each instruction says what the compiler knows of the hardware: how many cycles pass before the next one may be issued, which of six counters it
holds until its result is there, and which counters must be free before it starts. So cycles between instructions of fixed latency are read;
latencies of the others (memory, special functions, shuffles, barriers) are given.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_CODE = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?);\s*/\*\s*0x([0-9a-f]{16})\s*\*/")
_CONTROL = re.compile(r"\s*/\*\s*0x([0-9a-f]{16})\s*\*/")
_LABEL = re.compile(r"\s*\.(L_x_\d+):")
_TARGET = re.compile(r"`\(\.(L_x_\d+)\)")
_COUNTERS, _NONE = range(6), 7
_TURNS = 6  # through a loop, after which one takes as long as the one before
_TOGETHER = ("SHFL", "REDUX", "BAR")  # in which threads meet


@dataclass(frozen=True)
class Instruction:
    """text: with its predicate; stall: cycles until the next one may be issued; write, read: the counters that it holds until its result is
    there, and until its operands are read (7: none); wait: those that must be free before, a bit each; target: where a branch goes."""

    text: str
    stall: int
    write: int
    read: int
    wait: int
    target: int | None = None

    @cached_property
    def name(self) -> str:
        return re.sub(r"^@!?U?P\w+\s+", "", self.text).split()[0].split(".")[0]

    @property
    def goes_on(self) -> bool:
        """Whether the instruction behind it may come next."""
        return self.text.startswith("@") or self.name not in ("BRA", "EXIT", "RET")


Code = Sequence[Instruction]


@dataclass(frozen=True)
class Loop:
    """Instructions from `first` to `last`; ends: the branches back to the first."""

    first: int
    ends: tuple[int, ...]

    @property
    def last(self) -> int:
        return self.ends[-1]

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, other: "Loop") -> bool:
        return self != other and self.first <= other.first and other.last <= self.last


def disassembled(cubin: bytes, disassembler: Path) -> list[Instruction]:
    """The instructions of a kernel, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        return instructions(subprocess.run([str(disassembler), "-c", "-hex", str(path)], capture_output=True, text=True, check=True).stdout)


def instructions(listing: str) -> list[Instruction]:
    """Those of a listing of nvdisasm -c -hex: a line of text, and a line of the word that steers it."""
    found: list[tuple[str, int]] = []
    labels: dict[str, int] = {}
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(found)
        elif code := _CODE.match(line):
            found.append((code[1].strip().removeprefix("{").strip(), -1))
        elif (control := _CONTROL.match(line)) and found and found[-1][1] < 0:
            found[-1] = (found[-1][0], int(control[1], 16))
    made = []
    for text, word in found:
        target = _TARGET.search(text) if "BRA" in text else None
        made.append(Instruction(text, word >> 41 & 15, word >> 46 & 7, word >> 49 & 7, word >> 52 & 63, labels[target[1]] if target else None))
    return made


def loops(code: Code) -> list[Loop]:
    """The longest first."""
    ends: dict[int, list[int]] = {}
    for i, x in enumerate(code):
        if x.target is not None and x.target < i:
            ends.setdefault(x.target, []).append(i)
    return sorted((Loop(first, tuple(last)) for first, last in ends.items()), key=lambda loop: -loop.length)


def is_together(code: Code, loop: Loop) -> bool:
    """Whether threads meet in a loop."""
    return any(x.name in _TOGETHER for x in code[loop.first : loop.last + 1])


def path(code: Code, loop: Loop, without: Sequence[Loop] = ()) -> list[Instruction]:
    """The shortest way through a loop from its first instruction to a branch back, through no instruction of the loops `without`;
    nothing where there is no such way."""
    shut = {i for other in without for i in range(other.first, other.last + 1)}
    before: dict[int, int] = {loop.first: -1}
    edge = [loop.first]
    while edge and not before.keys() & set(loop.ends):
        edge = [n for i in edge for n in _next(code, i) if loop.first < n <= loop.last and n not in shut and before.setdefault(n, i) == i]
    if not before.keys() & set(loop.ends):
        return []
    way = [next(end for end in loop.ends if end in before)]
    while way[-1] != loop.first:
        way.append(before[way[-1]])
    return [code[i] for i in reversed(way)]


def _next(code: Code, i: int) -> Iterator[int]:
    target = code[i].target
    if target is not None and target > i:
        yield target
    if code[i].goes_on:
        yield i + 1


def cycles(body: Code, latency: Mapping[str, float], apart: float, other: float) -> float:
    """Cycles of one more turn through a loop. latency: of instructions whose latency varies, by name; other: of those that are not among them;
    apart: cycles between two special functions of a warp."""
    free = dict.fromkeys(_COUNTERS, 0.0)
    now = unit = 0.0
    turns = []
    for _ in range(_TURNS):
        for x in body:
            now = max([now, *(free[k] for k in _COUNTERS if x.wait >> k & 1)])
            if x.name == "MUFU":
                now = max(now, unit)
                unit = now + apart
            if x.name == "BAR":
                now += latency["BAR"]
            late = latency.get(x.name, other)
            if x.write != _NONE:
                free[x.write] = max(free[x.write], now + late)
            if x.read != _NONE:
                free[x.read] = max(free[x.read], now + min(late, other))
            now += max(1, x.stall)
        turns.append(now)
    return turns[-1] - turns[-2]
