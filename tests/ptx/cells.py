"""A cell's compiled kernels, run by the emulator, against the reference in float64: how far they are from it, and how far they may be."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from rnndsl.runtime import recurrence
from rnndsl.runtime.call import Call
from tests.agreement import against_reference, difference, layer_of, random_inputs, sizes_of, some_resets
from tests.ptx.launches import Launches, emulated

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
TILES: dict[str, dict[str, int] | None] = {
    "sequential": {"channels": 8, "ahead": 2},
    "newton": {"channels": 8, "lanes": 4, "lane_steps": 2},
    "auto": None,  # what the model chooses
}
FLOAT32, FLOAT64 = 2e-5, 1e-11  # relative to the scale
AS_FAR = 4  # times as far as the reference in float32 is, where a cell is worse conditioned than FLOAT32
HALF = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}  # half a unit in the last place, relative: what rounding a number to it makes


@dataclass(frozen=True)
class Run:
    """One cell, its sizes, and how it is run. In bfloat16 and float16, streams are rounded; states are float32."""

    text: str
    cell: str
    schedule: str
    dtype: torch.dtype = torch.float32
    sizes: dict[str, int] = field(default_factory=dict)  # those that are not given are odd and small
    batch: int = 2
    steps: int = 11
    tiles: dict[str, int] | None = None  # small ones where none are given
    target: str = "sm_90"
    noise: int = 2
    seed: int = 0

    @property
    def cut(self) -> dict[str, int] | None:
        return TILES[self.schedule] if self.tiles is None else self.tiles

    @property
    def all_sizes(self) -> dict[str, int]:
        return sizes_of(self.text, self.cell) | self.sizes


@dataclass(frozen=True)
class Off:
    """How far an output, a state or a gradient is from the reference, and how far it may be."""

    what: str
    by: float
    allowed: float

    @property
    def share(self) -> float:
        return self.by / self.allowed

    def __str__(self) -> str:
        return f"{self.what} off by {self.by:.1e}, allowed {self.allowed:.1e}"


def compared(run: Run) -> tuple[Launches, list[Off]]:
    """Outputs, states and all gradients, from a given state, with resets. Raises what the compiler raises, and Unknown for an instruction that
    the emulator does not know."""
    return _halved(run) if run.dtype in HALF else _whole(run)


def wrong_in(launches: Launches, found: list[Off]) -> list[str]:
    """What is wrong of a run: a fault that was watched for, a value that is too far off, or that no kernel ran."""
    faults = [f"{name}: {said}" for name, said in launches.wrong.items()]
    return [*faults, *(str(off) for off in found if not off.by <= off.allowed), *([] if launches.all else ["no kernel ran"])]


def drawn(text: str, cell: str, schedule: str, seed: Any) -> dict[str, Any]:
    """Sizes, batch, steps and tiles of a run, by a seed."""
    draw = random.Random(f"{cell} {schedule} {seed}")
    sizes = {name: draw.choice((1, 2, 5, 17, 33)) if name == "H" else draw.randint(1, 4) for name in sizes_of(text, cell)}
    channels = draw.choice((4, 8, 32))
    tiles = {"sequential": {"channels": channels, "ahead": draw.choice((1, 2, 4, 8))}, "auto": {}}
    tiles["newton"] = {"channels": channels, "lanes": draw.choice((4, 8, 16)), "lane_steps": draw.choice((1, 2, 4)), "warps": draw.choice((1, 1, 4))}
    return {"sizes": sizes, "batch": draw.randint(1, 5), "steps": draw.randint(1, 70), "tiles": tiles[schedule] or None}


def _whole(run: Run) -> tuple[Launches, list[Off]]:
    def against(backend: str, **how: Any) -> dict[str, tuple[Tensor, Tensor]]:
        return against_reference(run.text, run.cell, run.all_sizes, run.batch, run.steps, run.dtype, backend=backend, **how)

    with emulated(run.target, run.noise, run.seed) as launches:
        found = against("triton", schedule=run.schedule, tiles=run.cut)
    if run.dtype == torch.float64:
        return launches, [Off(what, difference(*pair), FLOAT64) for what, pair in found.items()]
    plain = against("reference")
    return launches, [Off(what, difference(*pair), _allowed(*plain[what])) for what, pair in found.items()]


def _allowed(plain: Tensor, want: Tensor) -> float:
    return max(FLOAT32, AS_FAR * difference(plain.to(want.dtype), want))


class _Halved:
    """In place of the op of a recurrence: its streams are rounded. `calls` has what it was given, as leaves, and what it gave."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.op = dtype, recurrence.OP
        self.calls: list[tuple[str, list[list[Tensor]], Tensor | None, int, list[Tensor]]] = []

    def __call__(self, key: str, streams: list[Tensor], *rest: Any) -> list[Tensor]:
        *groups, reset, steps = rest
        given = [_leaves(streams, self.dtype), *(_leaves(group) for group in groups)]
        found = self.op(key, *given, reset, steps)
        self.calls.append((key, given, reset, steps, found))
        return [f.detach() for f in found]


