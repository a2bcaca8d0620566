"""Plan -> the Triton kernels of a cell as one text; which recurrences have none, and why."""

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.emit.labels import labels_of
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.templates import rendered
from rnndsl.emit.triton import text as triton_text
from rnndsl.emit.triton.decode import DecodeText, decode_text
from rnndsl.emit.triton.layout import filled, imported, listed, rows, tupled, within_brackets
from rnndsl.emit.triton.recurrence import RecurrenceText, recurrence_text
from rnndsl.emit.triton.text import LIBRARY
from rnndsl.emit.triton.tile.decode import TileStepText, step_text
from rnndsl.emit.triton.tile.recurrence import TileText, tile_text
from rnndsl.emit.triton.tile.rows import RowsText, rows_text
from rnndsl.emit.triton.tile.scope import Sizes
from rnndsl.emit.triton.uniform import Constant, Constants
from rnndsl.kernel.build import CellKernels, Refusal
from rnndsl.kernel.limits import Unsupported
from rnndsl.plan.ir import Plan
from rnndsl.version import VERSION


@dataclass(frozen=True)
class TritonText:
    """The kernels of a cell: `text`, the names in it of sizes, hyperparameters and the kernels of recurrences, and why other recurrences have
    none."""

    text: str
    sizes: tuple[tuple[str, str], ...]
    hypers: tuple[tuple[str, str], ...]
    kernels: tuple[tuple[str, str], ...]
    step: str  # what one step of the whole cell is called, where it is a kernel too
    tiled: tuple[str, ...]  # the recurrences whose kernels compute whole steps
    refused: tuple[tuple[str, str], ...]


def kernels_text(kernels: CellKernels, source: Source) -> TritonText:
    """The text of the kernels of a cell."""
    plan = kernels.plan
    labels = labels_of(plan)
    names = KernelNames()
    sizes = tuple((n, names(n)) for n in plan.cell.sizes)
    hypers = tuple((h.name, names(h.name)) for h in plan.cell.hypers)
    functions = KernelNames()  # what those of each recurrence begin with
    constants = Constants()
    tile_sizes = Sizes(names)
    made: list[RecurrenceText] = []
    tiled: list[TileText] = []
    refused: list[tuple[str, str]] = []
    for r in kernels.recurrences:
        label = labels[r.recurrence.scan.states]
        try:
            if isinstance(r.channel, Refusal):
                raise Unsupported(r.channel.reason)
            made.append(recurrence_text(plan, r.component, r.channel, source, names, constants, label, functions(label)))
        except Unsupported:
            try:
                if isinstance(r.sweep, Refusal):
                    raise Unsupported(r.sweep.reason) from None
                tiled.append(tile_text(r.sweep, source, tile_sizes, constants, label, functions(label)))
            except Unsupported as e:
                refused.append((label, str(e)))
    runs = bool(made or tiled) and not refused
    decode = decode_text(kernels, source, names, constants) if runs and not tiled else None
    tile_decode = step_text(kernels, source, tile_sizes, constants) if runs and decode is None else None
    values = [*((name, str(_SIZE)) for _, name in sizes), *((names(h.name), f'float("{h.default!r}")') for h in plan.cell.hypers)]
    numbers = [*constants.found.values(), *tile_sizes.made.values()]
    text = _file(plan, source, values, numbers, made, tiled, decode, tile_decode) if made or tiled else ""
    step = "cell_decode" if decode else "cell_step" if tile_decode else ""
    return TritonText(
        text, sizes, hypers, (*((r.label, r.kernels) for r in made), *((t.label, t.kernels) for t in tiled)), step, tuple(r.label for r in tiled), tuple(refused)
    )


@dataclass(frozen=True)
class RoundsText:
    """Rounds of Newton's method of a cell: `text`, the names in it of those of recurrences, and why others have none."""

    text: str
    rounds: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str], ...]


