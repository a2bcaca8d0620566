"""The cell under test: layers with the same numbers on every backend and in every dtype, and what they are called with."""

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnndsl.checks.cell import Cell
from rnndsl.plan.ir import Plan
from rnndsl.tools import Unfit

WARM = 5  # steps before a carried state
SPREAD = 0.3, 0.7  # of the normal numbers that are added to a vector; and, over the root of its columns, to a matrix: none is left at zero
GRID = 32  # inputs are multiples of 1 / GRID, which a 16-bit float holds exactly


@dataclass(frozen=True)
class Case:
    """A call: sequences and steps, whether it goes on from a state, whether it has resets."""

    batch: int
    steps: int
    given: bool = False
    reset: bool = False

    def __str__(self) -> str:
        more = [text for on, text in ((self.given, "a carried state"), (self.reset, "resets")) if on]
        return f"B={self.batch}, T={self.steps}" + (f", with {' and '.join(more)}" if more else "")


@dataclass(frozen=True)
class Arguments:
    """What a layer is called with. inputs: [B, T, ...] each; state: a field each, [B, ...], or None; reset: bool [B, T], or None."""

    inputs: tuple[Tensor, ...]
    state: tuple[Tensor, ...] | None
    reset: Tensor | None


class Subject:
    """A cell with sizes and a seed. Layers are in evaluation mode, so that noise is its mean; numbers are drawn in float32, which float64 holds."""

    def __init__(self, cell: Cell, plan: Plan, layer_class: Any, sizes: dict[str, int], seed: int):
        """Raises Unfit for sizes that do not fit the cell."""
        self.cell, self.plan, self.sizes, self.seed = cell, plan, sizes, seed
        self.outputs = tuple(o.name for o in cell.outputs)
        self._states: dict[int, tuple[Tensor, ...]] = {}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            try:
                self._base = layer_class(**sizes, dtype=torch.float32, backend="reference").eval()
                for p in self._base.parameters():
                    p.add_(_spread(p) * torch.randn_like(p))
                for v in cell.of_role("const"):
                    if v.value is None:
                        const = getattr(self._base, v.name)
                        const.normal_().mul_(_spread(const))
                self._base(*self.arguments(Case(1, 1)).inputs)
            except (ValueError, RuntimeError) as e:
                shown = ", ".join(f"{n}={v}" for n, v in sizes.items())
                raise Unfit(f"{cell.name} with {shown}: {e}; give sizes that fit: --size {' '.join(f'{n}=…' for n in sizes)}") from None

    def layer(
        self,
        backend: str = "reference",
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
        schedule: str = "auto",
        scale: float = 1.0,
        products: torch.dtype | None = None,
    ) -> Any:
        """A layer for inputs of a dtype, its params times `scale`; for 16-bit inputs it is in float32. products: the dtype of its products of params
        and inputs, where it is not the layer's own choice. Raises ValueError where a backend cannot run it."""
        layer = copy.deepcopy(self._base)
        with torch.no_grad():
            for p in layer.parameters():
                p.mul_(scale)
        layer = layer.to(device, torch.float64 if dtype == torch.float64 else torch.float32)
        layer.backend, layer.schedule = backend, schedule
        if products is not None:
            begin = layer._begin
            layer._begin = lambda inputs: begin(inputs)._replace(products=products)
        return layer

    def arguments(self, case: Case, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Arguments:
        """What a case calls layers with: the same numbers in every dtype."""
        state = None
        if case.given:
            state = tuple(_cast(s, torch.float64 if dtype == torch.float64 else torch.float32, device) for s in self._carried(case.batch))
        inputs = tuple(_cast(x, dtype, device) for x in self._inputs(case.batch, case.steps, 1))
        return Arguments(inputs, state, _resets(case, self.seed).to(device) if case.reset else None)

    def _inputs(self, batch: int, steps: int, stream: int) -> list[Tensor]:
        """[B, T, ...] each, near normal."""
        generator = torch.Generator().manual_seed(1000 * self.seed + stream)
        found = []
        for _, shape, is_complex in self._base._inputs:
            parts = torch.randn(batch, steps, *map(int, shape), 1 + is_complex, generator=generator)
            parts = (parts * GRID).round() / GRID
            found.append(torch.view_as_complex(parts) if is_complex else parts.squeeze(-1))
        return found

    def _carried(self, batch: int) -> tuple[Tensor, ...]:
        """The state after some steps of other inputs: one that the cell can come to. Kept, since its last digit may depend on threads."""
        if batch not in self._states:
            with torch.no_grad():
                self._states[batch] = tuple(self._base(*self._inputs(batch, WARM, 2))[1])
        return self._states[batch]

    @cached_property
    def states(self) -> int:
        """How many numbers the states of a sequence are; those of the outputs for a cell without a state."""
        names = [v.name for v in self.cell.of_role("state")]
        with torch.no_grad():
            y, end = self._base(*self._inputs(1, 1, 1))
        values = [getattr(end, n) for n in names if n in end._fields] or ([y] if isinstance(y, Tensor) else list(y))
        return sum(v.numel() for v in values)

    def __str__(self) -> str:
        return ", ".join(f"{n}={v}" for n, v in self.sizes.items())


def _spread(t: Tensor) -> float:
    """Small enough that a product with a matrix is no larger than what it is taken of: chaos would hide errors."""
    return SPREAD[0] if t.dim() < 2 else SPREAD[1] / t.shape[-1] ** 0.5


def _cast(t: Tensor, dtype: torch.dtype, device: str) -> Tensor:
    """A tensor in a dtype, complex of the same precision where it is complex; counts stay whole."""
    if t.is_complex():
        return t.to(device, torch.complex128 if dtype == torch.float64 else torch.complex64)
    return t.to(device, dtype if t.is_floating_point() else t.dtype)


def _resets(case: Case, seed: int) -> Tensor:
    """Resets at the first step, in the middle, at the last one, and here and there."""
    reset = torch.rand(case.batch, case.steps, generator=torch.Generator().manual_seed(1000 * seed + 3)) < 0.2
    if case.batch and case.steps:
        reset[0, 0] = True
        reset[-1, case.steps // 2] = True
        reset[-1, -1] = True
    return reset
