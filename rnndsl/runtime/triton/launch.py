"""Calls of kernels of channels, and what calls of all Triton kernels have in common: what they are given, in the order of their parameters."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import cast_to
from rnndsl.runtime.lags import kept
from rnndsl.runtime.memory import require_readable, rows
from rnndsl.runtime.ops import lagged
from rnndsl.runtime.triton.channels import Access, Channels, zeros_or_empty
from rnndsl.runtime.triton.interpreter import found_once, is_interpreted
from rnndsl.tiles import SEQUENTIAL, Tiles

REPORT = 5  # values that a program reports: chunks, rounds, most rounds of a chunk, chunks run step by step, largest residual
_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int32)  # of what kernels read and write
TOLERANCE = {torch.float32: (2e-6, 1e-3), torch.float64: (1e-13, 1e-6)}  # of the residual, and of the corrections before it is taken


def forward(kernels: Channels, tiles: Tiles, boxes: Sequence[tuple[float, float]], call: Call) -> tuple[list[Tensor], Tensor | None]:
    """Sequences, last values and what follows, and what the programs report: [programs, REPORT], nothing of a sequential kernel."""
    first, steps = call.first, call.steps
    batch, real = first[0].shape[0], first[0].dtype
    sequences = [torch.empty((batch, steps, *f.shape[1:]), dtype=f.dtype, device=f.device) for f in first[: kept(kernels.lags)]]
    finals = [torch.empty(f.shape, dtype=f.dtype, device=f.device) for f in first]
    follows = [torch.empty((batch, steps, *kernels.grid), dtype=real, device=first[0].device) for _ in range(sum(kernels.follows))]
    channels = batch * kernels.count
    if channels == 0 or steps == 0:
        return [*sequences, *(f.clone() for f in first), *follows], None
    given, _alive = _given(kernels, call)
    given += [*sequences, *finals, *follows]
    if tiles.schedule == SEQUENTIAL:
        _launch(kernels.sequential, tiles, channels, [*given, batch, steps], first[0])
        return [*sequences, *finals, *follows], None
    report = torch.empty((_programs(channels, tiles), REPORT), dtype=torch.float32, device=first[0].device)
    if kernels.is_exact:
        _launch(kernels.parallel, tiles, channels, [*given, report, batch, steps], first[0])
        return [*sequences, *finals, *follows], report
    for sequence, guess in zip(sequences, call.guess, strict=bool(call.guess)):  # where it is to go, a kernel finds what it may be
        assert guess is not None
        sequence.copy_(guess)
    given += [*(bound for i in kernels.boxed for bound in boxes[i]), report, *TOLERANCE[real]]
    _launch(kernels.parallel, tiles, channels, [*given, batch, steps], first[0], GUESSED=bool(call.guess))
    return [*sequences, *finals, *follows], report


def backward(
    kernels: Channels, tiles: Tiles, call: Call, sequences: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor]:
    """The gradients of streams, statics, first and initial values."""
    first, initial, steps = call.first, call.initial, call.steps
    batch, like = first[0].shape[0], first[0]
    channels = batch * kernels.count
    after = len(sequences) + len(first)
    seeds, ends = [*grads[: len(sequences)], *grads[after:]], grads[len(sequences) : after]
    if channels == 0 or steps == 0:
        passed = [torch.zeros_like(f) if g is None else g.to(f.dtype, copy=True) for f, g in zip(first, ends, strict=True)]
        return [*(torch.zeros_like(t) for t in (*call.streams, *call.statics)), *passed, *(torch.zeros_like(t) for t in initial)]
    given, alive = _given(kernels, call)
    given += before(kernels.lags, kernels.nearer, sequences, call)
    for seed in seeds:
        if seed is None:
            given += [None, 0, 0]
        else:
            alive.append(rows(seed, 2))
            given += [alive[-1], alive[-1].stride(0), alive[-1].stride(1)]
    given += [None if g is None else rows(g, 0) for g in ends]

    of_streams = [zeros_or_empty(s, kernels.covers(i, s.shape[2:]), like.dtype) for i, s in enumerate(call.streams)]
    of_statics = [torch.zeros_like(s, memory_format=torch.contiguous_format) for s in call.statics]
    apart: list[tuple[Access, Tensor]] = []  # gradients of streams, one a channel
    for access in kernels.streams:
        if access.direct:
            into = of_streams[access.array]
        else:
            into = torch.empty((batch, steps, *kernels.grid), dtype=like.dtype, device=like.device)
            apart.append((access, into))
        given += [into, into.stride(0), into.stride(1)]
    sums = [torch.empty((batch, *kernels.grid), dtype=like.dtype, device=like.device) for _ in kernels.statics]
    given += sums
    of_first = [torch.empty(f.shape, dtype=f.dtype, device=f.device) for f in first]
    of_initial = [torch.empty(f.shape, dtype=f.dtype, device=f.device) for f in first] if call.reset is not None else [None] * len(first)
    given += [t for pair in zip(of_first, of_initial, strict=True) for t in pair]

    kernel = kernels.sequential_back if tiles.schedule == SEQUENTIAL else kernels.parallel_back
    _launch(kernel, tiles, channels, [*given, batch, steps], like)
    for access, values in apart:
        access.add(of_streams[access.array], values, 2)
    for access, values in zip(kernels.statics, sums, strict=True):
        access.add(of_statics[access.array], values.sum(0), 0)
    ended = [torch.zeros_like(i) if g is None else g.sum(0) for i, g in zip(initial, of_initial, strict=True)]
    of_streams = [cast_to(g, s.dtype) for g, s in zip(of_streams, call.streams, strict=True)]
    return [*of_streams, *of_statics, *of_first, *ended]


def given_of(streams: Sequence[Tensor], statics: Sequence[Tensor], call: Call) -> tuple[list[Any], list[Tensor]]:
    """What every kernel is given first of a call, and the tensors that must be kept until it runs. streams, statics: those that it reads."""
    given: list[Any] = []
    alive: list[Tensor] = []
    for stream in streams:
        alive.append(rows(stream, 2))
        given += [alive[-1], alive[-1].stride(0), alive[-1].stride(1)]
    given += [rows(s, 0) for s in statics]
    for begin, again in zip(call.first, call.initial, strict=True):
        given += [rows(begin, 0), rows(again, 0)]
    if call.reset is None:
        return [*given, None, 0, 0], alive
    mask = call.reset.view(torch.uint8)
    return [*given, mask, mask.stride(0), mask.stride(1)], alive


def _given(kernels: Channels, call: Call) -> tuple[list[Any], list[Tensor]]:
    return given_of([call.streams[i] for i in kernels.stream_arrays], [call.statics[i] for i in kernels.static_arrays], call)


def before(lags: Sequence[int], nearer: Sequence[int], sequences: Sequence[Tensor], call: Call) -> list[Tensor]:
    """For each slot its sequence, or, of one that is further back than a step, that of its values before each step."""
    found: list[Tensor] = []
    old: list[Tensor] = []  # of all slots, the value before each step; made where one further back asks for it
    states = len(sequences)
    sequences = [rows(s, 0) for s in sequences]
    for i, lag in enumerate(lags):
        if lag == 1:
            found.append(sequences[i])
            old.append(lagged(sequences[i], call.first[i], call.initial[i], call.reset) if len(lags) > states else sequences[i])
        else:
            old.append(lagged(old[nearer[i]], call.first[i], call.initial[i], call.reset).contiguous())
            found.append(old[-1])
    return found


def _programs(channels: int, tiles: Tiles) -> int:
    return -(-channels // tiles.channels)


def _launch(kernel: Any, tiles: Tiles, channels: int, given: list[Any], like: Tensor, **further: bool) -> None:
    """Runs a kernel on the device of a tensor, on the current stream."""
    if tiles.schedule == SEQUENTIAL:
        cut = {"AHEAD": tiles.ahead}
    else:
        cut = {"LANES": tiles.lanes, "LANE_STEPS": tiles.lane_steps}
    launch(kernel, _programs(channels, tiles), given, like, BLOCK=tiles.channels, num_warps=tiles.warps, **cut, **further)


def launch(kernel: Any, programs: int, given: list[Any], like: Tensor, **settings: Any) -> None:
    """Runs a kernel on the device of a tensor, on the current stream. The only place where an address leaves Python for a kernel in Triton.
    Raises RuntimeError for a tensor that cannot be read at one."""
    for t in given:
        if isinstance(t, Tensor):
            require_readable(t, _TYPES, like.device)
    with torch.cuda.device_of(like) if like.is_cuda else found_once() if is_interpreted(kernel) else nullcontext():
        kernel[(programs,)](*given, enable_fp_fusion=True, **settings)
