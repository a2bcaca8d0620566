"""Seconds and memory of calls, in turn."""

import time
from collections.abc import Callable
from typing import Any

from on_gpu.device import Gpu
from rnndsl.tools.bench.candidates import Call
from rnndsl.tools.bench.measure import Timing
from rnndsl.tools.tune.timer import Timer

PATIENCE, FEWEST = 1.5, 3  # seconds that the samples of a candidate may take, within so many samples at least
_LONG = 5.0  # seconds of a call of which one sample is enough


def samples(call: Callable[[], Any], timer: Timer, count: int) -> Timing:
    """Some samples of one call that has run before."""
    return Timing(1, [timer(call) for _ in range(count)])


def race(calls: dict[str, Call], timer: Timer, most: int, failed: Callable[[str, Exception], None]) -> dict[str, Timing]:
    """Samples of calls that have run before, A B C A B C; fewer of slow ones, none of one that fails after all."""
    timings = {name: Timing() for name in calls}
    for n in range(most):
        for name, timing in list(timings.items()):
            if n == 0 or n < _count(timing.seconds[0], most):
                try:
                    timing.seconds.append(timer(calls[name]))
                except Exception as e:
                    del timings[name]
                    failed(name, e)
    return timings


def _count(seconds: float, most: int) -> int:
    if seconds > _LONG:
        return 1
    return min(most, max(FEWEST, int(PATIENCE / max(seconds, 1e-9))))


def host_and_peak(call: Call, machine: Gpu) -> tuple[float, int | None]:
    """Seconds until a call returns, whatever the GPU still does; and bytes that it holds at most beyond those held before."""
    machine.synchronize()
    start = time.perf_counter()
    call()
    host = time.perf_counter() - start
    machine.synchronize()
    return host, machine.peak(call)