def rounds_text(kernels: CellKernels, source: Source, labels: Container[str]) -> RoundsText:
    """The text of the rounds of some recurrences of a cell, with the same names of sizes and hyperparameters as `kernels_text` gives."""
    plan, known = kernels.plan, labels_of(kernels.plan)
    names, functions, constants = KernelNames(), KernelNames(), Constants()
    values = [(names(n), str(_SIZE)) for n in plan.cell.sizes]
    values += [(names(h.name), f'float("{h.default!r}")') for h in plan.cell.hypers]
    sizes = Sizes(names)
    made: list[RowsText] = []
    refused: list[tuple[str, str]] = []
    for r in kernels.recurrences:
        label = known[r.recurrence.scan.states]
        if label not in labels:
            continue
        try:
            if isinstance(r.newton, Refusal):
                raise Unsupported(r.newton.reason)
            made.append(rows_text(r.newton, r.recurrence.scan, source, sizes, constants, label, functions(label)))
        except Unsupported as e:
            refused.append((label, str(e)))
    given = {"values": values, "constants": [*constants.found.values(), *sizes.made.values()], "recurrences": made}
    return RoundsText(_rendered("triton/rows.py.jinja", plan, source, **given) if made else "", tuple((r.label, r.record) for r in made), tuple(refused))


def _file(
    plan: Plan, source: Source, values: list[tuple[str, str]], numbers: list[Constant], made: list[RecurrenceText], tiled: list[TileText],
    decode: DecodeText | None, tile_decode: TileStepText | None,
) -> str:
    given = {"values": values, "constants": numbers, "recurrences": made, "tiled": tiled, "decode": decode, "tile_decode": tile_decode}
    return _rendered("triton/kernels.py.jinja", plan, source, **given)


def _rendered(template: str, plan: Plan, source: Source, **given: Any) -> str:
    title = triton_text.comment(f"Made by rnndsl {VERSION} from {source.name}, cell {plan.cell.name}. Change the equations there, not here.")
    helpers = {"filled": filled, "listed": listed, "rows": rows, "tupled": tupled, "within_brackets": within_brackets}
    body = rendered(template, made=title, imports=_IMPORTS, **given, **helpers)
    return body.replace(_IMPORTS, "\n".join(_imports(body)))


_IMPORTS = "\0"  # where a file imports what it uses; in no name or comment of a program
_SIZE = 64  # what a size is in a file that no layer has put its own into
_RUNTIME = {
    "backwards": {"Backwards", "if_any", "seed_of"},
    "channels": {"Access", "Channels"},
    "cut": {"columns", "fitting", "holding", "in_registers", "number", "part_of", "part_of_dot", "power_of_two", "rows_of_dot"},
    "columns": {"Columns", "given_of", "place_of", "sequences_of"},
    "exact": {"exact"},
    "functions": LIBRARY,
    "newton": {"newton"},
    "parallel_back": {"parallel_back"},
    "places": {
        "add", "before", "diagonal_of", "largest", "matmul", "meet", "only", "over_rows", "read", "read_if_any", "restarted", "running_sum", "spread", "total", "unless", "where", "with_diagonal", "write",
    },
    "over_time": {"corrected"},
    "rows": {"RowPart", "RowProduct", "RowRounds", "RowScan", "RowStage", "StaticProduct", "Work"},
    "sequential": {"sequential", "sequential_back"},
    "tiled": {"Sum", "Tiled", "TiledStep"},
}


def _imports(body: str) -> list[str]:
    """The imports of a file: of each module of the runtime what it calls."""
    code = "\n".join(line for line in body.split("\n") if not line.lstrip().startswith("#"))
    called = set(re.findall(r"(?<![\w.])(\w+)\(", code))
    lines = [imported(f"rnndsl.runtime.triton.{module}", sorted(called & names)) for module, names in _RUNTIME.items() if called & names]
    lines += ["from rnndsl.runtime.triton.cut import NEVER"] if "=NEVER" in code else []
    lines += ["from rnndsl.runtime.statics import Outer"] if "Outer" in called else []
    lines += ["from rnndsl.scalars import Scalars"] if "Scalars." in code else []
    lines += ["from rnndsl.runtime import ops"] if re.search(r"(?<![\w.])ops\.", code) else []
    tensors = [line for word, line in (("torch", "import torch"), ("F", "from torch.nn import functional as F")) if re.search(rf"(?<![\w.]){word}\.", code)]
    return [*(["import math", ""] if "math." in code else []), *tensors, "import triton", "import triton.language as tl", "", *lines]
