"""Which slices of a param or const an index selects: `W[k]` in all rounds of its repeat."""

from collections.abc import Iterator
from typing import NamedTuple

from rnndsl.checks.cell import Apply, Cell, Expr, Number, Ref, Repeat, walk
from rnndsl.checks.dims import ONE, Dim


class Selected(NamedTuple):
    """Slices of a param or const: the number of that of the first round and of the last, between which all others lie, how many there are, and the rounds."""

    name: str
    first: Dim
    last: Dim
    there: Dim
    rounds: Dim

    def missing(self) -> Dim | None:
        """The number of a slice that is not there whatever the sizes are; None where it depends on them, or all are there."""
        return next((n for n in (self.first, self.last) if (ONE - n).is_positive() or (n - self.there).is_positive()), None)

    def is_there(self) -> bool:
        """Whether all slices are there whatever the sizes are."""
        return all(n.is_positive() and (self.there - n + ONE).is_positive() for n in (self.first, self.last))


def selected(value: Apply, low: Dim = ONE, high: Dim = ONE) -> Selected:
    """What a slice selects in a repeat from `low` to `high`, or outside of one."""
    array, index = value.args
    assert isinstance(array, Ref)
    return Selected(array.name, _number(index, low), _number(index, high), array.type.heads[0], high - low + ONE)


def open_slices(cell: Cell) -> Iterator[Selected]:
    """Slices of a cell that are there for some sizes alone."""
    for s in cell.body:
        if isinstance(s, Repeat):
            yield from _open([let.value for let in s.body], s.low, s.high)
        else:
            yield from _open([s.value])
    yield from _open([o.value for o in cell.outputs])
    for v in cell.variables:
        yield from _open([*([v.value] if v.value is not None else []), *(v.draw.args if v.draw is not None else [])])


def _open(values: list[Expr], low: Dim = ONE, high: Dim = ONE) -> Iterator[Selected]:
    for value in values:
        for n in walk(value):
            if isinstance(n, Apply) and n.op == "slice" and not (found := selected(n, low, high)).is_there():
                yield found


def _number(index: Expr, counter: Dim) -> Dim:
    match index:
        case Number(value=value):
            return Dim.of(int(value.real))
        case Ref(role="counter"):
            return counter
        case Apply(op="+" | "-" as op, args=(left, right)):
            a, b = _number(left, counter), _number(right, counter)
            return a + b if op == "+" else a - b
    assert isinstance(index, Ref)
    return Dim.of(index.name)
