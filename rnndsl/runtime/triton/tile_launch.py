"""Calls of kernels of whole steps: what they are given, in the order of their parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import cast_to
from rnndsl.runtime.memory import rows
from rnndsl.runtime.triton.cut import power_of_two
from rnndsl.runtime.triton.launch import before, given_of, launch
from rnndsl.runtime.triton.tiled import Tiled, TiledStep

_A_WARP, _A_WARP_BACK, _MOST_WARPS = 1024, 512, 16  # entries of a value that one warp has, forwards and backwards; and the most warps
WIDEST = 1 << 15  # entries of a value that a program has at most


@dataclass(frozen=True)
class TileCut:
    """How a kernel is cut: rows of the batch that one program has, and its warps."""

    rows: int
    warps: int

    def __str__(self) -> str:
        return f"{self.rows} row{'s' * (self.rows != 1)} and {self.warps} warp{'s' * (self.warps != 1)} a program"


def fits(kernels: Tiled | TiledStep) -> bool:
    """Whether a program can hold a step of one row."""
    return kernels.widest <= WIDEST


def usual_cut(kernels: Tiled | TiledStep, wish: Mapping[str, int], backward: bool = False) -> TileCut:
    """How kernels are cut, where it is not wished otherwise: one row, and as many warps as what is largest in a step keeps busy. Raises ValueError
    where no program can hold that."""
    rows = wish.get("rows", 1)
    if (entries := rows * kernels.widest) > WIDEST:
        raise ValueError(f"backend: 'triton' has no kernel for these sizes: a step has a value of {entries:,} entries, of which a program holds {WIDEST:,} at most; use 'auto'")
    warps = power_of_two(-(-entries // (_A_WARP_BACK if backward else _A_WARP)))
    return TileCut(rows, wish.get("warps", min(_MOST_WARPS, warps)))


def forward(kernels: Tiled, cut: TileCut, call: Call) -> list[Tensor]:
    """The sequences of the states and what is carried on."""
    first, steps, batch = call.first, call.steps, call.first[0].shape[0]
    sequences = [f.new_empty((batch, steps, *f.shape[1:])) for f, lag in zip(first, kernels.lags, strict=True) if lag == 1]
    if steps == 0 or batch == 0:
        return [*sequences, *(f.clone() for f in first)]
    finals = [torch.empty(f.shape, dtype=f.dtype, device=f.device) for f in first]
    given, _alive = given_of(call.streams, call.statics, call)
    _launch(kernels.forward, kernels, cut, [*given, *sequences, *finals], kernels.scratch[0], batch, (steps,), first[0])
    return [*sequences, *finals]


def backward(kernels: Tiled, cut: TileCut, call: Call, sequences: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor]:
    """The gradients of streams, statics, first and initial values."""
    first, initial, steps, like = call.first, call.initial, call.steps, call.first[0]
    batch = like.shape[0]
    seeds, ends = grads[: len(sequences)], grads[len(sequences) :]
    if steps == 0 or batch == 0:
        passed = [torch.zeros_like(f) if g is None else g.to(f.dtype, copy=True) for f, g in zip(first, ends, strict=True)]
        return [*(torch.zeros_like(t) for t in (*call.streams, *call.statics)), *passed, *(torch.zeros_like(t) for t in initial)]
    given, alive = given_of(call.streams, call.statics, call)
    given += before(kernels.lags, kernels.nearer, sequences, call)
    for seed in seeds:
        alive += [] if seed is None else [rows(seed, 2)]
        given += [None, 0, 0] if seed is None else [alive[-1], alive[-1].stride(0), alive[-1].stride(1)]
    given += [None if g is None else rows(g, 0) for g in ends]

    of_streams = []
    for i, s in enumerate(call.streams):
        count = kernels.shared[i]
        made = torch.zeros if count > 1 or i in kernels.partial else torch.empty
        of_streams.append(made((count, *s.shape), dtype=s.dtype if count == 1 else like.dtype, device=s.device))
    parts = -(-batch // cut.rows)
    sums = [like.new_zeros((parts * s.parts, max(1, s.slices), *s.shape)) for s in kernels.sums]
    of_first = [torch.empty(f.shape, dtype=f.dtype, device=f.device) for f in first]
    of_initial = [None if call.reset is None else torch.empty(f.shape, dtype=f.dtype, device=f.device) for f in first]
    factors = [o.factors(like, batch, steps) for o in kernels.outers]
    given += [*of_streams, *sums, *(t for pair in zip(of_first, of_initial, strict=True) for t in pair), *(t for pair in factors for t in pair)]
    _launch(kernels.backward, kernels, cut, given, kernels.scratch[1], batch, (steps,), like)

    of_statics = [torch.zeros_like(s, memory_format=torch.contiguous_format) for s in call.statics]
    for outer, (left, right) in zip(kernels.outers, factors, strict=True):
        if wanted[len(call.streams) + outer.index]:
            outer.add(of_statics[outer.index], left, right)
    for sum_, found in zip(kernels.sums, sums, strict=True):
        into = of_statics[sum_.array] if sum_.slice is None else of_statics[sum_.array][sum_.slice]
        into += found.sum(0).reshape(into.shape)
    ended = [torch.zeros_like(i) if g is None else g.sum(0) for i, g in zip(initial, of_initial, strict=True)]
    of_streams = [cast_to(g[0] if len(g) == 1 else g.sum(0), s.dtype) for g, s in zip(of_streams, call.streams, strict=True)]
    return [*of_streams, *of_statics, *of_first, *ended]


def step(kernel: TiledStep, wish: Mapping[str, int], given: list[Any], batch: int, like: Tensor) -> None:
    """One step of a whole cell. given: what the kernel reads and writes; like: a tensor of the dtype and device that it computes in."""
    _launch(kernel.kernel, kernel, usual_cut(kernel, wish), given, kernel.scratch, batch, (), like)


def _launch(
    kernel: Any, kernels: Tiled | TiledStep, cut: TileCut, given: list[Any], scratch: int, batch: int, steps: tuple[int, ...], like: Tensor
) -> None:
    programs = -(-batch // cut.rows) * kernels.programs
    if programs == 0:
        return
    own = [like.new_empty(programs * cut.rows * scratch)] if scratch else []
    launch(kernel, programs, [*given, *own, batch, *steps], like, ROWS=cut.rows, num_warps=cut.warps)
