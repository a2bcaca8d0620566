"""The map that a shard makes of the state at its beginning: its Jacobian, unit by unit, where units do not meet inside a step.

A unit is a channel with its slots, or a column (row) of a matrix state that is multiplied from the left (right). Of all carried values of a recurrence, real
and imaginary parts apart, there is one tensor [B, units, entries]; a Jacobian is [B, units, entries, entries]. It is read off the backward pass of a sweep,
an entry at a time, with whatever kernels the sweep has. Where a step multiplies all columns by the same, they have one Jacobian, which is kept once: then a
pass reads as many entries as there are columns, another one of each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnndsl.runtime.complex_parts import real_view

_CHANNELWISE = {"diagonal": None, "block": None, "left": -2, "right": -1}


@dataclass(frozen=True)
class Units:
    """How carried values fall into units. axis: of their own axes the one whose entries meet; None where only slots do. like: a row of each value, without
    memory. is_one: whether all of it meets, in one unit. alike: how many units beside one another have the same Jacobian."""

    axis: int | None
    like: tuple[Tensor, ...]
    is_one: bool = False
    alike: int = 1

    @property
    def entries(self) -> int:
        """Of a unit."""
        slots = sum(1 + f.is_complex() for f in self.like)
        return slots if self.axis is None else slots * self.like[0].shape[self.axis]

    @property
    def passes(self) -> int:
        """Backward passes that a Jacobian takes."""
        return -(-self.entries // self.alike)

    def packed(self, values: Sequence[Tensor]) -> Tensor:
        """[B, units, entries]."""
        if self.is_one:
            return torch.cat([_rows(real_view(v)) for v in values], 1).unsqueeze(1)
        arrays = [a for v in values for a in (real_view(v).unbind(-1) if v.is_complex() else (v,))]
        if self.axis is None:
            return torch.stack([_rows(a) for a in arrays], -1)
        turned = [a.transpose(-1, self.axis) for a in arrays]
        return torch.cat([a.reshape(a.shape[0], math.prod(a.shape[1:-1]), a.shape[-1]) for a in turned], -1)

    def unpacked(self, packed: Tensor) -> list[Tensor]:
        """The values that `packed` took."""
        if self.is_one:
            shapes = [(packed.shape[0], *f.shape[1:]) for f in self.like]
            parts = packed.squeeze(1).split([math.prod(f.shape[1:]) * (1 + f.is_complex()) for f in self.like], 1)
            return [torch.view_as_complex(p.reshape(*s, 2)) if f.is_complex() else p.reshape(s) for p, s, f in zip(parts, shapes, self.like, strict=True)]
        slots = sum(1 + f.is_complex() for f in self.like)
        left = iter(packed.unbind(-1) if self.axis is None else packed.chunk(slots, -1))
        found = []
        for f in self.like:
            arrays = []
            for _ in range(1 + f.is_complex()):
                shape = f.shape[1:] if self.axis is None else f.transpose(-1, self.axis).shape[1:]
                a = next(left).reshape(packed.shape[0], *shape)
                arrays.append(a if self.axis is None else a.transpose(-1, self.axis))
            found.append(torch.complex(*arrays) if f.is_complex() else arrays[0])
        return found


def _rows(value: Tensor) -> Tensor:
    """[B, entries], of a state without axes too."""
    return value.reshape(value.shape[0], math.prod(value.shape[1:]))


def units_of(structure: str, first: Sequence[Tensor], rows: int | None = None) -> Units | None:
    """The units of a recurrence; None where all of it meets, or its values are of more shapes than one. rows: along which of the last two axes of a matrix
    state every column is multiplied by the same, if that is known."""
    if structure not in _CHANNELWISE or any(f.shape != first[0].shape for f in first):
        return None
    axis = _CHANNELWISE[structure]
    if axis is not None and first[0].dim() < 3:
        return None
    alike = max(1, first[0].shape[-3 - axis]) if axis is not None and axis == rows else 1
    return Units(axis, tuple(f[:1].to("meta") for f in first), alike=alike)


def one_unit(first: Sequence[Tensor]) -> Units:
    """All of a recurrence in one unit."""
    return Units(None, tuple(f[:1].to("meta") for f in first), is_one=True)


def jacobian(after: Tensor, before: Tensor, alike: int) -> Tensor:
    """∂after/∂before, [B, units / alike, entries, entries], of which units do not meet. `after` keeps its graph."""
    entries, rows = after.shape[-1], []
    for low in range(0, entries, alike):
        places = range(min(alike, entries - low))
        seed = torch.zeros_like(after).unflatten(1, (after.shape[1] // alike, alike))
        for i in places:
            seed[:, :, i, low + i] = 1
        found = pulled([after], [before], [seed.flatten(1, 2)])[0]
        rows.append(found.unflatten(1, seed.shape[1:3])[:, :, : len(places)])
    return torch.cat(rows, 2)


def pulled(outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Tensor | None], keep: bool = True) -> list[Tensor]:
    """The gradients of inputs, zeros where none come; the graph is kept."""
    pairs = [(o, s) for o, s in zip(outputs, seeds, strict=True) if s is not None and o.requires_grad]
    if not pairs:
        return [torch.zeros_like(i) for i in inputs]
    return list(torch.autograd.grad([o for o, _ in pairs], inputs, [s for _, s in pairs], retain_graph=keep, allow_unused=True, materialize_grads=True))


def product(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix · vector, unit by unit, of a Jacobian; nothing comes of an entry that is zero, whatever it meets: an infinite state moves nothing that does not
    read it."""
    groups = matrix.shape[1]
    m, v = matrix.unsqueeze(2), vector.unflatten(1, (groups, vector.shape[1] // max(1, groups))).unsqueeze(-2)
    return torch.where((m == 0) | (v == 0), 0.0, m * v).sum(-1).flatten(1, 2)
