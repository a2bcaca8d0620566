"""THE table of functions: one row each. Whatever knows a function by its name reads it here.

`FUNCTIONS` are those of the language, `OPERATORS` its operators, `ENTRIES` what of both computes entry by entry, and `OPERATIONS` all that a
kernel's graph may call, by their names there. Functions with a `definition` are lines of grammar/prelude.rnn: later stages put in what they stand for.
"""

from rnndsl.functions import (
    choices,
    complexes,
    compounds,
    elementwise,
    inner,
    matrices,
    operators,
    prelude,
    shapes,
    vectors,
)
from rnndsl.functions.row import Function

_FILES = (elementwise, choices, complexes, vectors, shapes, matrices)
FUNCTIONS: dict[str, Function] = {row.name: row for file in _FILES for row in file.ROWS} | prelude.with_definitions(compounds.ROWS)
OPERATORS: dict[str, Function] = {row.name: row for row in (*operators.ARITHMETIC, *operators.COMPARISONS)}
COMPARISONS = frozenset(row.name for row in operators.COMPARISONS)
COMPARED = {row.operation: row.name for row in operators.COMPARISONS}  # of nodes: the signs, which Python and C share
COMPOUNDS: dict[str, Function] = {name: row for name, row in FUNCTIONS.items() if row.definition}
ENTRIES: dict[str, Function] = OPERATORS | {name: row for name, row in FUNCTIONS.items() if row.shape == "elementwise"}
OPERATIONS: dict[str, Function] = {
    row.operation: row for row in (*(row for row in ENTRIES.values() if not row.definition), *inner.ROWS)
}

__all__ = ["COMPARED", "COMPARISONS", "COMPOUNDS", "ENTRIES", "FUNCTIONS", "OPERATIONS", "OPERATORS", "Function"]
