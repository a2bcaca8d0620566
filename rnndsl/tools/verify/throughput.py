"""How fast each backend is at one shape: a line without a verdict. `rnndsl bench` says more."""

import statistics
import time
from collections.abc import Callable

import torch

from rnndsl.tools.bench import candidates, machine, subject
from rnndsl.tools.verify.context import Backend, Context, threads
from rnndsl.tools.verify.finding import INFO, Finding
from rnndsl.tools.verify.sizes import LARGE, find_sizes

BATCH, STEPS, FEWEST = 4, 64, 16
WORK = 1 << 18  # steps of channels of a call, from which it gets fewer steps
BUSY = 0.3  # cores
ROUNDS, PATIENCE = 5, 1.0  # samples of each, fewer where all of them take longer than so many seconds


def throughput(c: Context) -> Finding:
    """Steps of channels a second, forward and backward in float32, all backends in turn; and how many times the reference's."""
    sizes = find_sizes(c.cell, c.settings.sizes, LARGE)
    big = c.of_sizes(sizes)
    steps = max(FEWEST, min(STEPS, WORK // (BATCH * big.states)))
    calls = {b.name: _call(c, b, big.layer(b.name, torch.float32, b.device), steps) for b in c.backends if not b.is_interpreted}
    work = BATCH * steps * big.states
    with threads(c.threads):
        rates = {name: work / seconds for name, seconds in _timed(calls).items()}
    shape = f"B={BATCH}, T={steps}, {big}: {big.states} numbers in the states of a sequence"
    rows = [f"{n:<10} {r:.2e} steps·channels/s" + (f", {r / rates['reference']:.1f} times the reference" if n != "reference" else "") for n, r in rates.items()]
    busy = machine.busy() or 0.0
    mind = [f"mind: other programs kept {busy:.1f} cores busy; the figures are worth less"] if busy > BUSY else []
    return Finding(INFO, notes=(shape, *rows, *mind))


def _timed(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    """The median seconds of each call, in turn, after one that is not counted."""
    for call in calls.values():
        call()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            samples[name].append(time.perf_counter() - start)
        if time.perf_counter() - begun > PATIENCE:
            break
    return {name: statistics.median(s) for name, s in samples.items()}


def _call(c: Context, b: Backend, layer: torch.nn.Module, steps: int) -> Callable[[], None]:
    """A call of the layer and its gradients, to the end."""
    made = candidates.Backend(b.name, subject.Subject(c.cell, layer, BATCH, steps), layer)
    run = made.call(candidates.Task("layer", "both", BATCH))

    def call() -> None:
        run()
        if b.device == "cuda":
            torch.cuda.synchronize()

    return call
