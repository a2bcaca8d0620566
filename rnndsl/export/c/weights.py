"""Numbers as C arrays: weights in float or double, or in int8 with a scale a row."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from rnndsl.export.c.text import number

_WIDTH = 120


@dataclass(frozen=True)
class Weights:
    """A constant array of a header. scales: of rows of int8, the name of their array and what it holds."""

    name: str
    about: str
    values: Tensor
    shape: tuple[int, ...]
    scales: tuple[str, Tensor] | None = None

    @property
    def is_array(self) -> bool:
        return prod(self.shape) > 1 or self.scales is not None

    def size(self, width: int) -> int:
        """Bytes, of reals that have `width` each."""
        return prod(self.shape) * (1 if self.scales else width) + (self.scales[1].numel() * width if self.scales else 0)

    def lines(self, real: str) -> list[str]:
        """Its definition."""
        if self.scales is None:
            return constant(real, self.name, self.values, is_array=self.is_array)
        whole = [str(int(v)) for v in self.values.flatten().tolist()]
        return [*_array(f"static const int8_t {self.name}[{len(whole)}]", whole), *constant(real, *self.scales)]


def quantised(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as whole numbers from -127 to 127, and the scale of each row, which is exact in single precision. Raises ValueError for what is not finite."""
    rows = matrix.reshape(-1, matrix.shape[-1])
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("int8 holds no infinity and no NaN")
    scales = (rows.abs().amax(1) / 127).to(torch.float32).to(torch.float64)
    whole = torch.where(scales[:, None] > 0, rows / scales[:, None], 0.0).round().clamp(-127, 127)
    return whole.reshape(matrix.shape), scales


def constant(real: str, name: str, values: Tensor, is_array: bool = True, is_exact: bool = True) -> list[str]:
    """Reals as a constant. Raises ValueError for a finite number that the type cannot hold, if `is_exact`; else it becomes an infinite one."""
    flat = values.flatten().tolist()
    texts = [number(v, real).code for v in flat]
    for v, text in zip(flat, texts, strict=True):
        if is_exact and text.endswith("INFINITY") and v not in (float("inf"), -float("inf")):
            raise ValueError(f"{v:g} is too large for {real}")
    if not is_array:
        return [f"static const {real} {name} = {texts[0]};"]
    return _array(f"static const {real} {name}[{len(texts)}]", texts)


def _array(head: str, texts: list[str]) -> list[str]:
    whole = f"{head} = {{{', '.join(texts)}}};"
    if len(whole) <= _WIDTH:
        return [whole]
    lines, row = [f"{head} = {{"], " "
    for text in texts:
        if len(row) + len(text) + 2 > _WIDTH:
            lines.append(row)
            row = " "
        row += f" {text},"
    return [*lines, row, "};"]
