"""Programs in checkpoints: a cell as the text of its program and its name, and back."""

from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.nn.shapes import cells_of


def cell_of(text: str, cell: str) -> Any:
    """A class from its program, which is compiled; nothing else of it is run, and no file is read. Raises RnnError for a wrong program, ValueError
    for a cell that it does not have."""
    from rnndsl import programs

    cells = cells_of(programs.load(Source("checkpoint.rnn", text)))
    if cell not in cells:
        raise ValueError(f"cell: the program has no {cell!r}; it has {', '.join(cells)}")
    return cells[cell]
