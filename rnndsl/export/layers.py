"""Where a layer comes from, and what its export is called."""

import re
from functools import lru_cache
from typing import Any

from rnndsl.checks.cell import Cell
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.runtime import program as runtime


def program_of(layer: Any) -> tuple[Source, Cell]:
    """The program of a layer, and its cell. Raises TypeError for what is no layer, and for one of a class that does not know its program."""
    if not hasattr(layer, "_declare") or isinstance(layer, type):
        got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        raise TypeError(f"layer: expected one of a generated class, or a rnndsl.nn.Recurrent of such, got {got}")
    file, text, name = runtime.program_of(type(layer))
    source = Source(file, text)
    return source, next(cell for cell in _cells(source) if cell.name == name)


@lru_cache(maxsize=8)
def _cells(source: Source) -> tuple[Cell, ...]:
    return compiled(source).program.cells


def snake_case(name: str) -> str:
    """The name of a cell as files and functions are called: ParaLSTM is para_lstm."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name)
    return KernelNames()(name, parted).strip("_").lower()
