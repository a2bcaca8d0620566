"""What the groups launch of our kernels, call by call, without what they measure."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.utils._python_dispatch import _disable_current_modes

from on_gpu import bounds, cells, checks, rounds
from on_gpu.cells import Case
from on_gpu.device import Gpu
from on_gpu.groups import model_points, sizes_of
from on_gpu.points import points
from on_gpu.scale import Scale
from on_gpu.times import special_functions
from rnndsl.tools.bench.candidates import Task
from rnndsl.tools.tune.calls import calls_of
from rnndsl.tools.tune.run import tuned_call

Step = tuple[str, str, Callable[[], object]]  # group, cell, call


def calls(scale: Scale, machine: Gpu, groups: list[str]) -> Iterator[Step]:
    """In the order of the groups."""
    for group in groups:
        for cell, call in _CALLS.get(group, _nothing)(scale, machine):
            yield group, cell, call


def _nothing(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    yield from ()


def _agreement(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    for check in checks.checks(scale):
        call = partial(check.launched, scale, machine.device)
        yield check.case.name, partial(_without_modes, call) if check.schedule is None else call


def _without_modes(call: Callable[[], object]) -> None:
    """On real tensors, which are small: a layer runs single steps by its kernel only where nobody looks on."""
    with _disable_current_modes():
        call()


def _functions(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "functions", partial(checks.applied, scale, machine.device)


def _bounds(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    yield from bounds.chains(scale, machine.device).items()


def _raced(case: Case, batch: int, steps: int, sizes: dict[str, int], machine: Gpu, scope: str, names: tuple[str, ...] | None = None) -> None:
    """Ours, in a race at one point."""
    subject = case.subject(batch, steps, sizes, machine.device)
    for direction in ("forward", "both"):
        for candidate in cells.ours(case, subject):
            if names is None or candidate.name in names:
                candidate.call(Task(scope, direction, batch))()
        special_functions(case, sizes["H"], machine.device, direction == "both")


def _times(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "where schedules change", lambda: list(points(scale, machine))
    for case, channels, steps in points(scale, machine):
        yield case.name, partial(_raced, case, *sizes_of(scale, channels, steps), machine, "recurrence")


def _cycles(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    def run(case: Case) -> None:
        for tiles, short, long in rounds.pairs(case, scale, machine.device):
            short.run(tiles)
            long.run(tiles)

    for case in cells.diagonal(scale):
        yield case.name, partial(run, case)


def _rounds(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    def run(case: Case) -> None:
        for layer, inputs, _ in rounds.layers(case, scale, machine.device):
            with torch.no_grad():
                layer(*inputs)

    for case in cells.diagonal(scale):
        if case.parallel == "newton":
            yield case.name, partial(run, case)


def _dense(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    for batch, steps, hidden in scale.dense:
        for case in cells.diagonal(scale):
            yield case.name, partial(_raced, case, batch, steps, {"D": hidden, "H": hidden}, machine, "layer", ("auto",))


def _layer(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    for channels, steps in scale.points:
        for case in cells.diagonal(scale):
            if case.parallel == "newton":
                yield case.name, partial(_raced, case, *sizes_of(scale, channels, steps), machine, "layer", ("auto",))


def _compiled(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    for channels, steps in scale.compiled:
        for case in cells.diagonal(scale):
            yield case.name, partial(_raced, case, *sizes_of(scale, channels, steps), machine, "recurrence", ("auto",))


def _model(scale: Scale, machine: Gpu) -> Iterator[tuple[str, Callable[[], object]]]:
    def run(case: Case, channels: int, steps: int) -> None:
        subject = case.subject(*sizes_of(scale, channels, steps), machine.device)
        for call in calls_of(subject.layer, subject.inputs, False, True):  # a candidate fails once it has run, since there are no numbers
            tuned_call(call, machine.device, lambda call: 0.0, lambda *_: None, scale.candidates)

    for at in model_points(scale):
        yield at[0].name, partial(run, *at)


_CALLS = {
    "agreement": _agreement, "functions": _functions, "bounds": _bounds, "times": _times, "cycles": _cycles, "rounds": _rounds, "dense": _dense,
    "layer": _layer, "model": _model, "compiled": _compiled,
}  # fmt: skip
