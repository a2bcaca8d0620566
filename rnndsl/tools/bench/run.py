"""A benchmark from its settings to its result: for each point and task, candidates made, checked against the loop, and timed in turn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rnndsl.checks.cell import Cell
from rnndsl.tools import Unfit
from rnndsl.tools.bench.bound import LARGE, copy_call, moved_bytes
from rnndsl.tools.bench.candidates import Absent, Backend, Candidate, Compiled, Task, Tensors, gap, loop, our_backends
from rnndsl.tools.bench.limit import TookTooLong, time_limit
from rnndsl.tools.bench.machine import machine
from rnndsl.tools.bench.measure import Timing, race
from rnndsl.tools.bench.pararnn import Pararnn
from rnndsl.tools.bench.settings import Settings
from rnndsl.tools.bench.subject import Subject, default_sizes, make_layer
from rnndsl.tools.bench.torch_nn import TorchNN

LIMIT = 120.0  # seconds for the first call of a candidate that compiles, or that looks for its fastest mode
COPY = "copy"  # the candidate that moves the bytes of the bound
_PEERS = {"compile": Compiled, "nn": TorchNN, "pararnn": Pararnn}
Tick = Callable[[str, str, int, int], None]
Maker = Callable[[Subject], Candidate]


@dataclass
class Entry:
    """A candidate in one task. gap: how far its numbers lie from the loop's, for one that returns the same tensors."""

    name: str
    note: str
    ours: bool
    gap: float | None
    timing: Timing = field(default_factory=Timing)


@dataclass
class Group:
    """One task: who was timed, who was not and why, and the bytes that must move, where that is a bound."""

    task: Task
    entries: dict[str, Entry] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    moved: int | None = None

    def measured(self) -> list[Entry]:
        """Ours first, then the others, the fastest first; the copy last."""
        found = [e for e in self.entries.values() if e.timing.seconds]
        return sorted(found, key=lambda e: (e.name == COPY, not e.ours, e.timing.median))

    def ratio(self, entry: Entry) -> float | None:
        """How many times faster than the loop."""
        return self._to("loop", entry)

    def of_bound(self, entry: Entry) -> float | None:
        """The fraction that it reaches of the speed of a copy of as many bytes."""
        return self._to(COPY, entry)

    def _to(self, name: str, entry: Entry) -> float | None:
        other = self.entries.get(name)
        if other is None or not other.timing.seconds or not entry.timing.seconds:
            return None
        return other.timing.median / entry.timing.median


@dataclass
class Point:
    """The tasks at one shape."""

    batch: int
    steps: int
    sizes: dict[str, int]
    groups: list[Group] = field(default_factory=list)


@dataclass
class Result:
    """All that was measured."""

    program: str
    cell: str
    dtype: str
    machine: dict[str, Any]
    over: tuple[str, tuple[int, ...]] | None
    points: list[Point] = field(default_factory=list)
    memory: Timing = field(default_factory=Timing)  # a copy of LARGE bytes
    interrupted: bool = False

    def series(self) -> dict[str, dict[int, Group]]:
        """For each task in words, its groups by the value of what is varied."""
        found: dict[str, dict[int, Group]] = {}
        if self.over is not None:
            for p in self.points:
                at = {**p.sizes, "B": p.batch, "T": p.steps}[self.over[0]]
                for g in p.groups:
                    alone = g.task.scope == "step" and g.task.batch == 1
                    title = "one step" if g.task.scope == "step" and self.over[0] == "B" and not alone else describe(g.task)
                    found.setdefault(title, {})[at] = g
        return found


def run(program: str, cell: Cell, layer_class: Any, settings: Settings, tick: Tick, others: tuple[Maker, ...] = ()) -> Result:
    """Runs a benchmark; an interruption from the keyboard ends it with what is measured so far.

    others: further candidates. Raises Unfit for sizes that do not fit the cell.
    """
    with _threads(settings.threads):
        result = Result(program, cell.name, settings.dtype, machine(), settings.over)
        try:
            for s in settings.points():
                if result.points and settings.over and settings.over[0] == "T":
                    s = replace(s, scopes=tuple(x for x in s.scopes if x != "step"))  # a step is the same at any length
                sizes = default_sizes(cell, s.sizes)
                subject = Subject(cell, make_layer(cell, layer_class, sizes, s.dtype), s.batch, s.steps)
                if "recurrence" in s.scopes and not result.memory.seconds:
                    _memory(result, tick)
                result.points.append(point := Point(s.batch, s.steps, sizes))
                _point(point, subject, s, tick, others)
        except KeyboardInterrupt:
            result.interrupted = True
        return result


