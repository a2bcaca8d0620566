"""What a header takes: counted from its text, or measured with the compilers that are here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnndsl.export.c.build import Measured, measured, outputs_in_c
from rnndsl.export.c.header import Header, run, vectors

_STEPS = 64  # of the sequence that errors are measured on


@dataclass(frozen=True)
class Report:
    """A header that was written, and what it takes. Errors are of the largest output of 64 steps, against the layer in double precision: `error` that
    of the compiled header, None where there is no compiler; `quantisation` that of weights in int8, None without them. built: what compilers make of
    it."""

    path: Path
    header: Header
    error: float | None
    quantisation: float | None
    built: tuple[Measured, ...]

    @property
    def text(self) -> str:
        """A line for each number."""
        h = self.header
        lines = [f"wrote {self.path}; code and stack are without those of <math.h>"]
        lines.append(f"  flash    {_bytes(h.constant_bytes)} of weights{f', {len(h.int8)} matrices of them in int8' if h.int8 else ''}; code: {self._code()}")
        lines.append(f"  RAM      {_bytes(h.state_bytes)} of state and {_bytes(h.scratch_bytes)} of scratch on the stack while a step runs{self._stack()}")
        lines.append(f"  work     {h.macs:,} multiply-accumulates a step")
        said = "not measured: no C compiler here"
        if self.error is not None and self.built:
            said = f"{self.error:.2g} of the largest output over {_STEPS} steps, as {self.built[0].compiler} compiles it"
        lines.append(f"  error    {said}, against the layer in double precision")
        if self.quantisation is not None:
            lines[-1] += f"; of it {self.quantisation:.2g} is int8's"
        lines.append(f"  test     {h.prefix}_self_test(), where {h.prefix.upper()}_SELF_TEST is defined before the header is included")
        return "\n".join(lines)

    def _code(self) -> str:
        return "; ".join(f"{_bytes(m.code)} for {m.target}, measured" for m in self.built if m.code is not None) or "not measured, no C compiler here"

    def _stack(self) -> str:
        known = [f"{_bytes(m.stack)} for {m.target}" for m in self.built if m.stack is not None]
        return f"; all of its stack: at most {', '.join(known)}, measured" if known else ""

    def __str__(self) -> str:
        return self.text


def report(path: Path, h: Header) -> Report:
    """What a header that was written to a file takes."""
    inputs, exact = vectors(h.face, h.exact, _STEPS, seed=1)
    made = outputs_in_c(h, inputs)
    error = None if made is None else relative(made, exact)
    quantisation = relative(run(h.reference, h.face, inputs), exact) if h.int8 else None
    return Report(path, h, error, quantisation, measured(h))


def relative(found: "list[Tensor]", wanted: "list[Tensor]") -> float:
    """The largest difference of numbers, over the largest of them in an output or 1; where both are infinite or NaN there is none."""
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        same = (a == b) | (a.isnan() & b.isnan())
        apart = torch.where(same, 0.0, (a - b).abs())
        finite = b[b.isfinite()].abs()
        scale = max(1.0, float(finite.max()) if finite.numel() else 0.0)
        worst = max(worst, float(apart.max()) / scale if apart.numel() else 0.0)
    return worst


def _bytes(count: int) -> str:
    return f"{count:,} bytes" if count != 1 else "1 byte"


def as_data(r: Report) -> dict[str, Any]:
    """A report as plain data."""
    h = r.header
    return {
        "path": str(r.path), "prefix": h.prefix, "real": h.real, "int8": list(h.int8), "weight_bytes": h.constant_bytes, "state_bytes": h.state_bytes,
        "scratch_bytes": h.scratch_bytes, "multiply_accumulates": h.macs, "error": r.error, "int8_error": r.quantisation,
        "built": [{"compiler": m.compiler, "target": m.target, "code_bytes": m.code, "stack_bytes": m.stack} for m in r.built],
    }  # fmt: skip
