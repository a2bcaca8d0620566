"""Where a cell has no derivative, or a jump, by the program's own words."""

from rnndsl.checks.cell import Apply, walk
from rnndsl.checks.prelude import body_of
from rnndsl.functions import COMPOUNDS, ENTRIES
from rnndsl.tools.verify.context import Context

JUMPS = frozenset(name for name, row in ENTRIES.items() if row.is_flat)
KINKS = JUMPS | {name for name, row in ENTRIES.items() if row.kinks}


def jumps(c: Context) -> str:
    """`heaviside, line 4; >, line 9`; empty where the cell has none."""
    return _named(c, JUMPS)


def kinks(c: Context) -> str:
    """The same of whatever has no derivative somewhere."""
    return _named(c, KINKS)


def _named(c: Context, operations: frozenset[str]) -> str:
    found = [n for e in c.cell.expressions() for n in walk(e) if isinstance(n, Apply) and _is_made_of(n, operations)]
    return "; ".join(dict.fromkeys(f"{n.op}, line {c.source.line_of(n.span.start)}" for n in found))


def _is_made_of(n: Apply, operations: frozenset[str]) -> bool:
    """Whether an operation is one of some, or a function of the prelude that calls one."""
    if n.op not in COMPOUNDS:
        return n.op in operations
    return any(isinstance(inner, Apply) and _is_made_of(inner, operations) for inner in walk(body_of(n)))
