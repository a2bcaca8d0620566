"""Times in indices: which step `h[t-1]` means."""

from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME


def mentions_time(expr: ast.Index) -> bool:
    """Whether an index has `t` in it."""
    stack: list[ast.Expr] = list(expr.arguments)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name) and node.id == TIME:
            return True
        stack.extend(ast.children(node))
    return False


def time_lag(index: tuple[ast.Expr, ...] | None) -> int | None:
    """Steps back that a time index means: 0 for `t`, 1 for `t-1`, -1 for `t+1`; None where it is no time."""
    if index is None or len(index) != 1:
        return None
    match index[0]:
        case ast.Name(id="t"):
            return 0
        case ast.Binary(op="-" | "+" as op, left=ast.Name(id="t"), right=ast.Number(value=float() as n)) if n == n // 1:
            return int(n) if op == "-" else -int(n)
    return None
