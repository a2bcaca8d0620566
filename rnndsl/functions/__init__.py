"""THE table of functions: one row each. Whatever knows a function by its name reads it here.

`FUNCTIONS` are those of the language, `OPERATORS` its operators, `OPERATIONS` all that a kernel's graph may call, by their names there.
"""

from rnndsl.functions import choices, complexes, compounds, elementwise, inner, matrices, operators, shapes, vectors
from rnndsl.functions.row import Function

_FILES = (elementwise, choices, complexes, compounds, vectors, shapes, matrices)
FUNCTIONS: dict[str, Function] = {row.name: row for file in _FILES for row in file.ROWS}
OPERATORS: dict[str, Function] = {row.name: row for row in (*operators.ARITHMETIC, *operators.COMPARISONS)}
COMPARISONS = frozenset(row.name for row in operators.COMPARISONS)
ENTRIES: dict[str, Function] = OPERATORS | {name: row for name, row in FUNCTIONS.items() if row.shape == "elementwise"}
OPERATIONS: dict[str, Function] = {row.operation: row for row in (*ENTRIES.values(), *inner.ROWS)}

__all__ = ["COMPARISONS", "ENTRIES", "FUNCTIONS", "OPERATIONS", "OPERATORS", "Function"]
