"""Timing many candidates for the fastest: in turn, and none longer than it takes to see that it is slow."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rnndsl.tools.bench.limit import time_limit
from rnndsl.tools.bench.measure import Tick, Timing
from rnndsl.tools.bench.run import failure
from rnndsl.tools.tune.timer import Timer

ROUNDS, FEW = 15, 4  # samples of a candidate that stays to the end, and of one that shows how fast it is
FAR, NEAR = 3.0, 1.25  # times the best median, beyond which a candidate is dropped: after one sample, after a few
LIMIT = 60.0  # seconds for the first call of a candidate, in which its kernel is compiled

Key = TypeVar("Key", bound=Hashable)


@dataclass
class Run:
    """What became of a candidate: its samples; why it failed, if it did; whether it was dropped before the last round."""

    timing: Timing = field(default_factory=Timing)
    failure: str | None = None
    is_dropped: bool = False

    @property
    def is_finished(self) -> bool:
        return self.failure is None and not self.is_dropped


def race(calls: dict[Key, Callable[[], Any]], check: Callable[[Any], str | None], timer: Timer, tick: Tick) -> dict[Key, Run]:
    """Calls each candidate once, then times those that ran and whose results `check` has nothing to say against.

    A candidate that fails costs nobody else anything: its run says why.
    """
    runs = {key: Run() for key in calls}
    for n, (key, run) in enumerate(runs.items()):
        tick(str(key), n, len(calls))
        try:
            with time_limit(LIMIT):
                run.failure = check(calls[key]())
                if run.failure is None:
                    run.timing.seconds.append(timer(calls[key]))
        except Exception as e:
            run.failure = failure(e)
    _drop(runs, FAR)
    for done in range(1, ROUNDS):
        running = [key for key, run in runs.items() if run.is_finished]
        for key in running:
            tick(str(key), done, ROUNDS)
            runs[key].timing.seconds.append(timer(calls[key]))
        if done >= FEW - 1:
            _drop(runs, NEAR)
    return runs


def _drop(runs: dict[Key, Run], times: float) -> None:
    """Drops those whose median is so many times the best."""
    medians = {key: run.timing.median for key, run in runs.items() if run.is_finished}
    best = min(medians.values(), default=0.0)
    for key, median in medians.items():
        runs[key].is_dropped = median > times * best
