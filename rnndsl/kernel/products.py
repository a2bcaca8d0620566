"""Matrix products of values: every pair of ranks, heads broadcasting; a diagonal matrix scales."""

from rnndsl.checks.cell import Type
from rnndsl.kernel import complexes
from rnndsl.kernel.arithmetic import Arithmetic
from rnndsl.kernel.values import Value


def matmul(m: Arithmetic, a: Value, b: Value, t: Type) -> Value:
    """a @ b: every pair of ranks, heads broadcasting."""
    for scaled in (_diagonal_left(m, a, b, t), _diagonal_right(m, a, b, t)):
        if scaled is not None:
            return scaled
    heads, rows, columns = len(t.heads), a.type.rank - 1, b.type.rank - 1
    kept = heads + rows + columns

    def times(i: int, j: int) -> Value:
        left, right = m.full(Value((a.parts[i],), m.real(a.type))), m.full(Value((b.parts[j],), m.real(b.type)))
        map_a = (*range(len(a.type.heads)), *([heads] if rows else []), kept)
        map_b = (*range(len(b.type.heads)), kept, *([heads + rows] if columns else []))
        shape = t.heads + t.axes
        node = m.builder.contract(left.parts[0], right.parts[0], (map_a, map_b), shape, (b.type.axes[0],))
        return Value((node,), m.real(t))

    return complexes.bilinear(m, [a, b], t, times)


def _diagonal_left(m: Arithmetic, a: Value, b: Value, t: Type) -> Value | None:
    """diag(a) @ B scales the rows of B."""
    return _scaling(m, a, b, t, 0) if a.type.rank == 2 else None


def _diagonal_right(m: Arithmetic, a: Value, b: Value, t: Type) -> Value | None:
    """A @ diag(b) scales the columns of A."""
    return _scaling(m, b, a, t, t.rank - 1) if b.type.rank == 2 else None


def _scaling(m: Arithmetic, d: Value, other: Value, t: Type, axis: int) -> Value | None:
    nodes = [m.builder[p] for p in d.parts]
    if not all(n.op == "diag" for n in nodes):
        return None
    vectors = [n.args[0] for n in nodes]
    heads = len(t.heads)

    def times(i: int, j: int) -> Value:
        parts = [vectors[i], other.parts[j]]
        maps = [(*range(len(d.type.heads)), heads + axis), m.map_to(other, other.parts[j], t)]
        return Value((m.builder.apply("*", parts, maps, t.heads + t.axes),), m.real(t))

    return complexes.bilinear(m, [d, other], t, times)