def _leaves(group: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    return [t.detach().to(dtype or t.dtype).requires_grad_() for t in group]


def _halved(run: Run) -> tuple[Launches, list[Off]]:
    """Each recurrence by itself, against its equations on the same rounded streams: they and their gradients are the only numbers of half
    precision, so that nothing else is allowed than in float32, but for the rounding of those gradients."""
    torch.manual_seed(0)
    layer = layer_of(run.text, run.cell, run.all_sizes, backend="triton", schedule=run.schedule, dtype=torch.float32)
    layer.tiles = run.cut
    state = [s + 0.2 * torch.randn_like(s) if s.is_floating_point() else s for s in layer.initial_state(run.batch)]
    halved = _Halved(run.dtype)
    with emulated(run.target, run.noise, run.seed) as launches:
        with mock.patch.object(recurrence, "OP", halved):
            layer(*random_inputs(layer, run.batch, run.steps), state=state, reset=some_resets(run.batch, run.steps))
        found = [list(_with_gradients(call[1], call[-1])) for call in halved.calls]
    return launches, [off for call, got in zip(halved.calls, found, strict=True) for off in _by_equations(call, got, HALF[run.dtype])]


def _with_gradients(given: list[list[Tensor]], results: list[Tensor]) -> Iterator[Tensor]:
    """Results, and the gradients of all that was given, of a sum that weighs each finite entry differently."""
    g = torch.Generator().manual_seed(3)
    weighed = [torch.where(r.isfinite(), r, 0).double() * torch.randn(r.shape, generator=g, dtype=torch.float64) for r in results]
    yield from (r.detach() for r in results)
    yield from torch.autograd.grad(sum(w.sum() for w in weighed), list(chain(*given)), allow_unused=True, materialize_grads=True)


def _by_equations(call: tuple, got: list[Tensor], half: float) -> Iterator[Off]:
    """What a recurrence gave against its equations in float64; the equations in float32 say what is allowed."""
    key, given, reset, steps, results = call

    def equations(dtype: torch.dtype) -> list[Tensor]:
        leaves = [_leaves(group, dtype) for group in given]
        return list(_with_gradients(leaves, list(chain(*recurrence.known(key).reference(Call(*leaves, reset, steps))))))

    of_streams = range(len(results), len(results) + len(given[0]))
    for i, (value, want, plain) in enumerate(zip(got, equations(torch.float64), equations(torch.float32), strict=True)):
        rounding = half * want.abs() if i in of_streams else torch.zeros_like(want)
        gap = value.double() - want
        near = torch.where(gap.abs() <= rounding, want, want + gap - gap.sign() * rounding)
        yield Off(f"{'result' if i < len(results) else 'gradient'} {i} of {key[:60]}", difference(near, want), _allowed(plain, want))
