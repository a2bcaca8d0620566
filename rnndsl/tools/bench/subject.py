"""The cell under test: a layer, what it is called with, and what goes into its recurrence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rnndsl.checks.cell import Cell
from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import complex_of
from rnndsl.tools.arguments import check_sizes, do_not_fit
from rnndsl.tools.bench.settings import DEFAULT_SIZES, OTHER_SIZE

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Recurrence:
    """One call of a layer's `_scan`, as it was made."""

    name: str
    call: Call
    kind: dict[str, Any]
    states: tuple[Tensor, ...]  # what came out: [B, T, ...] each


def default_sizes(cell: Cell, given: dict[str, int]) -> dict[str, int]:
    """A number for every size of a cell. Raises Unfit for one that it does not have, or that is no size."""
    check_sizes(given, cell.sizes)
    return {n: given.get(n, DEFAULT_SIZES.get(n, OTHER_SIZE)) for n in cell.sizes}


def make_layer(cell: Cell, layer_class: Any, sizes: dict[str, int], dtype: str) -> Any:
    """A layer on the reference backend, in evaluation mode: noise is its mean. Raises Unfit for sizes that do not fit the cell."""
    torch.manual_seed(0)
    try:
        return layer_class(**sizes, dtype=DTYPES[dtype], backend="reference").eval()
    except ValueError as e:
        raise do_not_fit(cell.name, sizes, e) from None


@dataclass
class Subject:
    """A layer, and tensors to call it with: a batch of sequences and the gradients of a loss in its outputs."""

    cell: Cell
    layer: Any
    batch: int
    steps: int

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """[B, T, ...] each, normal."""
        return self._drawn([(self.batch, self.steps, *shape) for _, shape, _ in self.layer._inputs], 1)

    def step_inputs(self, batch: int) -> tuple[Tensor, ...]:
        """[batch, ...] each."""
        return self._drawn([(batch, *shape) for _, shape, _ in self.layer._inputs], 2)

    def _drawn(self, shapes: list[tuple[int, ...]], seed: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        dtype = self.layer._own_dtype()
        found = []
        for shape, (_, _, is_complex) in zip(shapes, self.layer._inputs, strict=True):
            kind = complex_of(dtype) if is_complex else dtype
            found.append(torch.randn(shape, generator=generator, dtype=kind).to(self.layer._own_device()))
        return tuple(found)

    @cached_property
    def recurrences(self) -> tuple[Recurrence, ...]:
        """What one call of the layer gives to its recurrences, in the order in which they run."""
        found: list[Recurrence] = []
        layer = self.layer

        def record(name: str, call: Call, kind: dict[str, Any]) -> Any:
            results = type(layer)._scan(layer, name, call, kind)
            found.append(Recurrence(name, call, kind, results[0]))
            return results

        with torch.no_grad(), replaced_scan(layer, record):
            layer(*self.inputs)
        return tuple(found)


@contextmanager
def replaced_scan(layer: Any, scan: Any) -> Iterator[None]:
    """The layer with another `_scan` in place of its own."""
    layer._scan = scan
    try:
        yield
    finally:
        del layer._scan


def weights_like(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The gradients of a loss that is a weighted sum: the same for the same shapes on the same device."""
    generators = {d: torch.Generator(d).manual_seed(3) for d in {t.device for t in tensors}}
    return tuple(torch.randn(t.shape, generator=generators[t.device], dtype=t.dtype, device=t.device) for t in tensors)
