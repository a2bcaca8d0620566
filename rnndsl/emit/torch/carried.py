"""What a generated module says of rounds of Newton's method."""

from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.emit.carried import Carried
from rnndsl.emit.labels import labels_of
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.step_form import form
from rnndsl.emit.torch.function import RoundText
from rnndsl.kernel.build import CellKernels, Refusal
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.step import Step


def carried(kernels: CellKernels, source: Source) -> Carried:
    """The rounds of a cell; see `runtime/torch/kernels.py`."""
    labels, names = labels_of(kernels.plan), KernelNames()
    said: dict[str, Any] = {}
    refused: dict[str, str] = {}
    texts: list[str] = []
    for r in kernels.recurrences:
        label = labels[r.recurrence.scan.states]
        if isinstance(r.newton, Refusal):
            refused[label] = r.newton.reason
            continue
        name = names(label, label)
        try:
            lines = RoundText(r.newton, name, source).lines()
        except Unsupported as e:
            refused[label] = str(e)
            continue
        said[label] = _said(r.newton.step, name)
        texts.append("\n".join(lines))
    if not said:
        return Carried("No recurrence has rounds of Newton's method", {"refused": refused})
    return Carried("Rounds of Newton's method, for any device", {"kernels": said, "refused": refused}, "\n\n\n".join(texts) + "\n")


def _said(step: Step, name: str) -> dict[str, Any]:
    place = {(array.name, array.part, lag): i for i, (array, lag) in enumerate(step.carries)}
    nearer = tuple(place[array.name, array.part, lag - 1] if lag > 1 else -1 for array, lag in step.carries)
    arrays = (step.streams, step.statics, tuple(array for array, _ in step.carries))
    streams, statics, carries = (form(a) for a in arrays)
    return {"name": name, "streams": streams, "statics": statics, "carries": carries, "nearer": nearer}
