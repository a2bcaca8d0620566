"""What one sees of a study while it runs: a line for each run that ends, and a bar with the time left."""

import sys
import time
from statistics import mean
from typing import Protocol

from optuna.trial import FrozenTrial

from rnndsl.explore.plan import Case, Open
from rnndsl.explore.records import RECORD, SETTINGS
from rnndsl.explore.store import ERROR, was_left
from rnndsl.explore.training import Look
from rnndsl.explore.worker import Work

OFTEN = 1.0  # seconds between looks at what others have done


class Bar(Protocol):
    """A line of a terminal that is written over."""

    is_shown: bool

    def say(self, what: str) -> None: ...
    def share(self, done: int, total: int, what: str) -> None: ...
    def clear(self) -> None: ...


class Console:
    """Watches a process's own runs, and those of others that share the store. Writes where there is a bar alone."""

    def __init__(self, work: Work, workers: int, bar: Bar):
        self._work, self._workers, self._bar = work, workers, bar
        self._told: set[int] | None = None  # cases whose end has been told, or was known from the start
        self._last, self._state = 0.0, ""

    def __call__(self, case: Case, look: Look | None) -> None:
        """A look at a run of this process."""
        seen = "" if look is None else f" {look.step}/{self._work.plan.training.steps}: {number(look.score)}"
        self._state = f"{case.candidate.label} {case.task.name}{seen}"
        self.refresh()

    def refresh(self, is_last: bool = False) -> None:
        """Tells what has ended since the last time."""
        if not self._bar.is_shown or (time.monotonic() - self._last < OFTEN and not is_last):
            return
        self._last = time.monotonic()
        store, names = self._work.store, dict.fromkeys(self._work.names)
        groups = {n: store.now(store.find(n)) for n in names}
        ended, total = self._work.ended(groups), len(self._work.cases)
        for i in sorted(ended.keys() - (ended.keys() if self._told is None else self._told)):
            self._bar.clear()
            print(f"{len(ended):>{len(str(total))}}/{total}  {told(ended[i], self._work.cases[i])}", file=sys.stderr)
        self._told = set(ended)
        if len(ended) < total:
            seconds = [t.user_attrs[RECORD]["seconds"] for t in ended.values() if RECORD in t.user_attrs]
            left = f", about {duration(mean(seconds) * (total - len(ended)) / self._workers)} left" if seconds else ""
            self._bar.share(len(ended), total, f"{self._state}{left}")


def told(trial: FrozenTrial, case: Case | Open) -> str:
    """A run that has ended, in a line."""
    said = trial.user_attrs
    settings, ended = said.get(SETTINGS, {}), said.get(RECORD)
    what = f"{case.candidate.label}, {case.task.name}, {settings.get('size', '')}, lr {settings.get('lr', 0):g}, seed {settings.get('seed')}"
    if ended is None:
        return f"{what}: {'its workers died' if was_left(trial) else said.get(ERROR, 'failed')}"
    if ended["metric"] is None:
        return f"{what}: diverged at step {ended['steps']}"
    solved = f", solved at step {ended['solved_at']}" if ended["is_solved"] and ended["solved_at"] else ""
    beyond = f", beyond {number(ended['beyond'])}" if ended["beyond"] is not None else ""
    return f"{what}: {number(ended['metric'])}{beyond}{solved}, {duration(ended['seconds'])}"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value >= 10 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Seconds as one reads them."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(seconds / 60)} min" if whole < 5400 else f"{seconds / 3600:.1f} h"
