"""The largest difference between two runs, what is allowed, and where it lies.

A difference is relative to the largest entry of its tensor, or to a thousandth of the largest of its kind where that is more: outputs and
states are one kind, gradients another.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rnndsl.runtime.dtypes import HALF
from rnndsl.tools.verify.observe import Value, Values

FLOOR = 1e-3
ROUNDINGS, MARGIN = 16, 32  # roundings that are granted to any run; how many times worse than the reference another may round
LOST = 1e-2  # where rounding to float32 alone moves the reference by this much, float32 says nothing
BLUNT = 1e-3  # what is then allowed in float64
EPS = {d: torch.finfo(d).eps for d in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}


@dataclass(frozen=True)
class Gap:
    """One entry of a value, in two runs of a case. index: in the tensor, the first axes as `lead` counts them; error, allowed: relative, see above."""

    name: str
    index: tuple[int, ...]
    lead: tuple[str, ...]
    error: float
    allowed: float
    got: complex
    want: complex
    case: str

    @property
    def fits(self) -> bool:
        return self.error <= self.allowed

    @property
    def place(self) -> str:
        """`output y, sequence 0, step 4, entry [2]`, all counted from 0."""
        parts = [self.name, *(f"{word} {i}" for word, i in zip(self.lead, self.index, strict=False))]
        rest = self.index[len(self.lead) :]
        return ", ".join([*parts, *([f"entry {list(rest)}"] if rest else [])])


Allowed = Callable[[str, Value], float]


def differences(got: Values, want: Values, allowed: Allowed, case: object, own: Values | None = None) -> list[Gap]:
    """Of each value, the entry that differs most, as far as there is anything to compare and to judge by.

    own: what the reference gives in the dtype of `got`. An entry that is not finite in both, and alike, is no difference.
    """
    found = []
    for name, g in got.items():
        w, limit = want[name], allowed(name, g)
        if g.tensor.shape != w.tensor.shape:
            raise ValueError(f"{name}: {list(g.tensor.shape)} where {list(w.tensor.shape)} was expected")
        if not g.tensor.numel() or math.isinf(limit):
            continue
        errors = _errors(g.tensor, w.tensor, None if own is None else own[name].tensor) / scale(name, want)
        at = int(torch.nan_to_num(errors, nan=math.inf, posinf=math.inf).argmax())
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), g.tensor.shape))
        found.append(Gap(name, index, g.lead, float(errors.flatten()[at]), limit, g.tensor[index].item(), w.tensor[index].item(), str(case)))
    return found


def scale(name: str, values: Values) -> float:
    """What differences of a value are relative to."""
    kind = name.startswith("gradient")
    of_kind = max(_size(v.tensor) for n, v in values.items() if n.startswith("gradient") == kind)
    return max(_size(values[name].tensor), FLOOR * of_kind) or 1.0


def roundings(low: Values, high: Values) -> dict[str, float]:
    """By how many float32 roundings the reference in float32 lies apart from that in float64; infinite where it loses all."""
    found = {}
    for name, v in low.items():
        errors = _errors(v.tensor, high[name].tensor, None) / scale(name, high)
        error = float(errors.max()) if errors.numel() else 0.0
        found[name] = error / EPS[torch.float32] if error < LOST else math.inf
    return found


def allowance(dtype: torch.dtype, lost: dict[str, float], unit: float = 0.0) -> Allowed:
    """What a run on inputs of a dtype may differ by: one rounding to the dtype in which a value came, and roundings on the way.

    A product of what was computed may round to the next half number, and all that follows from it with it. lost: those of the reference in float32. unit: the
    error of a step, where it is more than one rounding. Infinite where nothing can be said.
    """
    compute = EPS[torch.float64] if dtype == torch.float64 else EPS[torch.float32]

    def allowed(name: str, value: Value) -> float:
        if math.isinf(lost[name]):
            return BLUNT if dtype == torch.float64 else math.inf
        product = EPS[dtype] * (1 + lost[name]) if dtype in HALF else 0.0
        return value.eps + product + MARGIN * (ROUNDINGS + lost[name]) * max(compute, unit)

    return allowed


def not_finite(values: Values) -> Iterator[tuple[str, Value, tuple[int, ...]]]:
    """The first entry of each value that is not finite."""
    for name, v in values.items():
        bad = (~torch.isfinite(v.tensor)).nonzero()
        if len(bad):
            yield name, v, tuple(int(i) for i in bad[0])


def _errors(got: Tensor, want: Tensor, own: Tensor | None) -> Tensor:
    """|got - want|; 0 where both are not finite, and alike; infinite where one of them alone is not."""
    alike = _alike(got, want) | (_alike(got, own) & ~torch.isfinite(own) if own is not None else torch.zeros_like(got, dtype=torch.bool))
    apart = torch.where(torch.isfinite(got) & torch.isfinite(want), (got - want).abs(), math.inf)
    return torch.where(alike, 0.0, apart)


def _alike(a: Tensor, b: Tensor) -> Tensor:
    return (a == b) | (torch.isnan(a) & torch.isnan(b))


def _size(t: Tensor) -> float:
    """The largest finite entry."""
    sizes = t.abs()[torch.isfinite(t)]
    return float(sizes.max()) if sizes.numel() else 0.0
