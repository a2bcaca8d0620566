"""Calls of kernels of whole steps: what they are given, in the order of their parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from rnndsl.devices import Device
from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import cast_to
from rnndsl.runtime.lags import kept
from rnndsl.runtime.memory import rows
from rnndsl.runtime.triton.cut import BLOCK, holding, in_registers, power_of_two
from rnndsl.runtime.triton.interpreter import is_interpreted
from rnndsl.runtime.triton.launch import before, given_of, launch
from rnndsl.runtime.triton.precision import IEEE, TF32, TF32X3, of_products
from rnndsl.runtime.triton.tiled import Sized, Tiled, TiledStep

WIDEST = 1 << 15  # entries of a value that a program has at most
_A_WARP, _MOST_WARPS = 1024, 16  # entries of a value that one warp has; and the most warps
_MATRICES, _MATRICES_BACK = 3072, 1536  # entries that one warp has of matrices that stay in registers, forwards and backwards
_MANY = 4096  # entries of a value in many rows, beyond which what a step has of them at once does not fit into registers
_MULTIPLIERS = 128  # of float32, of a processor
_FASTER = {IEEE: 1.0, TF32X3: 4 / 3, TF32: 4.0}  # how many times faster products of matrices are than multiplying and adding, by their precision
_READ = 1 << 19  # entries of matrices that a program reads in a step of a whole cell, beyond which products of their own take less time than their launches


@dataclass(frozen=True)
class TileCut:
    """How a kernel is cut: rows of the batch that one program has, and its warps; how exact its products of matrices are, None where it has none; and how many
    programs compute the steps of the same rows together, 0 where each has rows of its own."""

    rows: int
    warps: int
    precision: str | None = None
    together: int = 0

    def __str__(self) -> str:
        said = f"{self.rows} row{'s' * (self.rows != 1)} and {self.warps} warp{'s' * (self.warps != 1)} a program"
        said += f", of which {self.together} compute the same rows together" * (self.together > 0)
        return f"{said}, products of matrices in {self.precision}" if self.precision else said


@dataclass(frozen=True)
class Asked:
    """A call, as far as it says how a kernel is cut: its rows, the device that runs it, and how exact its products of matrices may be. itemsize: of what it
    computes in."""

    batch: int
    device: Device
    precision: str
    itemsize: int
    backward: bool = False


def asked(batch: int, device: torch.device, model: Callable[[torch.device], Device], dtype: torch.dtype, backward: bool = False) -> Asked:
    """What a call asks for; float64 is exact whatever is asked for."""
    return Asked(batch, model(device), of_products(device) if dtype == torch.float32 else IEEE, dtype.itemsize, backward)


def fits(kernels: Sized) -> bool:
    """Whether a program can hold a step of one row."""
    return kernels.widest <= WIDEST


def steps_at_once(kernel: TiledStep) -> bool:
    """Whether one launch is a step of a whole cell, where that pays."""
    return fits(kernel) and kernel.matrices <= _READ


def usual_cut(kernels: Sized, wish: Mapping[str, int], call: Asked) -> TileCut:
    """How kernels are cut, where it is not wished otherwise: as many rows as a model of the device takes, and as many warps as what is largest in a step
    keeps busy, and a block of a product beside values that are as large. Raises ValueError where no program can hold that."""
    rows = wish.get("rows") or _rows(kernels, call)
    dots = kernels.dot_rows <= rows and _dots_fit(kernels, rows, call)
    if (entries := kernels.held(rows, dots)) > WIDEST:
        raise ValueError(f"backend: 'triton' has no kernel for these sizes: a step has a value of {entries:,} entries, of which a program holds {WIDEST:,} at most; use 'auto'")
    matrices = kernels.matrices if in_registers(kernels.matrices) else 0
    of_matrices = matrices * (2 if dots and call.precision == TF32X3 else 1) / (_MATRICES_BACK if call.backward else _MATRICES)
    beside = kernels.matrices > matrices and rows * kernels.values >= BLOCK and (not dots or call.backward or call.precision == TF32X3)
    warps = power_of_two(ceil(max((entries + BLOCK * beside) / _A_WARP, of_matrices)))
    return TileCut(rows, wish.get("warps", min(_MOST_WARPS, warps)), call.precision if dots else None)


def shared_cut(kernels: Tiled, wish: Mapping[str, int], call: Asked) -> TileCut:
    """How kernels are cut where several programs compute the steps of the same rows together, as is wished. Raises ValueError where they would not all run at a
    time, which a barrier needs, or a part of a product is too large for one."""
    together, rows = wish["together"], wish.get("rows", 1)
    programs = -(-call.batch // rows) * kernels.programs * together
    if programs > call.device.processors:
        raise ValueError(f"tiles: together: {programs} programs would wait for each other, of which '{call.device.name}' runs {call.device.processors:.0f} at a time; ask for fewer")
    entries = rows * max(kernels.values, -(-kernels.divided // together))
    if entries > WIDEST:
        raise ValueError(f"tiles: together: a program would have {entries:,} entries of a product, of which it holds {WIDEST:,} at most; ask for more programs")
    held = kernels.matrices / together if together >= holding(kernels.matrices) else 0
    warps = power_of_two(ceil(max(entries / _A_WARP, held / (_MATRICES_BACK if call.backward else _MATRICES))))
    return TileCut(rows, wish.get("warps", min(_MOST_WARPS, warps)), None, together)


def _rows(kernels: Sized, call: Asked) -> int:
    """One row a program, or as many as make products those of matrices: which of them lets a processor compute the steps of all its programs, and read
    the matrices that are not in registers, in fewer cycles."""
    many = kernels.dot_rows
    if many == 1 or many > call.batch or many * kernels.values > _MANY or not _dots_fit(kernels, many, call):
        return 1

    def cycles(rows: int) -> float:
        programs = -(-call.batch // rows) * kernels.programs
        reading = 0.0 if in_registers(kernels.matrices) else 4 / call.device.near_rate
        faster = _FASTER[call.precision] if rows > 1 else 1.0
        return ceil(programs / call.device.processors) * kernels.matrices * (rows / (_MULTIPLIERS * faster) + reading)

    return min((1, many), key=cycles)


def _dots_fit(kernels: Sized, rows: int, call: Asked) -> bool:
    """Whether shared memory holds what products of matrices take there: the matrices, backwards also transposed, or two blocks; in tf32x3 twice."""
    matrices = kernels.matrices * (1 + call.backward) if in_registers(kernels.matrices) else 2 * max(BLOCK, min(16, rows) * kernels.values)  # 16 sums and 1 / 16 of a result
    entries = (matrices + rows * kernels.values) * (1 + (call.precision == TF32X3))
    return entries * call.itemsize <= 0.95 * call.device.shared


def forward(kernels: Tiled, cut: TileCut, call: Call) -> list[Tensor]:
    """The sequences of the states and what is carried on."""
    first, steps, batch = call.first, call.steps, call.first[0].shape[0]
    sequences = [f.new_empty((batch, steps, *f.shape[1:])) for f in first[: kept(kernels.lags)]]
    if steps == 0 or batch == 0:
        return [*sequences, *(f.clone() for f in first)]
    finals = [torch.empty(f.shape, dtype=f.dtype, device=f.device) for f in first]
    given, _alive = given_of(call.streams, call.statics, call)
    _launch(kernels.forward, kernels, cut, [*given, *sequences, *finals], kernels.scratch[0], batch, (steps,), first[0], kernels.common[0])
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
    factors = [[like.new_zeros((n, *left.shape)) if n > 1 else left, right] for n, (left, right) in zip(kernels.shared_factors, factors, strict=True)]
    given += [*of_streams, *sums, *(t for pair in zip(of_first, of_initial, strict=True) for t in pair), *(t for pair in factors for t in pair)]
    _launch(kernels.backward, kernels, cut, given, kernels.scratch[1], batch, (steps,), like, kernels.common[1])

    of_statics = [torch.zeros_like(s, memory_format=torch.contiguous_format) for s in call.statics]
    for n, outer, (left, right) in zip(kernels.shared_factors, kernels.outers, factors, strict=True):
        if wanted[len(call.streams) + outer.index]:
            outer.add(of_statics[outer.index], left.sum(0) if n > 1 else left, right)
    for sum_, found in zip(kernels.sums, sums, strict=True):
        into = of_statics[sum_.array] if sum_.slice is None else of_statics[sum_.array][sum_.slice]
        into += found.sum(0).reshape(into.shape)
    ended = [torch.zeros_like(i) if g is None else g.sum(0) for i, g in zip(initial, of_initial, strict=True)]
    of_streams = [cast_to(g[0] if len(g) == 1 else g.sum(0), s.dtype) for g, s in zip(of_streams, call.streams, strict=True)]
    return [*of_streams, *of_statics, *of_first, *ended]


def step(kernel: TiledStep, cut: TileCut, given: list[Any], batch: int, like: Tensor) -> None:
    """One step of a whole cell. given: what the kernel reads and writes; like: a tensor of the dtype and device that it computes in."""
    _launch(kernel.kernel, kernel, cut, given, kernel.scratch, batch, (), like)


def _launch(
    kernel: Any, kernels: Sized, cut: TileCut, given: list[Any], scratch: int, batch: int, steps: tuple[int, ...], like: Tensor, common: int = 0
) -> None:
    """common: how many entries the programs of a row share of memory where they compute together, 0 of a kernel whose programs never do."""
    groups = -(-batch // cut.rows) * kernels.programs
    if groups == 0:
        return
    together = 1 if cut.together and is_interpreted(kernel) else cut.together if common else 0
    programs = groups * max(1, together)
    own: list[Any] = [like.new_empty(programs * cut.rows * scratch)] if scratch else []
    settings: dict[str, Any] = {"TOGETHER": together} if common else {}
    if together:
        own += [like.new_empty(groups * cut.rows * common), like.new_zeros(groups, dtype=torch.int32)]
        settings |= {"launch_cooperative_grid": True} if together > 1 else {}
    elif common:
        own += [None, None]
    launch(kernel, programs, [*given, *own, batch, *steps], like, ROWS=cut.rows, PRECISION=cut.precision, num_warps=cut.warps, **settings)
