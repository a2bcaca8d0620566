"""Rounds of Newton's method as C++ functions over rows, each a step of a sequence; see `kernel/row_steps.py`."""

from dataclasses import dataclass
from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.emit.cpp.function import Function
from rnndsl.emit.cpp.text import comment
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.templates import rendered
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.program import forward
from rnndsl.kernel.row_steps import RowSteps
from rnndsl.kernel.separate import Split
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Plan
from rnndsl.version import VERSION

_TITLES = {
    "once": "what no row changes",
    "look": "new states of all rows, and their derivatives in old ones of the same channel",
    "linear": "what gradients read of the values of all rows",
    "pull": "what gradients of new states make of those of old ones",
}


@dataclass(frozen=True)
class RowsText:
    """The functions of some recurrences: `said` is of each what the runtime must know of them; refused: of the others why they have none."""

    text: str
    sizes: dict[str, str]
    said: dict[str, dict[str, Any]]
    refused: dict[str, str]


def rows_text(plan: Plan, recurrences: dict[str, RowSteps], source: Source) -> RowsText:
    """The text of recurrences, by their labels."""
    names = KernelNames()
    sizes = {n: names(n) for n in plan.cell.sizes}
    hypers = tuple(h.name for h in plan.cell.hypers)
    functions: list[dict[str, Any]] = []
    said: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    for label, steps in recurrences.items():
        name = names(("rows", label), label).rstrip("_")
        try:
            made = [_function(getattr(steps, part), f"{name}_{part}", title, source, names, hypers) for part, title in _TITLES.items()]
        except Unsupported as e:
            refused[label] = str(e)
            continue
        functions += made
        said[label] = {"name": name, "block": steps.block}
    title = comment(f"Made by rnndsl {VERSION} from {source.name}, cell {plan.cell.name}. Change the equations there, not here.")
    text = rendered("cpp/rows.cpp.jinja", made=title, functions=functions).rstrip() + "\n" if functions else ""
    return RowsText(text, sizes, said, refused)


def _function(step: Step, name: str, title: str, source: Source, names: KernelNames, hypers: tuple[str, ...]) -> dict[str, Any]:
    f = Function(forward(step), step, Split(), "rows", source, names, hypers)
    lines = f.write()
    shapes = [text for array, _ in step.outputs for text in (str(len(array.shape)), *map(f.dim, array.shape))]
    return {"name": name, "title": title, "lines": lines, "shapes": [str(len(step.outputs)), *shapes]}
