"""What is to be run: each cell on each task at each size, seed and rate, all trained in the same way."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rnndsl.explore.candidates import Candidate
from rnndsl.explore.fitting import parameters, shape_of
from rnndsl.explore.recipe import Training
from rnndsl.explore.shapes import Request, Shape
from rnndsl.nn.shapes import header_of
from rnndsl.tasks import Task
from rnndsl.tools import Unfit


@dataclass(frozen=True)
class Case:
    """One run: what is trained on what, and with which numbers."""

    candidate: Candidate
    task: Task
    shape: Shape
    rate: float
    seed: int

    @property
    def identity(self) -> str:
        """What tells it from the others of its cell and task."""
        return json.dumps([self.shape.text, self.rate, self.seed])

    def settled(self, suggest: Any) -> "Case":
        """Itself: nothing is open."""
        return self


@dataclass(frozen=True)
class Open:
    """A run whose rate and shape the study chooses, from what it has seen. suggest: Optuna's Trial."""

    candidate: Candidate
    task: Task
    shapes: tuple[Shape, ...]
    rates: tuple[float, float]
    number: int

    @property
    def identity(self) -> str:
        """What tells it from the others of its cell and task."""
        return json.dumps(["search", self.number])

    def settled(self, suggest: Any) -> Case:
        """The run that was chosen."""
        rate = suggest.suggest_float("lr", *self.rates, log=True)
        by_text = {s.text: s for s in self.shapes}
        shape = by_text[suggest.suggest_categorical("size", list(by_text))]
        return Case(self.candidate, self.task, shape, rate, seed=self.number)


def said_by(identity: str) -> dict[str, Any]:
    """What an identity says of a run that has not begun: size, rate and seed; of one that the study will choose, the seed alone."""
    parts = json.loads(identity)
    return {"seed": parts[1]} if len(parts) == 2 else dict(zip(("size", "lr", "seed"), parts, strict=True))


@dataclass(frozen=True)
class Plan:
    """A command: what to try. requests: the sizes of each model, as they were asked for; rates: each of them, or the lowest and the highest of a search;
    search: how many runs of each cell on each task choose their rate and size, None for all of them at every rate."""

    candidates: tuple[Candidate, ...]
    tasks: tuple[Task, ...]
    requests: tuple[Request, ...]
    rates: tuple[float, ...]
    seeds: Sequence[int]
    training: Training
    search: int | None = None

    def cases(self, say: Callable[[str], None] = lambda _: None) -> list[Case | Open]:
        """Every run, each once. say: is told the cell that is compiled next. The first seed of all comes first, so that there is something to see early. Raises Unfit for sizes that a cell cannot have."""
        known = {name for c in self.candidates for name in (header_of(c.cls) if c.source else ("H",))}
        for name in (n for r in self.requests for n, _ in r.sizes if n not in known):
            raise Unfit(f"--size {name}: no cell has a size of this name; there are {', '.join(sorted(known))}")
        shapes: dict[Any, tuple[Shape, ...]] = {}
        for task, candidate in itertools.product(self.tasks, self.candidates):
            say(candidate.label)
            fitting = tuple(dict.fromkeys(shape_of(candidate, task, self.training, r, self.candidates) for r in self.requests))
            for shape in fitting:  # what has no parameters is no model, and is told now
                parameters(candidate, task, self.training, shape)
            shapes[task.name, candidate.key] = fitting
        pairs = [(t, c, shapes[t.name, c.key]) for t in self.tasks for c in self.candidates]
        if self.search is not None:
            low, high = min(self.rates), max(self.rates)
            return [Open(c, t, s, (low, high), n) for n in range(self.search) for t, c, s in pairs]
        return [Case(c, t, one, rate, seed) for seed in self.seeds for t, c, s in pairs for one in s for rate in self.rates]
