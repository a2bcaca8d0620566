"""Rounds of Newton's method as C++ functions over rows, each a step of a sequence; see `kernel/row_steps.py`."""

from dataclasses import dataclass
from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.emit.cpp.function import Function
from rnndsl.emit.cpp.text import comment
from rnndsl.emit.labels import labels_of
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.templates import rendered
from rnndsl.kernel.build import CellKernels, Refusal
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.program import forward
from rnndsl.kernel.row_steps import row_steps
from rnndsl.kernel.separate import Split
from rnndsl.kernel.step import Step
from rnndsl.origin import made_from

_TITLES = {
    "once": "what no row changes",
    "look": "new states of all rows, and their derivatives in old ones of the same channel",
    "linear": "what gradients read of the values of all rows",
    "pull": "what gradients of new states make of those of old ones",
}


@dataclass(frozen=True)
class RowsText:
    """The functions of some recurrences of a cell; `said` is what the runtime must know of each, by its label."""

    text: str
    said: dict[str, dict[str, Any]]


def rows_text(kernels: CellKernels, source: Source) -> RowsText:
    """Those of all recurrences of which C++ can write the rounds, which are those that it can run step by step."""
    plan = kernels.plan
    labels, names = labels_of(plan), KernelNames()
    for name in plan.cell.sizes:
        names(name)
    hypers = tuple(h.name for h in plan.cell.hypers)
    functions: list[dict[str, Any]] = []
    said: dict[str, dict[str, Any]] = {}
    for r in kernels.recurrences:
        if isinstance(r.newton, Refusal) or isinstance(r.sweep, Refusal):
            continue
        label = labels[r.recurrence.scan.states]
        name = names(("rows", label), label).rstrip("_")
        try:
            steps = row_steps(r.newton)
            made = [_function(getattr(steps, part), f"{name}_{part}", title, source, names, hypers) for part, title in _TITLES.items()]
        except Unsupported:
            continue
        functions += made
        said[label] = {"name": name, "block": steps.block, "nearer": r.newton.nearer}
    title = comment(made_from(f"{source.name}, cell {plan.cell.name}"))
    return RowsText(rendered("cpp/rows.cpp.jinja", made=title, functions=functions).rstrip() + "\n", said)


def _function(step: Step, name: str, title: str, source: Source, names: KernelNames, hypers: tuple[str, ...]) -> dict[str, Any]:
    f = Function(forward(step), step, Split(), "rows", source, names, hypers)
    lines = f.write()
    shapes = [text for array, _ in step.outputs for text in (str(len(array.shape)), *map(f.dim, array.shape))]
    return {"name": name, "title": title, "lines": lines, "shapes": [str(len(step.outputs)), *shapes]}