def _point(point: Point, subject: Subject, settings: Settings, tick: Tick, others: tuple[Maker, ...]) -> None:
    candidates, absent = _candidates(subject, settings)
    candidates += [make(subject) for make in others]
    for task in _tasks(settings):
        point.groups.append(group := Group(task, absent=dict(absent)))
        _group(group, candidates, subject, settings.repeats, tick)


def _candidates(subject: Subject, settings: Settings) -> tuple[list[Candidate], dict[str, str]]:
    """The loop first: the others are checked against it."""
    ours, absent = our_backends(subject, settings.backends)
    found: list[Candidate] = [loop(subject), *ours] if "loop" in settings.against else [*ours]
    for name in settings.against:
        if name in _PEERS:
            try:
                found.append(_PEERS[name](subject))
            except Absent as e:
                absent[name] = str(e)
            except Exception as e:
                absent[name] = f"failed: {failure(e)}"
    return found, absent


def _tasks(settings: Settings) -> Iterator[Task]:
    for scope in settings.scopes:
        if scope == "step":
            if "forward" in settings.directions:
                yield from (Task(scope, "forward", b) for b in sorted({1, settings.batch}))
        else:
            yield from (Task(scope, d, settings.batch) for d in settings.directions)


def _group(group: Group, candidates: list[Candidate], subject: Subject, repeats: int | None, tick: Tick) -> None:
    """Makes the calls of a task, runs each once, and times those that run."""
    task = group.task
    calls: dict[str, Callable[[], object]] = {}
    expected: Tensors | None = None
    for c in candidates:
        tick(describe(task), c.name, 0, 0)
        try:
            with time_limit(LIMIT if c.name in _PEERS else None):
                call = c.call(task)
                found: Tensors = call()
        except Absent as e:
            group.absent[c.name] = str(e)
            continue
        except Exception as e:
            group.absent[c.name] = f"failed: {failure(e)}"
            continue
        expected = found if c.name == "loop" else expected
        apart = gap(found, expected) if expected is not None and isinstance(c, Backend) else None
        calls[c.name] = call
        group.entries[c.name] = Entry(c.name, c.note, c.ours, apart)
    if task.scope == "recurrence" and calls:
        streams = [t for r in subject.recurrences for t in r.call.streams]
        states = [t for r in subject.recurrences for t in r.states]
        group.moved = moved_bytes(streams, states, task.direction)
        calls[COPY] = copy_call(group.moved, streams[0].device if streams else torch.device("cpu"))
        calls[COPY]()
        group.entries[COPY] = Entry(COPY, "the same number of bytes", False, None)
    timings = {name: e.timing for name, e in group.entries.items()}
    race(calls, timings, repeats, lambda name, done, total: tick(describe(task), name, done, total))


def _memory(result: Result, tick: Tick) -> None:
    call = copy_call(LARGE, torch.device("cpu"))
    call()
    race({COPY: call}, {COPY: result.memory}, 7, lambda name, done, total: tick("memory", name, done, total))


def failure(e: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(e, TookTooLong):
        return str(e)
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return f"{type(e).__name__}{': ' + lines[0][:160] if lines else ''}"


def describe(task: Task) -> str:
    """A task in words: `recurrence, forward and backward`."""
    direction = "forward and backward" if task.both else "forward"
    return f"one step, B = {task.batch}" if task.scope == "step" else f"{task.scope}, {direction}"


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_over(cell: Cell, over: tuple[str, tuple[int, ...]] | None) -> None:
    """Raises Unfit where what is to be varied is none of B, T and the cell's sizes."""
    if over is not None and over[0] not in ("B", "T", *cell.sizes):
        raise Unfit(f"--over {over[0]}: there is no size {over[0]}; there is B, T, {', '.join(cell.sizes)}")
