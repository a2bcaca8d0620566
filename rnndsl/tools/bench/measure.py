"""Timing candidates against each other: in turn, so that whatever slows the machine slows them all."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SAMPLE = 0.01  # seconds that a sample takes at least: quick calls are timed several at a time, after one that brings their data back
ROUNDS, FEWEST = 20, 5  # rounds where their number is left open: as many as fit into PATIENCE, within these
PATIENCE = 20.0  # seconds

Tick = Callable[[str, int, int], None]  # who is being timed; rounds done; rounds in all (0: not known yet)


@dataclass
class Timing:
    """What was measured of one candidate. seconds: of one call, a number a sample; calls: in a sample."""

    calls: int = 1
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third; both are the sample where there is one alone."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third


def race(calls: dict[str, Callable[[], Any]], timings: dict[str, Timing], repeats: int | None, tick: Tick) -> None:
    """Times calls that have run before, one sample each in every round: A B C A B C.

    repeats: how many rounds; None for ROUNDS, or as many as fit into PATIENCE, but FEWEST at least. Samples are added to `timings` as
    they are taken, so that an interruption leaves what was measured.
    """
    with _no_collection():
        for name, call in calls.items():
            tick(name, 0, 0)
            timings[name].calls = math.ceil(SAMPLE / min(max(_seconds(call, 1), 1e-9), SAMPLE))
        start, done = time.perf_counter(), 0
        most = ROUNDS if repeats is None else repeats
        while done < most and not (repeats is None and done >= FEWEST and time.perf_counter() - start > PATIENCE):
            for name, call in calls.items():
                tick(name, done, most)
                timing = timings[name]
                timing.seconds.append(_seconds(call, timing.calls))
            done += 1


def _seconds(call: Callable[[], Any], calls: int) -> float:
    """Seconds a call."""
    if calls > 1:
        call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which would run in the middle of a sample."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
