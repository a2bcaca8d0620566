"""The leaderboard: what a study's runs come to, for each cell and size on each task."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median, stdev
from typing import Any

Record = Mapping[str, Any]
ENDED = ("done", "solved", "diverged")
SOLVED = 0.99  # the accuracy that counts as learned where a record does not say
COUNTED = ("diverged", "failed", "running", "waiting")


@dataclass(frozen=True)
class Column:
    """A task. train, test: the shortest and longest sequences; goal: the score that counts as learned, if there is one."""

    name: str
    metric: str
    chance: float
    train: tuple[int, int]
    test: tuple[int, int]
    goal: float | None

    @property
    def has_goal(self) -> bool:
        return self.goal is not None

    @property
    def is_rising(self) -> bool:
        """Whether a larger score is a better one."""
        return self.metric == "accuracy"

    def way(self, score: float | None) -> float:
        """How far a score is on the way from chance, 0, to a perfect one, 1."""
        best = 1.0 if self.is_rising else 0.0
        if score is None or not math.isfinite(score) or self.chance == best:
            return 0.0
        return min(1.0, max(0.0, (score - self.chance) / (best - self.chance)))


@dataclass(frozen=True)
class Entry:
    """A cell of one size on one task, over seeds at its best rate. A run that diverged scores as chance does; one that failed has no score.

    runs: those that have ended, by seed; lr: their rate, None where none has ended; rates: those that were tried; seeds: how many runs that rate is to have;
    counts: of runs at every rate, how many have diverged, failed, are running or wait; errors: what the failed ones said, each once.
    """

    column: Column
    size: str | None
    runs: tuple[Record, ...]
    lr: float | None
    rates: tuple[float, ...]
    seeds: int
    counts: Mapping[str, int]
    errors: tuple[str, ...]

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """At the longest length of training, a score a seed."""
        return tuple(score_of(r, self.column) for r in self.runs)

    @property
    def mean(self) -> float | None:
        return fmean(self.scores) if self.runs else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None of fewer than two."""
        return stdev(self.scores) if len(self.runs) > 1 else None

    @property
    def worst(self) -> float | None:
        if not self.runs:
            return None
        return min(self.scores) if self.column.is_rising else max(self.scores)

    @property
    def solved(self) -> int:
        """How many seeds have learned the task."""
        return sum(bool(r["solved"]) for r in self.runs)

    @property
    def solved_beyond(self) -> int | None:
        """How many of these also reach the goal in the mean over longer sequences; None where there are none, and of what is no accuracy."""
        goal = self.column.goal
        if goal is None or not self.column.is_rising or self.column.test[1] <= self.column.train[1]:
            return None
        return sum(bool(r["solved"]) and r["beyond"] is not None and r["beyond"] >= goal for r in self.runs)

    @property
    def beyond(self) -> float | None:
        """The mean over seeds and longer sequences."""
        further = [mean for _, mean, _, _ in self.by_length[1:]]
        return fmean(further) if further else None

    @cached_property
    def by_length(self) -> tuple[tuple[int, float, float, float], ...]:
        """Each length, from the longest of training on, and over seeds the mean, lowest and highest score."""
        tables = [dict(r["by_length"] or ()) for r in self.runs]
        found = []
        for length in sorted({n for t in tables for n in t}):
            scores = [_number(t.get(length, self.column.chance)) for t in tables]
            found.append((length, fmean(scores), min(scores), max(scores)))
        return tuple(found)

    @property
    def solved_at(self) -> float | None:
        """The median step, of the seeds that have learned it, at which it was first seen."""
        steps = [r["solved_at"] for r in self.runs if r["solved"] and r["solved_at"] is not None]
        return median(steps) if steps else None

    @property
    def parameters(self) -> int | None:
        return next((r["parameters"] for r in self.runs), None)

    @property
    def step_seconds(self) -> float | None:
        """The median over seeds of a run's median; None where all have diverged in their first step."""
        known = [r["step_seconds"] for r in self.runs if r["step_seconds"] is not None]
        return median(known) if known else None

    @property
    def seconds(self) -> float | None:
        """The median over seeds of a whole run."""
        return median(r["seconds"] for r in self.runs) if self.runs else None

    @property
    def diverged(self) -> int:
        """How many of its runs have diverged."""
        return sum(r["status"] == "diverged" for r in self.runs)

    @property
    def is_open(self) -> bool:
        """Whether runs at some rate have not ended."""
        return self.counts["running"] + self.counts["waiting"] > 0

    def curve(self, name: str) -> tuple[tuple[int, float], ...]:
        """What was seen on the way, `score` or `loss`: steps, and the mean over seeds that have not diverged. A run that was over before counts as last seen."""
        looks = [{look["step"]: _number(look[name]) for look in r["looks"]} for r in self.runs if r["status"] != "diverged"]
        found: list[tuple[int, float]] = []
        last: list[float | None] = [None] * len(looks)
        for step in sorted({s for one in looks for s in one}):
            last = [one.get(step, before) for one, before in zip(looks, last, strict=True)]
            found.append((step, fmean(v for v in last if v is not None)))
        return tuple(found)


@dataclass(frozen=True)
class Row:
    """A cell, of one size where it has several on a task. label: what tables call it; entries: by task; overall: how far from chance to perfect scores it
    comes, over tasks and lengths, where what has not ended counts as nothing."""

    label: str
    cell: str
    key: str
    family: str | None
    structure: str | None
    growth: str | None
    entries: Mapping[str, Entry]
    overall: float

    @property
    def is_baseline(self) -> bool:
        """Whether it has no equations."""
        return self.family is None


