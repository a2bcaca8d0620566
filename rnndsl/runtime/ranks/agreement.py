"""What ranks tell one another before a call, so that those that do not fit say so, all of them, instead of computing something else."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.complex_parts import real_view
from rnndsl.runtime.ranks.line import RankError, known
from rnndsl.runtime.ranks.options import Shards
from rnndsl.runtime.ranks.wire import Wire

_BYTES = 4096  # of what a rank says
_OWN = ("steps", "first", "together", "grad", "seen")  # what ranks may differ in


def agreed(wire: Wire, said: dict[str, Any]) -> list[dict[str, Any]]:
    """What each rank says of its call. Raises RankError, on every rank, where they do not fit."""
    text = json.dumps(said).encode()
    if len(text) > _BYTES:
        raise ValueError(f"group: what a rank says of its call is longer than {_BYTES} bytes")
    mine = torch.frombuffer(bytearray(text.ljust(_BYTES)), dtype=torch.uint8)
    found = wire.gather((wire.begun(),), [mine], "before a call of a layer")
    all_said = [json.loads(bytes(t.tolist()).decode()) for (t,) in found]
    try:
        _check(all_said)
    except RankError as e:
        known(e)  # by all, as all have read the same
        raise
    return all_said


def _check(all_said: Sequence[dict[str, Any]]) -> None:
    for what in all_said[0]:
        values: list[Any] = [one.get(what) for one in all_said]
        if what not in _OWN and any(v != values[0] for v in values):
            r = next(r for r, v in enumerate(values) if v != values[0])
            if what == "params":
                name = next(n for n, v in values[0].items() if values[r][n] != v)
                raise RankError(f"ranks do not fit one another: {name} has other values on rank {r} than on rank 0; params must be the same on all (one seed, one checkpoint, or a broadcast)")
            raise RankError(f"ranks do not fit one another: {what} is {values[0]} on rank 0, and {values[r]} on rank {r}")
    _check_order(all_said)


def _check_order(said: Sequence[dict[str, Any]]) -> None:
    """Raises RankError where steps do not follow one another from rank to rank, as far as ranks say which they have."""
    following = None
    for r, one in enumerate(said):
        if one["first"] is None or not one["steps"]:
            following = None if one["first"] is None and one["steps"] else following
            continue
        if not one["together"]:
            raise RankError(f"rank {r} has steps that do not follow one another, as shards of ring attention in zigzag; each rank must hold one piece of time, in rank order")
        if following is not None and one["first"] != following:
            raise RankError(f"wrong order of shards: rank {r} begins with step {one['first']}, where {following} was to follow; each rank must hold one piece of time, in rank order")
        following = one["first"] + one["steps"]


def said_of(layer: Any, shards: Shards, steps: int, batch: int, kind: dict[str, Any], products: torch.dtype, grads: bool, further: dict[str, Any]) -> dict[str, Any]:
    """What a rank says of its call."""
    positions = shards.positions
    if positions is not None and positions.shape[0] != steps:
        raise ValueError(f"positions: expected [T={steps}], got {list(positions.shape)}")
    first = int(positions[0]) if positions is not None and steps else None
    return {
        "steps": steps, "first": first, "together": positions is None or bool((positions.diff() == 1).all()), "grad": grads,
        "program": program_key(layer), "batch": batch, "dtype": str(kind["dtype"]), "products": str(products), "schedule": layer.schedule, "training": layer.training,
        "gradients enabled": torch.is_grad_enabled(), "final_state": shards.final_state, "reduce": shards.reduce, "way": shards.way,
        "inference": torch.is_inference_mode_enabled(), **further,
    }  # fmt: skip


def program_key(layer: Any) -> str:
    """A name and a digest of all that a layer's equations are made of, but for the values of its params."""
    cls = type(layer)
    program = cls._program and (cls._program.text, cls._program.cell)
    params = [(n, tuple(p.shape)) for n, p in layer.named_parameters()]
    made_of = [cls.__qualname__, program, layer._sizes, layer._hypers, layer._inputs, layer._fields, cls._states, cls._found, [n for n, _ in params]]
    return f"{cls.__name__} {hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"


def digests(layer: Any, values: Sequence[Tensor]) -> dict[str, str]:
    """Of each param and const a number that depends on all bits of its values."""
    if not values:
        return {}
    sums = torch.stack([_numbers(v.detach()).sum(dtype=torch.int64) for v in values])
    return {name: f"{(s ^ s >> 32) & 0xFFFFFFFF:x}" for name, s in zip(layer._tensors, sums.tolist(), strict=True)}


def _numbers(value: Tensor) -> Tensor:
    """All bits of a tensor as whole numbers: of 64 bits where they fit, which are summed at the speed of memory."""
    flat = real_view(value).contiguous().reshape(-1)
    size = flat.element_size()
    if flat.numel() * size % 8:
        return flat.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[size])
    return (flat.clone() if flat.storage_offset() * size % 8 else flat).view(torch.int64)


def any_grad(tensors: Sequence[Tensor]) -> bool:
    """Whether gradients may be asked for."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
