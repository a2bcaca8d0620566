"""How long a call keeps a device busy."""

import time
from collections.abc import Callable

import torch

from rnndsl.runtime.gpu import device_of

LEAD = 2e-3  # seconds for which a GPU is kept busy before a call, so that what Python does to start its kernels is not counted
Timer = Callable[[Callable[[], object]], float]  # seconds of one call


def timer_of(device: torch.device, lead: float = LEAD) -> Timer:
    """By the events of a GPU, which is kept busy for `lead` seconds before; by the clock elsewhere."""
    return _by_events(device, lead) if device.type == "cuda" else _by_clock


def _by_events(device: torch.device, lead: float) -> Timer:
    cycles = int(lead * device_of(device).clock)

    def seconds(call: Callable[[], object]) -> float:
        with torch.cuda.device(device):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda._sleep(cycles)
            start.record()
            call()
            end.record()
            end.synchronize()
        return 1e-3 * start.elapsed_time(end)

    return seconds


def _by_clock(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
