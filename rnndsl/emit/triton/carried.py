"""What a generated module says of its kernels in Triton."""

from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.emit.carried import Carried
from rnndsl.emit.step_form import step_form
from rnndsl.emit.triton.library import kernels_text, rounds_text
from rnndsl.kernel.build import CellKernels


def carried(kernels: CellKernels, source: Source) -> Carried:
    """The kernels of a cell; see `runtime/triton/kernels.py`."""
    made = kernels_text(kernels, source)
    refused = dict(made.refused)
    if not made.kernels:
        return Carried("No recurrence runs in Triton", {"refused": refused})
    said: dict[str, Any] = {"sizes": dict(made.sizes), "hypers": dict(made.hypers), "kernels": dict(made.kernels)}
    if made.step and kernels.step is not None:
        said["step"] = step_form(kernels.plan, kernels.step.step).said(made.step)
    said |= {"tiled": made.tiled} if made.tiled else {}
    rounds = rounds_text(kernels, source, made.tiled)
    said |= {"refused": refused} | ({"rounds": dict(rounds.rounds)} if rounds.rounds else {}) | ({"unrounded": dict(rounds.refused)} if rounds.refused else {})
    texts = {"rows": rounds.text} if rounds.rounds else {}
    return Carried("The recurrences in Triton, written to a file when a layer first runs on a GPU", said, made.text, texts)
