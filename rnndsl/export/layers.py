"""Where a layer comes from, and what its export is called."""

import re
from typing import Any

from rnndsl import programs
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.runtime import Layer


def program_of(layer: Any) -> tuple[Source, str]:
    """The program of a layer, and the name of its cell there. Raises TypeError where it is not known."""
    if not isinstance(layer, Layer):
        raise TypeError(f"expected a layer of a class of rnndsl.load(…), or a rnndsl.nn.Recurrent of such, got {type(layer).__name__ if not isinstance(layer, type) else f'the class {layer.__name__}'}")
    for c in type(layer).__mro__:
        source = programs.program_of(c.__module__)
        if source is not None:
            return source, c.__name__
    raise TypeError(f"{type(layer).__name__}: its equations are not known; take a layer of a class of rnndsl.load(…), which knows them, and load its weights into it")


def snake_case(name: str) -> str:
    """The name of a cell as files are called: ParaLSTM is para_lstm."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name)
    return KernelNames()(name, parted).strip("_").lower()
