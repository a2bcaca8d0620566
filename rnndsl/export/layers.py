"""Where a layer comes from, and what its export is called."""

import re
from functools import lru_cache
from typing import Any

from rnndsl import programs
from rnndsl.checks.cell import Cell
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames


def program_of(layer: Any) -> tuple[Source, Cell]:
    """The program of a layer, and its cell. Raises TypeError for what is no layer, and for one of a class that does not know its program."""
    if not hasattr(layer, "_declare") or isinstance(layer, type):
        got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        raise TypeError(f"layer: expected one of a class of rnndsl.load(…), or a rnndsl.nn.Recurrent of such, got {got}")
    for c in type(layer).__mro__:
        source = programs.program_of(c.__module__)
        if source is not None:
            return source, next(cell for cell in _cells(source) if cell.name == c.__name__)
    raise TypeError(f"{type(layer).__name__}: the text of its program is not known; export a layer of rnndsl.load(…), whose classes know it")


@lru_cache(maxsize=8)
def _cells(source: Source) -> tuple[Cell, ...]:
    return compiled(source).program.cells


def snake_case(name: str) -> str:
    """The name of a cell as files and functions are called: ParaLSTM is para_lstm."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name)
    return KernelNames()(name, parted).strip("_").lower()