@dataclass(frozen=True)
class Settings:
    """What all runs have in common, or each of what they have. training: as plain data; tasks: by name, what they ask; machines: with device and threads."""

    training: tuple[Record, ...]
    tasks: Mapping[str, str]
    versions: tuple[str, ...]
    machines: tuple[str, ...]
    seeds: tuple[int, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Board:
    """Rows, the best first and baselines behind all cells, and columns, in the order of the study."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    settings: Settings

    @property
    def cells(self) -> tuple[Row, ...]:
        return tuple(r for r in self.rows if not r.is_baseline)

    @property
    def baselines(self) -> tuple[Row, ...]:
        return tuple(r for r in self.rows if r.is_baseline)

    def entries(self, column: Column) -> list[tuple[Row, Entry]]:
        """The rows that have an entry for a task."""
        return [(r, r.entries[column.name]) for r in self.rows if column.name in r.entries]


def board_of(records: Sequence[Record]) -> Board:
    """The leaderboard of a study's records, as `records.py` describes them."""
    columns = tuple(_column(of) for of in _grouped(records, "task").values())
    rows = [row for of in _grouped(records, "cell").values() for row in _rows(of, columns)]
    return Board(tuple(sorted(rows, key=lambda r: (r.is_baseline, -r.overall))), columns, _settings(records))


def _number(value: float | None) -> float:
    """What a record says of one; None where it is not finite."""
    return math.nan if value is None else value


def score_of(run: Record, column: Column) -> float:
    """The score of a run that has ended."""
    return column.chance if run["metric"] is None else run["metric"]


def _grouped(records: Iterable[Record], name: str) -> dict[Any, list[Record]]:
    found: dict[Any, list[Record]] = {}
    for r in records:
        found.setdefault(r[name], []).append(r)
    return found


def _column(runs: Sequence[Record]) -> Column:
    r = runs[0]
    goal = r.get("goal", SOLVED if r["metric_name"] == "accuracy" else None)
    return Column(r["task"], r["metric_name"], r["chance"], tuple(r["train"]), tuple(r["test"]), goal)


def _rows(runs: Sequence[Record], columns: Sequence[Column]) -> list[Row]:
    """The rows of a cell: one for each size where it has several on a task. A run whose size is not known yet waits in the first."""
    tasks = {task: _grouped(of, "size") for task, of in _grouped(runs, "task").items()}
    several = any(len(by_size.keys() - {None}) > 1 for by_size in tasks.values())
    sizes = list(dict.fromkeys(r["size"] for r in runs if r["size"] is not None)) if several else [None]
    return [_row(runs, size, columns, is_first=size == sizes[0]) for size in sizes]


def _row(runs: Sequence[Record], size: str | None, columns: Sequence[Column], is_first: bool) -> Row:
    own = [r for r in runs if size is None or r["size"] == size or (r["size"] is None and is_first)]
    tasks = _grouped(own, "task")
    entries = {c.name: _entry(tasks[c.name], c) for c in columns if c.name in tasks}
    ways = [fmean(c.way(mean) for _, mean, _, _ in entries[c.name].by_length) if c.name in entries and entries[c.name].by_length else 0.0 for c in columns]
    first = runs[0]
    label = first["cell"] if size is None else f"{first['cell']} · {size}"
    return Row(label, first["cell"], first["key"], first["family"], first["structure"], first["growth"], entries, fmean(ways))


def _entry(runs: Sequence[Record], column: Column) -> Entry:
    by_rate = {lr: of for lr, of in _grouped(runs, "lr").items() if lr is not None}
    ended = {lr: tuple(sorted((r for r in of if r["status"] in ENDED), key=lambda r: r["seed"])) for lr, of in by_rate.items()}
    lr = _best(ended, column)
    status = Counter(r["status"] for r in runs)
    return Entry(
        column,
        size=next((r["size"] for r in runs if r["size"] is not None), None),
        runs=() if lr is None else ended[lr],
        lr=lr,
        rates=tuple(sorted(by_rate)),
        seeds=max((len(of) for of in by_rate.values()), default=0) if lr is None else len(by_rate[lr]),
        counts={name: status[name] for name in COUNTED},
        errors=tuple(dict.fromkeys(r["error"] for r in runs if r["error"])),
    )


def _best(ended: Mapping[float, Sequence[Record]], column: Column) -> float | None:
    """Of the rates at which most seeds have ended the one with the best mean score; of several that at which it was solved sooner, then the lowest."""
    most = max((len(of) for of in ended.values()), default=0)
    if not most:
        return None

    def standing(lr: float) -> tuple[float, float, float]:
        mean = fmean(score_of(r, column) for r in ended[lr])
        steps = [r["solved_at"] for r in ended[lr] if r["solved"] and r["solved_at"] is not None]
        return (-mean if column.is_rising else mean), median(steps) if steps else math.inf, lr

    return min((lr for lr, of in ended.items() if len(of) == most), key=standing)


def _settings(records: Sequence[Record]) -> Settings:
    training = {repr(r["training"]): r["training"] for r in records if r["training"]}
    begun = [r for r in records if r["machine"] is not None]
    versions = [f"{title} {v}" for name, title in (("rnndsl", "rnndsl"), ("torch", "PyTorch"), ("python", "Python")) for v in dict.fromkeys(r[name] for r in begun)]
    machines = [f"{r['machine']}, {r['device']}, {r['threads']} thread{'s' * (r['threads'] != 1)} a run" for r in begun]
    return Settings(
        tuple(training.values()),
        {r["task"]: r["about"] for r in records if r.get("about")},
        tuple(versions),
        tuple(dict.fromkeys(machines)),
        tuple(sorted({r["seed"] for r in records if r["seed"] is not None})),
        tuple(sorted({r["lr"] for r in records if r["lr"] is not None})),
    )
