"""What a generated module says of its kernels in C++."""

from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.emit.carried import Carried
from rnndsl.emit.cpp.library import KernelText, cpp_text
from rnndsl.emit.cpp.rows import rows_text
from rnndsl.kernel.build import CellKernels


def carried(kernels: CellKernels, source: Source) -> Carried:
    """The kernels of a cell; see `runtime/cpu/kernels.py`."""
    made = cpp_text(kernels, source)
    refused = dict(made.refused)
    if not made.kernels:
        return Carried("No recurrence runs in C++", {"refused": refused})
    said: dict[str, Any] = {"sizes": dict(made.sizes), "kernels": {k.label: _said(k) for k in made.kernels}}
    if made.step is not None:
        said["step"] = made.step.form.said(made.step.name)
    rounds = rows_text(kernels, source)
    more = {"rounds": rounds.said} if rounds.said else {}
    texts = {"rows": rounds.text} if rounds.said else {}
    return Carried("The recurrences in C++, built when a layer first runs on a CPU", said | {"refused": refused} | more, made.text, texts)


def _said(k: KernelText) -> dict[str, Any]:
    said = {"name": k.name, "streams": k.streams, "statics": k.statics, "carries": k.carries, "lags": k.lags, "partial": k.partial}
    segments = {"segments": True} if k.segment else {}
    return said | ({"own": k.own, "follows": k.follows} if k.follows else {}) | segments
