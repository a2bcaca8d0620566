"""What is measured, a function a group; each adds its rows to the record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from on_gpu import bounds, cells, checks, peers, rounds, sanitizer
from on_gpu.cells import Case
from on_gpu.device import Gpu
from on_gpu.points import points
from on_gpu.record import Record, Row
from on_gpu.scale import Scale
from on_gpu.times import Maker, point
from rnndsl.tools.bench.candidates import Task
from rnndsl.tools.bench.subject import Subject
from rnndsl.tools.tune.calls import calls_of
from rnndsl.tools.tune.report import tuned_data
from rnndsl.tools.tune.run import tuned_call
from rnndsl.tools.tune.timer import Timer


@dataclass
class Run:
    """Where rows go, how much is measured, on what."""

    record: Record
    scale: Scale
    machine: Gpu

    @property
    def device(self) -> torch.device:
        return self.machine.device

    @property
    def timer(self) -> Timer:
        return self.machine.timer

    def rate(self, what: str) -> float | None:
        """A bound that was measured in this run."""
        return bounds.rate(self.record.groups.get("bounds", []), what)


def sizes_of(scale: Scale, channels: int, steps: int) -> tuple[int, int, dict[str, int]]:
    """B, T and sizes of a call of so many channels, with one input: as little as can be done beside the recurrence."""
    return max(1, channels // scale.hidden), steps, {"D": 1, "H": scale.hidden}


def model_points(scale: Scale) -> Iterator[tuple[Case, int, int]]:
    """Cells, channels and steps at which every way to cut a kernel is tried."""
    for channels, steps in scale.model:
        for case in (cells.DIAGONAL[0], cells.DIAGONAL[-1]):
            yield case, channels, steps


def bound(run: Run) -> None:
    run.record.add("bounds", "copies", partial(bounds.copies, run.scale, run.device, run.timer))
    run.record.add("bounds", "functions", partial(bounds.rates, run.scale, run.device, run.timer))
    run.record.add("bounds", "clock", partial(bounds.clock, run.machine))


def agreement(run: Run) -> None:
    for check in checks.checks(run.scale):
        run.record.add("agreement", check.where, partial(checks.agreement, check, run.scale, run.device))


def functions(run: Run) -> None:
    run.record.add("functions", "accuracy", partial(checks.accuracy, run.scale, run.device))


def cycles(run: Run) -> None:
    for case in cells.diagonal(run.scale):
        run.record.add("cycles", case.name, partial(rounds.cycles, case, run.scale, run.device, run.timer, run.rate("clock")))


def newton_rounds(run: Run) -> None:
    for case in cells.diagonal(run.scale):
        if case.parallel == "newton":
            run.record.add("rounds", case.name, partial(rounds.newton, case, run.scale, run.device))


def times(run: Run) -> None:
    """Recurrences, from their streams to their states: first about where the model's choice of a schedule changes, then at all points."""
    for case, channels, steps in points(run.scale, run.machine):

        def makers(case: Case, subject: Subject, has_loop: bool = steps <= run.scale.loop) -> list[Maker]:
            theirs = [Maker(k, partial(peer, subject, k)) for peer in (peers.AcceleratedScan, peers.Fla) for k in peer.kinds]
            return [*_ours(case, subject), *theirs, *([Maker("loop", partial(peers.loop, subject))] if has_loop else [])]

        _timed(run, "times", case, *sizes_of(run.scale, channels, steps), "recurrence", makers)


def layer(run: Run) -> None:
    """Whole layers, since pararnn-torch cannot be given streams."""

    def makers(case: Case, subject: Subject) -> list[Maker]:
        return [_chosen(case, subject), *(Maker(m, partial(peers.ParaRNN, subject, m)) for m in peers.ParaRNN.modes)]

    for channels, steps in run.scale.points:
        for case in cells.diagonal(run.scale):
            if case.parallel == "newton":
                _timed(run, "layer", case, *sizes_of(run.scale, channels, steps), "layer", makers)


def dense(run: Run) -> None:
    """Dense cells, which cuDNN and FlashRNN have, and diagonal ones of the same sizes for a yardstick: not the same cells."""

    def whole(case: Case, subject: Subject) -> list[Maker]:
        if case.parallel:
            return [_chosen(case, subject)]
        theirs = [Maker("torch.nn", partial(peers.CuDNN, subject)), Maker("TorchRL, Triton", partial(peers.TorchRL, subject))]
        return [*theirs, Maker("loop", partial(peers.loop, subject))]

    def flash(case: Case, subject: Subject) -> list[Maker]:
        return [Maker(b, partial(peers.FlashRNN, subject, b)) for b in run.machine.backends]

    for batch, steps, hidden in run.scale.dense:
        for case in (*cells.DENSE, *cells.diagonal(run.scale)):
            shape = (batch, steps, {"D": hidden, "H": hidden})
            _timed(run, "dense", case, *shape, "layer", whole)
            if not case.parallel:
                _timed(run, "dense", case, *shape, "recurrence", flash)


def compiled(run: Run) -> None:
    """The loop with a compiled step, at few shapes: each is compiled anew."""
    for channels, steps in run.scale.compiled:
        for case in cells.diagonal(run.scale):
            _timed(
                run, "compiled", case, *sizes_of(run.scale, channels, steps), "recurrence",
                lambda case, subject: [_chosen(case, subject), Maker("compile", partial(peers.compiled, subject))],
            )  # fmt: skip


def model(run: Run) -> None:
    """Every way to cut a kernel, measured and predicted."""

    def raced(case: Case, channels: int, steps: int) -> Iterator[Row]:
        subject = case.subject(*sizes_of(run.scale, channels, steps), run.device)
        for call in calls_of(subject.layer, subject.inputs, False, True):
            found = tuned_call(call, run.device, run.timer, lambda *_: run.record.check(), run.scale.candidates)
            yield {"cell": case.name, **tuned_data(found)}

    for case, channels, steps in model_points(run.scale):
        run.record.add("model", f"{case.name}, {channels} channels, {steps} steps", partial(raced, case, channels, steps), None)


def _ours(case: Case, subject: Subject) -> list[Maker]:
    return [Maker(c.name, lambda c=c: c) for c in cells.ours(case, subject)]


def _chosen(case: Case, subject: Subject) -> Maker:
    """Ours, as the model chooses."""
    return next(m for m in _ours(case, subject) if m.name == "auto")


def _timed(
    run: Run, group: str, case: Case, batch: int, steps: int, sizes: dict[str, int], scope: str, makers: Callable[[Case, Subject], list[Maker]]
) -> None:  # fmt: skip
    """A race forwards, and one forwards and backwards."""

    def rows() -> Iterator[Row]:
        subject = case.subject(batch, steps, sizes, run.device)
        for direction in ("forward", "both"):
            task = Task(scope, direction, batch)
            yield from point(run.record, group, case, subject, task, makers(case, subject), run.machine, run.scale.samples, run.rate(bounds.SPECIAL))

    run.record.add(group, f"{case.name}, {scope}, B = {batch}, T = {steps}", rows, None)


def sanitized(run: Run) -> None:
    for tool in sanitizer.TOOLS:
        run.record.add("sanitizer", tool, partial(sanitizer.rows, tool, run.machine, run.record), sanitizer.LIMIT)


GROUPS: dict[str, Callable[[Run], None]] = {
    "agreement": agreement, "functions": functions, "bounds": bound, "times": times, "cycles": cycles, "rounds": newton_rounds, "sanitizer": sanitized,
    "dense": dense, "layer": layer, "model": model, "compiled": compiled,
}  # fmt: skip
